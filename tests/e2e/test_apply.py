"""A change counts at the next login, without a reload, and no login falls between."""

import threading
import time

import pytest

import dovecot
from homing import CLIENT1_IP, COMPANY_IP, OTHER_IP, story, tell_story

SECONDS, CLIENTS, RATE = 6, 4, 250  # logins a second, all clients together


def test_apply_counts_at_the_next_login_on_an_open_connection(place, start):
    homing = tell_story(place)
    server = start(dovecot.Dovecot(
        place / "server", [dovecot.route(homing.path), dovecot.static_passdb("yes")],
        [dovecot.route(homing.path), dovecot.static_userdb(homing.vmail)]))
    config = story(homing.vmail)
    with server.auth() as client, server.userdb() as users:
        assert client.plain("info", "yes", ip=OTHER_IP).user == "info@company.com"
        assert users.lookup("info@late.example") is None
        config["domains"]["client2.com"]["addresses"] = [OTHER_IP]
        config["domains"]["client2.com"]["aliases"].append("late.example")
        homing.apply(config)
        assert client.plain("info", "yes", ip=OTHER_IP).user == "info@client2.com"
        assert users.lookup("info@late.example")[0] == "info@client2.com"
        homing.ctl("alias", "add", "new@company.com", "info@client1.com")
        assert client.plain("new", "yes", ip=COMPANY_IP).user == "info@client1.com"
        homing.ctl("account", "delete", "--force", "info@client2.com")
        assert not client.plain("info", "yes", ip=OTHER_IP).ok


@pytest.mark.alone
def test_apply_during_many_logins_a_second(place, start):
    """One address moves from domain to domain. Each login is answered by the old owner or by the
    new one; two names that always change together never differ within what one login saw."""
    homing = tell_story(place)
    server = start(dovecot.Dovecot(
        place / "server", [dovecot.route(homing.path), dovecot.static_passdb("yes")],
        [dovecot.static_userdb(homing.vmail)], settings={"auth_verbose": "no"}))
    states = []
    for owner in ("client1.com", "client2.com"):
        config = story(homing.vmail)
        config["domains"]["client1.com"]["addresses"] = []
        config["domains"][owner]["addresses"] = [CLIENT1_IP]
        # Two steps of one routing that change together: the address's owner and where its
        # `desk` leads. A mixture would be an answer that neither state gives.
        config["router"].append({"match": f"desk@{owner}", "to": "info@company.com"})
        other = "client2.com" if owner == "client1.com" else "client1.com"
        config["router"].append({"match": f"desk@{other}", "to": "error:5.1.1 not the owner"})
        states.append(config)
    homing.apply(states[0])
    wrong, counts, end = [], [0] * CLIENTS, time.monotonic() + SECONDS
    latest = [0.0] * CLIENTS

    def log_in(number):
        with server.auth() as client:
            while time.monotonic() < end:
                begin = time.monotonic()
                reply = client.plain("info", "yes", ip=CLIENT1_IP)
                if not reply.ok or reply.user not in ("info@client1.com", "info@client2.com"):
                    wrong.append(reply)
                reply = client.plain("desk", "yes", ip=CLIENT1_IP)
                if not reply.ok or reply.user != "info@company.com":
                    wrong.append(reply)
                counts[number] += 2
                latest[number] = max(latest[number], time.monotonic() - begin)
                time.sleep(max(0, 2 * CLIENTS / RATE - (time.monotonic() - begin)))

    threads = [threading.Thread(target=log_in, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    applied = 0
    while time.monotonic() < end:
        applied += 1
        homing.apply(states[applied % 2])
    for thread in threads:
        thread.join()
    rate = sum(counts) / SECONDS
    print(f"{applied} times applied during {sum(counts)} logins, {rate:.0f} a second; "
          f"the slowest two took {max(latest) * 1000:.0f} ms")
    assert not wrong, wrong[:3]
    assert applied >= 10 and rate >= 200
