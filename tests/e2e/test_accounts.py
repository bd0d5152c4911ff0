"""The accounts block: passwords, homes, ids and groups from the directory."""

import threading
import time

import pytest

import dovecot
from homing import ACCOUNTS, CLIENT1_IP, COMPANY_IP, story, tell_story


def test_userdb_says_home_ids_and_groups(place, start):
    homing = tell_story(place, passwords=True)
    homing.ctl("group", "add", "staff@company.com", "info@company.com", "info@client1.com")
    homing.ctl("group", "add", "board@client1.com", "info@client1.com")
    homing.ctl("account", "add", "special@company.com", "--home", f"{place}/special", "--uid",
               "6000", "--gid", "6001")
    homing.readable()
    server = start(dovecot.Dovecot(place / "server", [dovecot.accounts(homing.path)],
                                   [dovecot.accounts(homing.path)]))
    with server.userdb() as users:
        user, fields = users.lookup("info@client1.com")
        assert user == "info@client1.com"
        assert fields["home"] == f"{homing.vmail}/client1.com/info"
        assert (fields["uid"], fields["gid"]) == ("5000", "5000")
        assert fields["acl_groups"] == "board@client1.com,staff@company.com"
        assert users.lookup("info@company.com")[1]["acl_groups"] == "staff@company.com"
        assert "acl_groups" not in users.lookup("info@client2.com")[1]
        fields = users.lookup("special@company.com")[1]
        assert (fields["home"], fields["uid"], fields["gid"]) == (f"{place}/special", "6000", "6001")
        for name in ("staff@company.com", "nobody@company.com", "info@elsewhere.example"):
            assert users.lookup(name) is None


def test_prefetch_gives_home_ids_and_groups_with_the_password(place, start):
    homing = tell_story(place, passwords=True)
    homing.ctl("group", "add", "staff@company.com", "info@client1.com")
    homing.ctl("group", "add", "board@client1.com", "info@client1.com")
    homing.readable()
    server = start(dovecot.Dovecot(place / "server", [dovecot.accounts(homing.path)],
                                   [dovecot.Block("prefetch")]))
    for login, ip, account in (("info", CLIENT1_IP, "info@client1.com"),
                               ("sales", COMPANY_IP, "info@company.com")):
        assert server.imap_owner(login, ACCOUNTS[account], ip=ip) == account
    done = server.doveadm("auth", "login", "-x", f"lip={CLIENT1_IP}", "info",
                          ACCOUNTS["info@client1.com"])
    said = done.stdout[done.stdout.index("userdb extra fields:"):].split()
    for word in (f"home={homing.vmail}/client1.com/info", "uid=5000", "gid=5000",
                 "acl_groups=board@client1.com,staff@company.com"):
        assert word in said, done.stdout


def test_fields_of_the_administrator_are_added(place, start):
    """To the answers of each block, with the canonical name in them; but those of a userdb that
    goes on to the next, as the route block does, Dovecot forgets."""
    homing = tell_story(place, passwords=True)
    blocks = [dovecot.route(homing.path), dovecot.accounts(homing.path)]
    for name, block in zip(("of_route", "of_accounts"), blocks):
        block.fields = {name: f"for-{dovecot.USER}"}
    fields = dict.fromkeys(("of_route", "of_accounts"), "for-info@client1.com")
    server = start(dovecot.Dovecot(place / "server", blocks, blocks))
    with server.auth() as client, server.userdb() as users:
        reply = client.plain("info", ACCOUNTS["info@client1.com"], ip=CLIENT1_IP)
        assert reply.ok and fields.items() <= reply.fields.items(), reply
        user, found = users.lookup("info@client1.com")
        assert found["of_accounts"] == "for-info@client1.com", found


def test_accounts_of_a_domain_that_became_external_are_not_listed(place, start):
    homing = tell_story(place, passwords=True)
    config = story(homing.vmail)
    config["domains"]["sqlsite.org"]["accounts"] = "directory"
    homing.apply(config)
    homing.account("info@sqlsite.org", "of sqlsite")
    server = start(dovecot.Dovecot(place / "server", [dovecot.accounts(homing.path)],
                                   [dovecot.accounts(homing.path)]))
    listed = sorted([*ACCOUNTS, "info@sqlsite.org"])
    assert sorted(server.doveadm("user", "*").stdout.split()) == listed
    homing.apply(story(homing.vmail))
    assert sorted(server.doveadm("user", "*").stdout.split()) == sorted(ACCOUNTS)
    with server.auth() as client:
        assert not client.plain("info@sqlsite.org", "of sqlsite").ok


def test_an_account_without_a_password_logs_nobody_in(place, start):
    homing = tell_story(place, passwords=True)
    homing.ctl("account", "add", "mute@company.com")
    homing.readable()
    server = start(dovecot.Dovecot(place / "server", [dovecot.accounts(homing.path)],
                                   [dovecot.accounts(homing.path)]))
    with server.auth() as client:
        for password in ("", "wrong", "{PLAIN}", "*"):
            reply = client.plain("mute", password, ip=COMPANY_IP)
            assert not reply.ok and not reply.temporary, reply


def test_a_changed_password_counts_at_the_next_login(place, start):
    homing = tell_story(place, passwords=True)
    server = start(dovecot.Dovecot(place / "server", [dovecot.accounts(homing.path)],
                                   [dovecot.accounts(homing.path)]))
    with server.auth() as client:
        assert client.plain("info", ACCOUNTS["info@client1.com"], ip=CLIENT1_IP).ok
        homing.ctl("password", "set", "info@client1.com", "--stdin", text="a new one\n")
        homing.readable()
        assert not client.plain("info", ACCOUNTS["info@client1.com"], ip=CLIENT1_IP).ok
        assert client.plain("info", "a new one", ip=CLIENT1_IP).ok


@pytest.mark.alone
def test_hashing_does_not_hold_up_others(place, start):
    """Argon2id takes a tenth of a second; the main auth process must answer others meanwhile."""
    homing = tell_story(place, passwords=True)
    server = start(dovecot.Dovecot(place / "server", [dovecot.accounts(homing.path)],
                                   [dovecot.accounts(homing.path)]))
    end = time.monotonic() + 3

    def hash_on():
        with server.auth() as client:
            while time.monotonic() < end:
                # The right one: Dovecot 2.3 holds refusals back, and so would hash less.
                assert client.plain("info", ACCOUNTS["info@company.com"], ip=COMPANY_IP).ok

    threads = [threading.Thread(target=hash_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    times = []
    with server.userdb() as users:
        while time.monotonic() < end:
            begin = time.perf_counter()
            assert users.lookup("info@client2.com")[0] == "info@client2.com"
            times.append(time.perf_counter() - begin)
            time.sleep(0.005)
    for thread in threads:
        thread.join()
    median = sorted(times)[len(times) // 2]
    assert median < 0.03, f"a userdb lookup took {median * 1000:.1f} ms in the median"
