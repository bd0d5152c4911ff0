"""What homing-directory(5) says of copies, broken files and another format is done here as it stands there:
the commands are those of the page."""

import grp
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import dovecot
from homing import ACCOUNTS, CLIENT1_IP, HOMINGCTL, Homing, tell_story

PAGE = Path(__file__).resolve().parents[2] / "packaging/man/homing-directory.5"

pytestmark = pytest.mark.skipif(not shutil.which("mdb_copy"), reason="no mdb_copy (lmdb-utils)")


def scripts(section):
    """The commands of a section of the page, one text for each piece."""
    part = re.search(rf"^\.Sh {section}$(.*?)^\.Sh ", PAGE.read_text(), re.M | re.S)[1]
    found = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", part, re.M | re.S)
    assert found, section
    return [text.replace("\\e", "\\") for text in found]


def act(script, homing, lib, backups):
    """Runs commands of the page on folders of this test. There is no group `homing` here: Dovecot's reads."""
    for old, new in (("/var/lib/homing", str(homing.path)), ("/var/backups", str(backups)),
                     ("-g homing", "-g dovecot")):
        script = script.replace(old, new)
    front = (f'homingctl() {{ case $1 in --directory) {HOMINGCTL} "$@" ;; '
             f'*) {HOMINGCTL} --directory {homing.path} "$@" ;; esac; }}\n')
    done = subprocess.run(["sh", "-euc", front + script], cwd=lib, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"


def everything(homing):
    """All that the directory says, in any order."""
    said = {"config": json.loads(homing.ctl("export").stdout),
            "accounts": sorted(homing.ctl("export", "--accounts", "--with-passwords").stdout.splitlines())}
    for command in ("alias list", "forwarder list", "group list", "share list"):
        said[command] = sorted(homing.ctl(*command.split()).stdout.splitlines())
    return said


def fill(homing):
    """Of each kind something, also what leads to something that comes later in the lists."""
    for name in ("bob@client1.com", "zoe@client1.com"):
        homing.account(name, "secret")
    homing.ctl("account", "add", "own@client2.com", "--home", "/srv/a b/own", "--uid", "7", "--gid", "8")
    homing.ctl("alias", "add", "abroad@company.com", "a@elsewhere.example")
    homing.ctl("alias", "add", "aa@company.com", "verkauf@client2.com")
    homing.ctl("forwarder", "add", "on@client1.com", "bob@client1.com", "y@elsewhere.example")
    homing.ctl("group", "add", "staff@client1.com", "bob@client1.com", "sales@company.com",
               "on@client1.com", "x@elsewhere.example")
    homing.ctl("group", "add", "all@client1.com", "staff@client1.com", "zoe@client1.com")
    homing.ctl("group", "add", "empty@company.com")
    homing.ctl("account", "add", "bea@client1.com", "--group", "staff@client1.com")
    homing.ctl("alias", "add", "crew@company.com", "staff@client1.com", check=False)
    for mailbox, who, rights in (
            ("*", "$staff@client1.com", "lr"), ("Offers", "anyone@client1.com", "lrs"),
            ("Two words/and a part", "-bob@client1.com", "lr"), ("Two words/and a part", "anyone", "l"),
            ("Offers", "owner", "lrwstipekxa"), ("Nothing", "bob@client1.com", "")):
        homing.ctl("share", "grant", "--", "info@company.com", mailbox, who, rights)
    homing.ctl("share", "grant", "public:Public/", "News", "authenticated", "lr")


@pytest.fixture
def lib(place):
    (place / "backups").mkdir()
    return place


def assert_rights(path):
    dovecot_group = grp.getgrnam("dovecot").gr_gid
    assert oct(path.stat().st_mode & 0o7777) == "0o750"
    for name, mode in (("directory.mdb", 0o640), ("credentials.mdb", 0o640), ("sharing.mdb", 0o660),
                       ("directory.mdb-lock", 0o660), ("credentials.mdb-lock", 0o660),
                       ("sharing.mdb-lock", 0o660)):
        status = (path / name).stat()
        assert (oct(status.st_mode & 0o7777), status.st_gid) == (oct(mode), dovecot_group), name


def test_a_copy_made_as_the_page_says_brings_everything_back_while_dovecot_runs(lib, place, start):
    homing = tell_story(place / "own", passwords=True)
    fill(homing)
    homing.readable()
    worker = "service auth-worker {\n  user = dovecot\n}\n"
    server = start(dovecot.Dovecot(place / "server", [dovecot.accounts(homing.path)],
                                   [dovecot.accounts(homing.path)], raw=worker))
    copy, back = scripts("COPIES")
    before = everything(homing)
    act(copy, homing, lib, place / "backups")
    assert {path.name for path in (place / "backups/homing").iterdir()} == {
        "directory.mdb", "credentials.mdb", "sharing.mdb"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in (place / "backups/homing").iterdir())

    def login(password):
        with server.auth() as client:
            return client.plain("info", password, ip=CLIENT1_IP).ok

    for n in range(30):
        homing.ctl("alias", "add", f"later{n}@company.com", "info@company.com")
    homing.ctl("password", "set", "info@client1.com", "--stdin", text="another\n")
    assert login("another") and not login(ACCOUNTS["info@client1.com"])
    act(back, homing, lib, place / "backups")
    homing.path.chmod(0o750)
    assert_rights(homing.path)
    assert everything(homing) == before
    deadline = time.monotonic() + 5
    while not login(ACCOUNTS["info@client1.com"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert login(ACCOUNTS["info@client1.com"]) and not login("another")
    homing.ctl("alias", "add", "new@company.com", "info@company.com")  # and it can be written to
    assert "new@company.com" in homing.ctl("alias", "list").stdout


def test_what_is_printed_as_the_page_says_makes_the_same_directory_in_another_format(lib, place):
    homing = tell_story(place / "own", passwords=True)
    fill(homing)
    out, into = scripts("TO ANOTHER FORMAT")
    before = everything(homing)
    act(out, homing, lib, place / "backups")
    assert all(path.stat().st_mode & 0o077 == 0 for path in (place / "backups/homing-text").iterdir())
    homing.path.rename(place / "homing.old")
    act(into, homing, lib, place / "backups")
    assert everything(homing) == before
    old = Homing(place / "other")
    old.path = place / "homing.old"
    assert everything(old) == before
    assert homing.ctl("password", "verify", "bob@client1.com", "--stdin", text="secret\n").returncode == 0


@pytest.mark.parametrize("name", ["directory.mdb", "credentials.mdb", "sharing.mdb"])
def test_apply_makes_a_file_that_was_moved_away_and_leaves_the_others(name, place):
    homing = tell_story(place / "own", passwords=True)
    fill(homing)
    before = everything(homing)
    kept = {path.name: path.stat().st_ino for path in homing.path.glob("*.mdb")}
    mode = (homing.path / name).stat().st_mode
    (homing.path / name).rename(place / "broken")
    homing.ctl("apply", str(homing.json))
    assert (homing.path / name).stat().st_mode == mode
    after = {path.name: path.stat().st_ino for path in homing.path.glob("*.mdb")}
    assert after.keys() == kept.keys()
    assert {one for one in kept if after[one] == kept[one]} == kept.keys() - {name}
    said = everything(homing)
    assert said["config"] == before["config"]
    if name == "directory.mdb":
        assert said["accounts"] == []
        homing.ctl("account", "add", "bob@client1.com")
        assert '"password"' not in homing.ctl("export", "--accounts", "--with-passwords").stdout
    elif name == "credentials.mdb":
        assert len(said["accounts"]) == len(before["accounts"])
        assert not any("password" in line for line in said["accounts"])
    else:
        assert said["share list"] == []
        assert said["accounts"] == before["accounts"]


def test_a_copy_can_be_looked_at_where_it_is(lib, place):
    homing = tell_story(place / "own", passwords=True)
    copy, _ = scripts("COPIES")
    act(copy, homing, lib, place / "backups")
    done = subprocess.run([HOMINGCTL, "--directory", str(place / "backups/homing"), "status"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "format" in done.stdout and (place / "backups/homing/directory.mdb-lock").exists()
    assert os.access(place / "backups/homing/credentials.mdb-lock", os.F_OK)
