"""Answers that the auth process keeps: each for its own question only, and while nothing changed."""

import itertools
import json
import random
import string

import pytest

import dovecot
from authclient import Reply
from homing import CLIENT1_IP, COMPANY_IP, OTHER_IP, Homing, story

KEPT = 4096  # as many answers as the module keeps at most
NAMES = [f"user{number}" for number in range(KEPT // 2 + 1000)]
AT_ONCE = 500


def make_accounts(homing, names):
    """Accounts of these names in company.com and client1.com. Their passwords are elsewhere."""
    homing.ctl("account", "import", "-", text="".join(
        json.dumps({"account": f"{name}@{domain}"}) + "\n"
        for name in names for domain in ("company.com", "client1.com")))
    homing.readable()


@pytest.fixture(scope="module")
def crowd(top):
    homing = Homing(top / "crowd")
    homing.apply(story(homing.vmail))
    make_accounts(homing, NAMES)
    return homing


def open_server(folder, homing, **settings):
    """Every name that gets past the route block logs in, so the reply says what it was routed to."""
    anybody = dovecot.Block("static", "nopassword=y", ["fields {", "  nopassword = y", "}"])
    return dovecot.Dovecot(
        folder, [dovecot.route(homing.path), anybody],
        [dovecot.route(homing.path), dovecot.static_userdb(homing.vmail)],
        settings={"auth_verbose": "no", "auth_debug": None, "log_debug": None, **settings})


def log_in(client, questions):
    """The account that each (name, local IP, TLS name) opens, or None; many asked at once."""
    found = []
    for first in range(0, len(questions), AT_ONCE):
        numbers = [client.start("PLAIN", f"\0{name}\0any".encode(), ip=ip, server_name=server_name)
                   for name, ip, server_name in questions[first:first + AT_ONCE]]
        replies = {}
        while len(replies) < len(numbers):
            words = client.receive()
            if words[0] in (b"OK", b"FAIL"):
                replies[int(words[1])] = Reply(words).user if words[0] == b"OK" else None
        found += [replies[number] for number in numbers]
    return found


def assert_all(client, expected, questions):
    for question, account in zip(questions, log_in(client, questions)):
        assert account == expected[question], question


def expect(owners):
    """What each bare name opens on each of the addresses, and by each of the TLS names."""
    rows = {(name, ip, None): f"{name}@{owner}" for name in NAMES for ip, owner in owners.items()}
    rows.update({(name, COMPANY_IP, "client1.com"): f"{name}@client1.com" for name in NAMES[::8]})
    rows.update({(name, CLIENT1_IP, "company.com"): f"{name}@company.com" for name in NAMES[::8]})
    return rows


def test_more_accounts_than_answers_are_kept_for(crowd, place, start):
    """One name on two addresses is two accounts, of more than there are places for. Each logs in
    twice, in random order, and then addresses change hands in the midst of it."""
    server = start(open_server(place / "server", crowd))
    dice = random.Random(4096)
    before = expect({COMPANY_IP: "company.com", CLIENT1_IP: "client1.com"})
    after = expect({COMPANY_IP: "client1.com", CLIENT1_IP: "company.com"})
    assert len(before) > 1.4 * KEPT
    changed = story(crowd.vmail)
    changed["domains"]["company.com"]["addresses"] = [CLIENT1_IP]
    changed["domains"]["client1.com"]["addresses"] = [COMPANY_IP]
    questions = [*before, *before]
    dice.shuffle(questions)
    with server.auth() as client:
        assert_all(client, before, questions)
        crowd.apply(changed)
        dice.shuffle(questions)
        assert_all(client, after, questions)
        crowd.apply(story(crowd.vmail))
        assert_all(client, before, questions[:KEPT])


def test_a_busy_name_is_right_while_strangers_try_theirs(crowd, place, start):
    """What is refused is not kept, and takes no place from what is."""
    server = start(open_server(place / "server", crowd))
    busy = [("user1", COMPANY_IP, None), ("user1", CLIENT1_IP, None)]
    with server.auth() as client:
        for turn in range(20):
            strangers = [(f"stranger{turn}-{n}", COMPANY_IP, None) for n in range(20)]
            answers = log_in(client, busy + strangers[:10 if dovecot.NEW else 5])
            assert answers[:2] == ["user1@company.com", "user1@client1.com"]
            assert not any(answers[2:])


def hash_of(text, state):
    """One step of the module's hash of a key (answers.c)."""
    state = (state ^ int.from_bytes(text, "little")) * 0x9e3779b97f4a7c15 % 2**64
    return state ^ state >> 32


LETTERS = (string.ascii_lowercase + string.digits).encode()
PAIRS = {a ^ b: (a, b) for a, b in itertools.product(LETTERS, LETTERS)}


def colliding_names(ip):
    """Two names of the same length with one hash on this address. The hash is the module's own
    matter: if it changes, these are just two names."""
    head = b"p\4" + bytes(map(int, ip.split("."))) + b"\0" + b"u"
    seen = hash_of(head, 8 + 16)
    dice = random.Random(1)
    states = []
    while True:
        middle = bytes(dice.choices(LETTERS, k=8))
        state = hash_of(middle, seen)
        for other, other_state in states:
            differing = (state ^ other_state).to_bytes(8, "little")
            if all(byte in PAIRS for byte in differing):
                return [(b"u" + text + bytes(PAIRS[byte][side] for byte in differing)).decode()
                        for side, text in ((0, middle), (1, other))]
        states.append((middle, state))


def test_names_of_one_hash_are_told_apart(place, start):
    homing = Homing(place)
    homing.apply(story(homing.vmail))
    names = colliding_names(CLIENT1_IP)
    assert len(set(names)) == 2
    make_accounts(homing, names)
    server = start(open_server(place / "server", homing))
    with server.auth() as client:
        for name in [*names, *names[::-1]]:
            assert log_in(client, [(name, CLIENT1_IP, None)]) == [f"{name}@client1.com"]


def test_local_addresses_are_told_apart_to_the_last_bit(place, start):
    owners = {"2001:db8::1": "company.com", "2001:db8::2": "client1.com",
              "2001:db8:0:1::1": "client1.com", "2001:db8:0:1::2": "company.com",
              "192.0.2.1": "company.com", "192.0.2.2": "client1.com",
              "192.0.2.129": "client1.com", "64.0.2.2": "company.com"}
    homing = Homing(place)
    config = story(homing.vmail)
    for domain in ("company.com", "client1.com"):
        config["domains"][domain]["addresses"] = [ip for ip in owners if owners[ip] == domain]
    homing.apply(config)
    make_accounts(homing, ["info"])
    server = start(open_server(place / "server", homing))
    questions = [("info", ip, None) for ip in owners] * 2
    questions += [("info", ip.replace("192.0.2", "::ffff:192.0.2"), None)
                  for ip in owners if ip.startswith("192.")] * 2
    with server.auth() as client:
        for question in questions:
            owner = owners[question[1].replace("::ffff:", "")]
            assert log_in(client, [question]) == [f"info@{owner}"], question


def test_a_password_login_answers_for_no_certificate(crowd, place, start):
    """PLAIN may use a bare name. EXTERNAL may not, however often PLAIN just did."""
    server = start(open_server(place / "server", crowd, auth_mechanisms="plain external",
                               auth_ssl_username_from_cert="yes"))
    with server.auth() as client:
        for ip in (COMPANY_IP, CLIENT1_IP, None):
            for _ in range(2):
                assert client.plain("user1", "any", ip=ip).ok
                assert not client.external("user1", ip=ip).ok
                assert client.external("user1@client1.com", ip=ip).user == "user1@client1.com"


def test_a_login_answers_for_no_delivery_and_no_lookup(crowd, place, start):
    """Three who ask with the same words: only the login has an address, and only for delivery is
    `domain!user` a name."""
    server = start(open_server(place / "server", crowd, auth_username_chars=""))
    with server.auth() as client, server.userdb() as users:
        for _ in range(2):
            assert client.plain("user1", "any", ip=CLIENT1_IP).user == "user1@client1.com"
            assert client.plain("user1", "any", ip=OTHER_IP,
                                server_name="client1.com").user == "user1@client1.com"
            for service in ("lmtp", "lda", "doveadm"):
                for more in ({}, {"ip": CLIENT1_IP}, {"ip": OTHER_IP, "server_name": "client1.com"}):
                    found = users.lookup("user1", service=service, **more)
                    assert found[0] == "user1@company.com", (service, more)
            assert users.lookup("client1.com!user1", service="lmtp")[0] == "user1@client1.com"
            assert users.lookup("client1.com!user1", service="lda")[0] == "user1@client1.com"
            assert users.lookup("client1.com!user1", service="doveadm") is None
            assert not client.plain("client1.com!user1", "any").ok
