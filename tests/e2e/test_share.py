"""homingctl share: grants by the administrator, and the way from Dovecot's own ACL files and back."""

import json
import os
import subprocess

import pytest

import dovecot
import sharing
from sharing import quote, utf7

USAGE, DATA, NO_INPUT, NO_USER = 64, 65, 66, 67
OWNER, BOB, INFO = "sales@client1.com", "bob@client1.com", "info@client2.com"


@pytest.fixture
def homing(place):
    homing = sharing.directory(place / "own")
    sharing.add_accounts(homing, {OWNER: (), BOB: ["staff@client1.com"], INFO: (),
                                  "eve@company.com": (), "bob@client2.com": ()})
    homing.ctl("alias", "add", "verkauf@client2.com", INFO)
    return homing


def grants(homing, *arguments):
    rows = json.loads(homing.ctl("share", "list", *arguments, "--json").stdout)
    return {(row["owner"], row["mailbox"], row["who"]): (row["rights"], row["negative"])
            for row in rows}


def refused(homing, code, *arguments):
    done = homing.ctl("share", *arguments, check=False)
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return done.stderr


@pytest.mark.parametrize("typed,stored", [
    ("bob", BOB), (BOB, BOB), ("BOB%client1.com", BOB), ("verkauf@client2.com", INFO),
    ("info%mail.client2.com", INFO), ("$staff", "$staff@client1.com"),
    ("$staff%client1.com", None), ("anyone@", "anyone@client1.com"),
    ("anyone@mail.client2.com", "anyone@client2.com"), ("anyone", "anyone"),
    ("authenticated", "authenticated"), ("owner", "owner"), ("!$staff", "!$staff@client1.com"),
    ("who@outside.org", "who@outside.org"), ("nobody", None), ("$nobody", None),
    ("bob@elsewhere.example", None), ("anyone@elsewhere.example", None), ("", None),
    ("two words", None),
])
def test_identifiers_are_stored_in_canonical_form_or_refused(homing, typed, stored):
    if stored is None:
        done = homing.ctl("share", "grant", OWNER, "Box", typed, "lr", check=False)
        if done.returncode == 0:
            # an identifier with % and a group: taken for the group of that domain
            assert list(grants(homing)) == [(OWNER, "Box", "$staff@client1.com")]
        else:
            assert done.returncode == NO_USER and done.stderr.count("\n") == 1
            assert not grants(homing)
        return
    homing.ctl("share", "grant", OWNER, "Box", typed, "lr")
    assert grants(homing) == {(OWNER, "Box", stored): ("lr", None)}


def test_rights_are_replaced_added_and_taken_away(homing):
    def after(*words):
        homing.ctl("share", "grant", OWNER, "Box", "--", *words)
        return grants(homing).get((OWNER, "Box", BOB))

    assert after("bob", "lrs") == ("lrs", None)
    assert after("bob", "+wx") == ("lrwsx", None)
    assert after("bob", "-rw") == ("lsx", None)
    assert after("bob", "c") == ("kx", None)
    assert after("-bob", "all") == ("kx", "lrwstipekxa")
    assert after("-bob", "-lrwstipek") == ("kx", "xa")
    assert after("bob", "") == ("", "xa")
    homing.ctl("share", "revoke", OWNER, "Box", "bob")
    assert grants(homing) == {(OWNER, "Box", BOB): (None, "xa")}
    homing.ctl("share", "revoke", OWNER, "Box", "--", "-bob")
    assert not grants(homing)
    assert "not a right" in refused(homing, DATA, "grant", OWNER, "Box", "bob", "lrz")


def test_owners_are_who_a_login_opens(homing):
    homing.ctl("share", "grant", "sales%client1.com", "inbox/Sub", "bob", "l")
    homing.ctl("share", "grant", "verkauf@mail.client2.com", "*", "eve@company.com", "lr")
    assert set(grants(homing)) == {(OWNER, "INBOX/Sub", BOB), (INFO, "*", "eve@company.com")}
    assert "no such account" in refused(homing, NO_USER, "grant", "x@client1.com", "Box", "bob", "l")
    assert refused(homing, DATA, "grant", OWNER, "a//b", "bob", "l")
    assert refused(homing, USAGE, "grant", OWNER, "Box", "bob")


def test_separators_are_the_administrators_choice(homing):
    homing.ctl("share", "grant", OWNER, "A.B/C", "bob", "l", "--separator", ".")
    assert set(grants(homing, "--separator", ".")) == {(OWNER, "A.B/C", BOB)}
    # in a listing with `/`, a part with `/` in it is no two parts
    assert set(grants(homing)) == {(OWNER, "A/B\\x2fC", BOB)}


def test_what_is_shared_with_an_account_is_listed_with_its_rights(homing):
    def visible(who):
        rows = json.loads(homing.ctl("share", "with", who, "--json").stdout)
        return {(row["owner"], row["mailbox"]): row["rights"] for row in rows}

    homing.ctl("share", "grant", OWNER, "A", "$staff", "lr")
    homing.ctl("share", "grant", OWNER, "B", "anyone@", "lr")
    homing.ctl("share", "grant", OWNER, "B", "--", "-bob@client2.com", "l")
    homing.ctl("share", "grant", OWNER, "C", "bob", "r")
    homing.ctl("share", "grant", OWNER, "D", "anyone@client2.com", "l")
    homing.ctl("share", "grant", OWNER, "D", "--", "-bob@client2.com", "l")
    homing.ctl("share", "grant", INFO, "*", BOB, "lrs")
    assert visible(BOB) == {(OWNER, "A"): "lr", (OWNER, "B"): "lr", (INFO, "*"): "lrs"}
    assert visible("bob@client2.com") == {}
    assert visible("eve") == {}
    rows = json.loads(homing.ctl("share", "with", "$staff@client1.com", "--json").stdout)
    assert [(row["mailbox"], row["rights"]) for row in rows] == [("A", "lr")]
    assert refused(homing, NO_USER, "with", "nobody@client1.com")


def test_everything_of_a_mailbox_can_be_taken_back_at_once(homing):
    for who in ("bob", "$staff", "anyone@", INFO):
        homing.ctl("share", "grant", OWNER, "Box", who, "lr")
    homing.ctl("share", "grant", OWNER, "Box/Sub", "bob", "lr")
    homing.ctl("share", "revoke", OWNER, "Box")
    assert set(grants(homing)) == {(OWNER, "Box/Sub", BOB)}
    homing.ctl("share", "revoke", OWNER, "Box")


def test_verify_finds_and_mends_what_leads_nowhere(homing):
    homing.ctl("share", "grant", OWNER, "Box", "bob", "lr")
    homing.ctl("share", "grant", OWNER, "Box", "x@outside.org", "lr")
    assert homing.ctl("share", "verify").stdout == ""
    config = json.loads(homing.json.read_text())
    del config["domains"]["outside.org"]
    homing.apply(config)
    done = homing.ctl("share", "verify", check=False)
    assert done.returncode == DATA and "x@outside.org" in done.stdout
    homing.ctl("share", "verify", "--mend")
    assert homing.ctl("share", "verify").stdout == ""
    assert set(grants(homing)) == {(OWNER, "Box", BOB)}


# From Dovecot's own backend, and back

BOXES = ["Box", "Box/Sub", "Drafts & more", "gr\u00fc\u00df", "100%", "plain"]


@pytest.fixture(params=["maildir", "sdbox"])
def stock(homing, place, start, request):
    """A Dovecot without Homing's backend, in which people have shared mailboxes."""
    world = sharing.World(place / "stock", "vfile", driver=request.param, homing=homing,
                          acl={} if dovecot.NEW else {"acl_anyone": "allow"})
    start(world.server)
    with world.session(OWNER) as owner:
        for name in BOXES:
            owner.ok("CREATE", quote(utf7(name)))
        for name, who, rights in [
                ("INBOX", BOB, "lr"), ("Box", BOB, "lrwst"), ("Box", "$staff@client1.com", "lri"),
                ("Box", f"-{INFO}", "lr"), ("Box/Sub", INFO, "lrx"), ("Drafts & more", BOB, "lrp"),
                ("gr\u00fc\u00df", BOB, "l"), ("100%", "!$staff@client1.com", "lr"),
                ("plain", "owner", "lrwstipekxa")]:
            owner.ok("SETACL", quote(utf7(name)), who, rights)
    return world


WANTED = {
    (OWNER, "INBOX", BOB): ("lr", None),
    (OWNER, "Box", BOB): ("lrwst", None),
    (OWNER, "Box", "$staff@client1.com"): ("lri", None),
    (OWNER, "Box", INFO): (None, "lr"),
    (OWNER, "Box/Sub", INFO): ("lrx", None),
    (OWNER, "Drafts & more", BOB): ("lrp", None),
    (OWNER, "gr\u00fc\u00df", BOB): ("l", None),
    (OWNER, "100%", "!$staff@client1.com"): ("lr", None),
    (OWNER, "plain", "owner"): ("lrwstipekxa", None),
}


def folder_list(world, path, accounts=(OWNER,)):
    path.write_text("".join(f"{name}\t{world.root(name)}\n" for name in accounts))
    return str(path)


def acl_files(root):
    """{file: {(identifier, its letters)}}"""
    found = {}
    for path in root.rglob("dovecot-acl"):
        lines = [line.rsplit(" ", 1) for line in path.read_text().splitlines()]
        found[path.relative_to(root)] = {(who, "".join(sorted(letters))) for who, letters in lines}
    return found


def test_grants_of_vfile_are_taken_over_and_written_back(homing, stock, place):
    names = folder_list(stock, place / "list")
    before = acl_files(stock.root(OWNER))
    assert len(before) == len(BOXES) + 1
    dry = homing.ctl("share", "import-vfile", names, "--dry-run")
    assert "nothing was written" in dry.stdout and not grants(homing)
    homing.ctl("share", "import-vfile", names)
    assert grants(homing) == WANTED
    assert acl_files(stock.root(OWNER)) == before

    assert "there is one already" in refused(homing, DATA, "export-vfile", names)
    for path in before:
        (stock.root(OWNER) / path).unlink()
    homing.ctl("share", "export-vfile", names)
    assert acl_files(stock.root(OWNER)) == before
    for path in before:
        status = (stock.root(OWNER) / path).stat()
        assert (status.st_uid, status.st_mode & 0o7) == (sharing.UID, 0)
    with stock.session(OWNER) as owner:
        assert owner.acl("Box")[BOB] == "".join(sorted("lrwstd"))


def test_what_vfile_has_no_word_for_is_written_out(homing, stock, place):
    names = folder_list(stock, place / "list")
    homing.ctl("share", "import-vfile", names)
    homing.ctl("share", "grant", OWNER, "*", "eve@company.com", "lr")
    homing.ctl("share", "grant", OWNER, "plain", "anyone@client2.com", "r")
    homing.ctl("share", "grant", OWNER, "plain", "anyone@outside.org", "r")
    homing.ctl("share", "grant", OWNER, "gone", "bob", "r")
    homing.ctl("share", "revoke", OWNER, "INBOX")
    done = homing.ctl("share", "export-vfile", names, "--force", check=False)
    said = done.stderr
    assert done.returncode == DATA
    assert f"{OWNER}: plain: anyone@client2.com is written as 2 accounts\n" in done.stdout
    assert f"{OWNER}: *: written into each of {len(BOXES) + 1} mailboxes\n" in done.stdout
    assert "anyone@outside.org" in said and "gone: no such mailbox" in said
    with stock.session(OWNER) as owner:
        inbox = owner.acl("INBOX")
        assert inbox["eve@company.com"] == "lr" and BOB not in inbox
        shown = owner.acl("plain")
        assert shown["eve@company.com"] == "lr"
        assert shown[INFO] == shown["bob@client2.com"] == "r"


def test_what_cannot_be_taken_over_is_named_with_its_line(homing, place):
    root = place / "mail"
    box = root / ".Box"
    for folder in (root / "cur", box / "cur", root / ".&bad" / "cur"):
        folder.mkdir(parents=True)
    lines = [f"user={BOB} lr", "user=nobody@client1.com lr", "group=none lr", "user=anyone lr",
             "user=anyone@client1.com lr", "user=$x lr", f"user={BOB} lrq", f"user={INFO} l :foo",
             f"user={INFO} l :read write-seen", '"user=two words" l', "nonsense l", "# a comment", "",
             '"user=open', "anonymous l", f"-user={BOB} x", f"user={BOB} i",
             "user=ANYONE lr", "user=Anyone@client2.com lr", "user=Authenticated lr", "user=Owner lr"]
    (box / "dovecot-acl").write_text("\n".join(lines))
    (root / ".&bad" / "dovecot-acl").write_text(f"user={BOB} lr\n")
    (root / ".Link").symlink_to("/etc")
    shared = place / "shared-boxes"
    shared.write_text(f"shared/shared-boxes/user/{BOB}/{OWNER}\n1\n"
                      f"shared/shared-boxes/user/{BOB}/{INFO}\n1\n")
    names = place / "list"
    names.write_text(f"# who\tand where\n{OWNER}\t{root}\n")
    arguments = ["share", "import-vfile", str(names), "--shared-dict", str(shared), "--json"]
    done = homing.ctl(*arguments, check=False)
    report = json.loads(done.stdout)
    assert done.returncode == DATA and not report["written"] and not grants(homing)
    not_taken = {(os.path.relpath(one["file"], place), one["line"]) for one in report["not_taken"]}
    wrong = (2, 3, 4, 5, 6, 7, 8, 10, 11, 14, 18, 19, 20, 21)
    assert not_taken == {("mail/.Box/dovecot-acl", line) for line in wrong} | {
        ("mail/.&bad/dovecot-acl", 1), ("shared-boxes", 3)}
    homing.ctl(*arguments, "--force")
    assert grants(homing) == {
        (OWNER, "Box", BOB): ("lri", "x"),
        (OWNER, "Box", INFO): ("lrs", None),
        (OWNER, "Box", "anyone"): ("l", None),
    }


def acl_folder(root, name, text, *folders):
    for folder in folders or ("cur",):
        (root / name / folder).mkdir(parents=True, exist_ok=True)
    (root / name / "dovecot-acl").write_text(text)


def test_a_mailbox_whose_name_is_a_star_is_not_the_whole_account(homing, place):
    for account, root, box in [(OWNER, place / "maildir", ".*"), (INFO, place / "fs", "*")]:
        (root / "cur").mkdir(parents=True)
        acl_folder(root, box, f"user={BOB} lr\n")
        (place / "list").write_text(f"{account}\t{root}\n")
        homing.ctl("share", "import-vfile", str(place / "list"))
    rows = json.loads(homing.ctl("share", "with", BOB, "--json").stdout)
    assert {(row["owner"], row["mailbox"]) for row in rows} == {(OWNER, "\\x2a"), (INFO, "\\x2a")}


def test_no_folder_is_taken_for_another_mailbox(homing, place):
    line = f"user={BOB} lr\n"
    root = place / "box"
    acl_folder(root, "mailboxes/cur/dbox-Mails", line, ".")
    acl_folder(root, "mailboxes/tmp/deep/dbox-Mails", line, ".")
    acl_folder(root, "mailboxes", line, ".")
    acl_folder(root, ".", line, ".")
    acl_folder(place / "mbox", ".imap/A/B.c", line, ".")
    acl_folder(place / "maildir", ".a\\2eb", line)
    acl_folder(place / "maildir", ".Box/courierimap", line, ".")
    (place / "list").write_text(f"{OWNER}\t{root}\n{INFO}\t{place}/mbox\n{BOB}\t{place}/maildir\n")
    done = homing.ctl("share", "import-vfile", str(place / "list"), "--force", "--json")
    assert {os.path.relpath(one["file"], place) for one in json.loads(done.stdout)["not_taken"]} == {
        "box/dovecot-acl", "box/mailboxes/dovecot-acl", "maildir/.a\\2eb/dovecot-acl",
        "maildir/.Box/courierimap/dovecot-acl"}
    assert set(grants(homing)) == {(OWNER, "cur", BOB), (OWNER, "tmp/deep", BOB), (INFO, "A/B.c", BOB)}


def test_rights_that_come_from_elsewhere_are_noticed_in_the_list_of_mailboxes(homing, place):
    root = place / "mail"
    acl_folder(root, ".gr&APwA3w-.Sub", f"user={BOB} lr\n")
    (root / ".Elsewhere" / "cur").mkdir(parents=True)
    (root / "dovecot-acl-list").write_text("1700000000 gr&APwA3w-.Sub\n1700000000 Elsewhere\n")
    (place / "list").write_text(f"{OWNER}\t{root}\n")
    said = refused(homing, DATA, "import-vfile", str(place / "list"))
    assert "dovecot-acl-list:2: 1700000000 Elsewhere" in said and "acl-list:1:" not in said
    assert not grants(homing)


@pytest.mark.parametrize("made", ["sqlite3 {} .dump", "sqlite3 -csv {} 'select * from user_shares'",
                                  "sqlite3 {} 'select * from user_shares'"])
def test_owners_in_a_database_are_missed_where_the_list_has_no_folder(homing, place, made):
    database, out = place / "db", place / "out"
    rows = f"insert into user_shares values('{OWNER}', '{BOB}', '1'), ('info%client2.com', '{BOB}', '1')"
    subprocess.run(["sqlite3", str(database)], check=True, text=True, input=(
        "create table user_shares (from_user varchar(100) not null,\n to_user varchar(100) not null,\n"
        f" dummy char(1), primary key (from_user, to_user));\n{rows};\n"))
    with open(out, "w") as stream:
        subprocess.run(["sh", "-c", made.format(database)], check=True, stdout=stream)
    acl_folder(place, "mail", f"user={BOB} lr\n")
    (place / "list").write_text(f"{OWNER}\t{place}/mail\n")
    done = homing.ctl("share", "import-vfile", str(place / "list"), "--shared-dict", str(out), "--json",
                      check=False)
    assert [one["text"] for one in json.loads(done.stdout)["not_taken"]] == ["info%client2.com"]


def test_the_list_of_folders_is_checked_as_a_whole(homing, place):
    names = place / "list"
    names.write_text(f"{OWNER}\trelative\nnobody@client1.com\t/x\n{OWNER} /x\n")
    said = homing.ctl("share", "import-vfile", str(names), check=False).stderr
    assert "list:1:" in said and "nobody@client1.com" in said and "list:3:" in said
    assert refused(homing, NO_INPUT, "import-vfile", str(place / "none"))
    # a line that is cut would be another owner's, or another folder
    names.write_bytes(f"{OWNER}\rx\t{place}\n{OWNER}\t{place}\0x\n".encode())
    said = homing.ctl("share", "import-vfile", str(names), check=False).stderr
    assert f"{OWNER}\\x0dx" in said and "list:2:" in said
    names.write_text(f"{OWNER}\t{place}/nowhere\n")
    assert "nowhere" in homing.ctl("share", "import-vfile", str(names), check=False).stderr
