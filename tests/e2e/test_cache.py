"""Dovecot's auth cache: one user's password or home must never answer for another's.

Three domains have an `info`; each row is one of them, told apart by what the cache knows nothing
of. A leak shows as the wrong password let in, or as the wrong mailbox opened.
"""

import itertools
import sqlite3

import pytest

import dovecot
from homing import (ACCOUNTS, CLIENT1_IP, COMPANY_IP, OTHER_IP, Homing, passwords_file, story,
                    tell_story)

ROWS = [
    ("info", COMPANY_IP, None, "info@company.com"),
    ("info", CLIENT1_IP, None, "info@client1.com"),
    ("info", OTHER_IP, None, "info@client2.com"),
    ("info", COMPANY_IP, "client2.com", "info@client2.com"),
    ("info", OTHER_IP, "client1.com", "info@client1.com"),
    ("info%client2.com", CLIENT1_IP, None, "info@client2.com"),
    ("INFO@mail.client2.com", COMPANY_IP, None, "info@client2.com"),
]
CACHE = {"auth_cache_size": "10M", "auth_cache_ttl": "1 hour", "auth_cache_negative_ttl": "1 hour"}


@pytest.fixture(scope="module")
def trap(top):
    homing = Homing(top / "trap")
    config = story(homing.vmail)
    config["domains"]["client2.com"]["addresses"] = [OTHER_IP]
    homing.apply(config)
    for name, password in ACCOUNTS.items():
        homing.account(name, password)
    return homing


def cached_sql(place, homing):
    """Passdb and userdb of SQLite, which both versions cache."""
    database = sqlite3.connect(place / "sql.db")
    database.execute("CREATE TABLE users (name TEXT PRIMARY KEY, password TEXT, home TEXT)")
    for name, password in ACCOUNTS.items():
        local, domain = name.split("@")
        database.execute("INSERT INTO users VALUES (?, ?, ?)",
                         (name, password, f"{homing.vmail}/{domain}/{local}"))
    database.commit()
    database.close()
    (place / "sql.db").chmod(0o644)
    return (
        [dovecot.route(homing.path),
         dovecot.sql(place, "passdb", "SELECT password FROM users WHERE name = '%{user}'")],
        [dovecot.route(homing.path),
         dovecot.sql(place, "userdb",
                     "SELECT home, 5000 AS uid, 5000 AS gid FROM users WHERE name = '%{user}'")])


def cached_file(place, homing):
    return ([dovecot.route(homing.path), dovecot.passwd_file(passwords_file(place))],
            [dovecot.route(homing.path), dovecot.static_userdb(homing.vmail)])


def own_accounts(place, homing):
    return [dovecot.accounts(homing.path)], [dovecot.accounts(homing.path)]


def routed_accounts(place, homing):
    return ([dovecot.route(homing.path), dovecot.accounts(homing.path)],
            [dovecot.route(homing.path), dovecot.accounts(homing.path)])


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("kind", [cached_sql, cached_file, own_accounts, routed_accounts])
def test_cache_never_answers_for_another_account(kind, backward, trap, place, start, tls):
    passdbs, userdbs = kind(place, trap)
    server = start(dovecot.Dovecot(place / "server", passdbs, userdbs, tls=tls, settings=CACHE))
    rows = ROWS[::-1] if backward else ROWS
    names = sorted({account for *_, account in ROWS}, reverse=backward)
    with server.auth() as client:
        for _ in range(2):  # once to fill the cache, once to be answered by it
            for (login, ip, server_name, account), other in itertools.product(rows, names):
                reply = client.plain(login, ACCOUNTS[other], ip=ip, server_name=server_name)
                assert reply.ok == (other == account), (login, ip, server_name, other, reply)
                assert not reply.ok or reply.user == account
    for login, ip, server_name, account in rows * 2:
        assert server.imap_owner(login, ACCOUNTS[account], ip=ip,
                                 server_name=server_name) == account
    if kind is cached_sql:
        assert "cache hit" in server.log(), "nothing was cached, so nothing was tested"


@pytest.mark.parametrize("kind", [own_accounts, routed_accounts])
def test_nothing_of_ours_is_cached(kind, place, start):
    """A change of the directory counts at the next login, whatever auth_cache_ttl says."""
    homing = tell_story(place, passwords=True)
    passdbs, userdbs = kind(place, homing)
    server = start(dovecot.Dovecot(place / "server", passdbs, userdbs, settings=CACHE))
    account, old, home = "info@client1.com", ACCOUNTS["info@client1.com"], str(place / "elsewhere")
    with server.auth() as client, server.userdb() as users:
        for _ in range(2):
            assert client.plain(account, old).ok
            assert not client.plain(account, "a new one").ok
            assert not client.plain("late@client1.com", "of late").ok
            assert users.lookup("late@client1.com") is None
            assert users.lookup(account)[1]["home"] != home
        homing.ctl("password", "set", account, "--stdin", text="a new one\n")
        homing.account("late@client1.com", "of late")
        assert not client.plain(account, old).ok
        assert client.plain(account, "a new one").ok
        assert client.plain("late@client1.com", "of late").ok
        assert users.lookup("late@client1.com")[0] == "late@client1.com"
        homing.ctl("account", "delete", "--force", account)
        homing.ctl("account", "add", account, "--home", home)
        homing.readable()
        assert users.lookup(account)[1]["home"] == home
        assert not client.plain(account, "a new one").ok
