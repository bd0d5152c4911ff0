"""The accounts block: passwords, homes, ids and groups from the directory."""

import threading
import time

import pytest

import dovecot
from homing import ACCOUNTS, CLIENT1_IP, COMPANY_IP, tell_story


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
                client.plain("info", "wrong", ip=COMPANY_IP)

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
