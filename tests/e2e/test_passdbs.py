"""The route block before every kind of passdb that an administrator may have."""

import os
import sqlite3
import textwrap
from pathlib import Path

import pytest

import dovecot
from homing import ACCOUNTS, CLIENT1_IP, COMPANY_IP, passwords_file, tell_story

LOGINS = [
    ("info", COMPANY_IP, None, "info@company.com"),
    ("info", CLIENT1_IP, None, "info@client1.com"),
    ("info", COMPANY_IP, "client2.com", "info@client2.com"),
    ("info%client2.com", CLIENT1_IP, None, "info@client2.com"),
    ("info@mail.client2.com", COMPANY_IP, None, "info@client2.com"),
    ("sales", COMPANY_IP, None, "info@company.com"),
]


def sqlite_passdb(place):
    database = sqlite3.connect(place / "sql.db")
    database.execute("CREATE TABLE users (name TEXT PRIMARY KEY, password TEXT)")
    database.executemany("INSERT INTO users VALUES (?, ?)",
                         [(name, "{PLAIN}" + password) for name, password in ACCOUNTS.items()])
    database.commit()
    database.close()
    (place / "sql.db").chmod(0o644)
    return dovecot.sql(place, "passdb", "SELECT password FROM users WHERE name = '%{user}'")


def pam_passdb(place):
    """A PAM service that reads the same passwd-file, in our own /etc/pam.d."""
    checker = place / "check-password"
    checker.write_text(textwrap.dedent(f"""\
        #!/usr/bin/python3
        import os, sys
        given = sys.stdin.buffer.read().rstrip(b"\\0").decode()
        line = os.environ["PAM_USER"] + ":{{PLAIN}}" + given
        sys.exit(line not in open("{passwords_file(place)}").read().splitlines())
        """))
    checker.chmod(0o755)
    service = Path(f"/etc/pam.d/homing-test-{os.getpid()}")
    service.write_text(f"auth required pam_exec.so expose_authtok quiet {checker}\n"
                       "account required pam_permit.so\n")
    return dovecot.pam(service.name)


PASSDBS = {
    "passwd-file": lambda place: dovecot.passwd_file(passwords_file(place)),
    "sqlite": sqlite_passdb,
    "pam": pam_passdb,
}


@pytest.mark.parametrize("kind", PASSDBS)
def test_route_block_hands_the_canonical_name_to(kind, story, place, start):
    server = start(dovecot.Dovecot(
        place / "server", [dovecot.route(story.path), PASSDBS[kind](place)],
        [dovecot.route(story.path), dovecot.static_userdb(story.vmail)]))
    with server.auth() as client:
        for login, ip, server_name, account in LOGINS:
            for other, password in ACCOUNTS.items():
                reply = client.plain(login, password, ip=ip, server_name=server_name)
                assert reply.ok == (other == account), (login, other, reply)
                assert not reply.ok or reply.user == account
    assert server.imap_owner("info", ACCOUNTS["info@client1.com"],
                             ip=CLIENT1_IP) == "info@client1.com"


def test_route_block_before_static(story, place, start):
    """Static takes any name, so only the route block keeps out those that are none."""
    server = start(dovecot.Dovecot(
        place / "server", [dovecot.route(story.path), dovecot.static_passdb("one-for-all")],
        [dovecot.route(story.path), dovecot.static_userdb(story.vmail)]))
    with server.auth() as client:
        for login, ip, server_name, account in LOGINS:
            reply = client.plain(login, "one-for-all", ip=ip, server_name=server_name)
            assert reply.ok and reply.user == account
            assert not client.plain(login, "another", ip=ip, server_name=server_name).ok
        for login in ("nobody", "info@elsewhere.example", "info%elsewhere.example", "spamtrap"):
            assert not client.plain(login, "one-for-all", ip=COMPANY_IP).ok
        assert client.plain("anyone@sqlsite.org", "one-for-all").user == "anyone@sqlsite.org"


def test_userdb_of_sqlite_is_asked_for_the_canonical_name(story, place, start):
    database = sqlite3.connect(place / "sql.db")
    database.execute("CREATE TABLE homes (name TEXT PRIMARY KEY, home TEXT, uid, gid)")
    database.executemany("INSERT INTO homes VALUES (?, ?, 5000, 5000)", [
        (name, f"{story.vmail}/{name.split('@')[1]}/{name.split('@')[0]}") for name in ACCOUNTS])
    database.commit()
    database.close()
    server = start(dovecot.Dovecot(
        place / "server",
        [dovecot.route(story.path), dovecot.passwd_file(passwords_file(place))],
        [dovecot.route(story.path),
         dovecot.sql(place, "userdb", "SELECT home, uid, gid FROM homes WHERE name = '%{user}'")]))
    for login, account in (("info", "info@company.com"), ("info%client2.com", "info@client2.com")):
        assert server.imap_owner(login, ACCOUNTS[account]) == account


def anybody(vmail):
    """A userdb that takes any name for a user: without this setting, static asks the passdbs."""
    block = dovecot.static_userdb(vmail)
    block.old, block.new = "allow_all_users=yes ", ["userdb_static_allow_all_users = yes"]
    return block


MECHANISMS = ["plain", "login", "cram_md5", "scram_sha_256"]
STRANGERS = ["nobody", "nobody@client2.com", "info@elsewhere.example", "info%elsewhere.example",
             "spamtrap", "list@company.com"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("block", ["route", "accounts"])
def test_no_refused_name_reaches_the_next_passdb(block, mechanism, place, start):
    """What stands behind takes any name with this password, so it would take these too."""
    homing = tell_story(place, passwords=True)
    homing.ctl("group", "add", "list@company.com", "info@company.com")
    homing.readable()
    server = start(dovecot.Dovecot(
        place / "server",
        [dovecot.homing(block, homing.path), dovecot.static_passdb("one-for-all")],
        [dovecot.homing(block, homing.path), anybody(homing.vmail)],
        settings={"auth_mechanisms": "plain login cram-md5 scram-sha-256"}))
    with server.auth() as client, server.userdb() as users:
        attempt = getattr(client, mechanism)
        for login in STRANGERS:
            assert not attempt(login, "one-for-all", ip=COMPANY_IP).ok, login
            assert users.lookup(login) is None, login
        # A domain whose accounts others know is the other passdb's.
        assert attempt("anyone@sqlsite.org", "one-for-all").user == "anyone@sqlsite.org"
        assert users.lookup("anyone@sqlsite.org")[0] == "anyone@sqlsite.org"
