"""A directory that cannot be read: logins wait, nobody slips by, and all heals by itself."""

import os
import re
import shutil
import subprocess
import time

import pytest

import dovecot
from homing import ACCOUNTS, CLIENT1_IP, COMPANY_IP, give, passwords_file, tell_story
from test_passdbs import anybody

RESULTS = ["return-ok", "return", "return-fail", "continue", "continue-ok", "continue-fail"]


def missing(path):
    path.unlink()


def unreadable(path):
    path.chmod(0)
    os.chown(path, 0, 0)


def empty(path):
    replace(path, b"")


def truncated(path):
    replace(path, path.read_bytes()[:5000])


def random_bytes(path):
    replace(path, os.urandom(200_000))


def future_format(path):
    """The same file, of format 4 billion, by LMDB's own tools."""
    dump = subprocess.run(["mdb_dump", "-n", "-a", "-p", str(path)], check=True,
                          capture_output=True).stdout
    changed, count = re.subn(rb"(\n format(?:\\00)?\n )[^\n]*", rb"\1\\fe\\ff\\ff\\ff", dump)
    assert count == 1, dump[:2000]
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    subprocess.run(["mdb_load", "-n", str(new)], input=changed, check=True, capture_output=True)
    give(new)
    new.rename(path)
    path.with_suffix(".new-lock").unlink(missing_ok=True)


def replace(path, content):
    """As another program would: a new file in the old one's place."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    give(new)
    new.rename(path)


BREAKAGES = [missing, unreadable, empty, truncated, random_bytes, future_format]


def save(homing):
    shutil.copytree(homing.path, homing.folder / "saved")


def mend(homing):
    for path in (homing.folder / "saved").iterdir():
        new = homing.path / (path.name + ".mended")
        shutil.copy2(path, new)
        new.rename(homing.path / path.name)
        give(homing.path / path.name)


# Its default is root, who can read everything; an administrator without PAM changes that.
WORKER = "service auth-worker {\n  user = dovecot\n}\n"


def server_for(block, homing, place, always_yes=False, **results):
    later = [dovecot.static_passdb("yes")] if always_yes else []
    settings = {"auth_mechanisms": "plain login cram-md5 scram-sha-256"}
    if block == "route":
        # Whatever name reaches it, this passdb says yes to the password `yes`.
        return dovecot.Dovecot(
            place / "server",
            [dovecot.route(homing.path, **results),
             *(later or [dovecot.passwd_file(passwords_file(place))])],
            [dovecot.route(homing.path), anybody(homing.vmail)], raw=WORKER,
            settings=settings)
    return dovecot.Dovecot(
        place / "server", [dovecot.accounts(homing.path, **results), *later],
        [dovecot.accounts(homing.path), anybody(homing.vmail)], raw=WORKER,
        settings=settings)


def assert_refused_for_now(server, homing, passwords):
    start = len(server.log())
    tries = 0
    with server.auth() as client:
        for login in ("info", "info@client2.com", "root", "nobody@elsewhere.example"):
            for password in passwords:
                tries += 1
                reply = client.plain(login, password, ip=CLIENT1_IP)
                assert not reply.ok and reply.temporary, (login, password, reply)
    with server.userdb() as users:
        assert users.lookup("info@client2.com") == "failed"
        assert users.lookup("root") == "failed"
    time.sleep(0.2)
    said = [line for line in server.errors(start) if str(homing.path) in line]
    assert 1 <= len(said) <= tries + 2, server.log()[start:]
    assert not any(password in line for line in said for password in passwords)
    assert server.alive()


def assert_works(server, password=None):
    deadline = time.monotonic() + 5
    while True:
        with server.auth() as client:
            reply = client.plain("info", password or ACCOUNTS["info@client1.com"], ip=CLIENT1_IP)
        if reply.ok or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert reply.ok and reply.user == "info@client1.com", reply


@pytest.mark.parametrize("block", ["route", "accounts"])
@pytest.mark.parametrize("breakage", BREAKAGES)
def test_broken_while_running_refuses_for_now_and_heals(breakage, block, place, start):
    homing = tell_story(place, passwords=True)
    save(homing)
    server = start(server_for(block, homing, place))
    assert_works(server)
    breakage(homing.path / "directory.mdb")
    assert_refused_for_now(server, homing, ["wrong", ACCOUNTS["info@client1.com"]])
    mend(homing)
    assert_works(server)


@pytest.mark.parametrize("block", ["route", "accounts"])
@pytest.mark.parametrize("breakage", BREAKAGES)
def test_broken_at_start_refuses_for_now_and_heals(breakage, block, place, start):
    homing = tell_story(place, passwords=True)
    save(homing)
    breakage(homing.path / "directory.mdb")
    server = start(server_for(block, homing, place))
    assert_refused_for_now(server, homing, ["wrong", ACCOUNTS["info@client1.com"]])
    mend(homing)
    assert_works(server)


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_broken_credentials_refuse_for_now_and_heal(breakage, place, start):
    homing = tell_story(place, passwords=True)
    save(homing)
    server = start(server_for("accounts", homing, place))
    assert_works(server)
    breakage(homing.path / "credentials.mdb")
    with server.auth() as client:
        reply = client.plain("info", ACCOUNTS["info@client1.com"], ip=CLIENT1_IP)
    assert not reply.ok and reply.temporary, reply
    mend(homing)
    assert_works(server)


@pytest.mark.parametrize("block", ["route", "accounts"])
@pytest.mark.parametrize("value", RESULTS)
def test_no_unrouted_name_reaches_the_next_passdb(value, block, place, start):
    """result_internalfail says what Dovecot does when a passdb fails, and its default is to go on
    to the next. A bare name must not get there, so the block may not merely fail."""
    homing = tell_story(place, passwords=True)
    save(homing)
    results = {"result_internalfail": value}
    server = start(server_for(block, homing, place, always_yes=True, **results))
    missing(homing.path / "directory.mdb")
    with server.auth() as client:
        for login in ("info", "root", "info@client2.com"):
            for password in ("yes", "wrong", ""):
                reply = client.plain(login, password, ip=COMPANY_IP)
                assert not reply.ok and reply.temporary, (login, password, reply)
            for attempt in (client.login, client.cram_md5, client.scram_sha_256):
                reply = attempt(login, "yes", ip=COMPANY_IP)
                assert not reply.ok and reply.temporary, (login, attempt, reply)
    with server.userdb() as users:
        assert users.lookup("info") == users.lookup("info@client2.com") == "failed"
    assert server.alive()
    mend(homing)
    assert_works(server, "yes" if block == "route" else None)


def test_directory_that_is_made_after_dovecot_started(place, start):
    """A fresh install: Dovecot comes up before the first `homingctl apply`."""
    (place / "homing").mkdir()
    (place / "homing").chmod(0o755)
    server = start(dovecot.Dovecot(
        place / "server",
        [dovecot.route(place / "homing"), dovecot.passwd_file(passwords_file(place))],
        [dovecot.route(place / "homing"), dovecot.static_userdb(place / "vmail")]))
    with server.auth() as client:
        assert client.plain("info", "wrong", ip=CLIENT1_IP).temporary
    tell_story(place)
    assert_works(server)


def test_format_number_is_where_the_test_changes_it(place):
    homing = tell_story(place)
    future_format(homing.path / "directory.mdb")
    done = homing.ctl("route", "--login", "info", check=False)
    assert done.returncode not in (0, 67) and "format" in done.stderr, done
