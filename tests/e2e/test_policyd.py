"""homing-policyd by itself, without Postfix: both protocols, and clients that behave as badly as
clients can. What the answers mean is tested elsewhere; here it is that each request gets its own."""

import contextlib
import random
import resource
import signal
import socket
import threading
import time

import pytest

import homing
from policyd import (SANITIZED, Client, MapClient, Policyd, PolicyClient, attributes, connect, encode,
                     netstring)

LISTENERS = ["policy", "policy_tcp", "map", "map_tcp"]
KNOWN, UNKNOWN = "info@company.com", "nobody@company.com"


def client_of(daemon, listener, **options):
    kind = PolicyClient if listener.startswith("policy") else MapClient
    return kind(getattr(daemon, listener), **options)


def question(listener, recipient):
    """What to ask about an address, by any protocol, and ..."""
    return (recipient,) if listener.startswith("policy") else ("mailbox", recipient)


def is_right(listener, recipient, reply):
    """... whether that is the answer."""
    known = recipient == KNOWN
    if listener.startswith("policy"):
        return reply == "DUNNO" if known else reply.startswith("550 5.1.1 ")
    return reply[0] == ("OK" if known else "NOTFOUND")


def assert_serves(daemon):
    for listener in LISTENERS:
        with client_of(daemon, listener) as client:
            for recipient in (KNOWN, UNKNOWN):
                reply = client.ask(*question(listener, recipient))
                assert is_right(listener, recipient, reply), reply


@pytest.fixture(scope="module")
def daemon(story):
    """One for all tests that do not disturb others."""
    with Policyd(story.folder / "policyd", story.path) as running:
        yield running
        assert_serves(running)


def make(place, story, **options):
    return Policyd(place / "policyd", story.path, **options)


# Requests and replies


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_connection_answers_many_requests(daemon, listener):
    with client_of(daemon, listener) as client:
        for recipient in (KNOWN, UNKNOWN, KNOWN) * 50:
            assert is_right(listener, recipient, client.ask(*question(listener, recipient)))


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("chunk", [1, 7, 1000, 4096, 10**7])
def test_pipelined_requests_are_answered_in_order(daemon, listener, chunk):
    recipients = random.Random(7).choices([KNOWN, UNKNOWN], k=5 if chunk == 1 else 1000)
    with client_of(daemon, listener) as client:
        data = b"".join(client.request(*question(listener, recipient))
                        for recipient in recipients)
        sender = threading.Thread(target=lambda: [
            client.send(data[i:i + chunk]) for i in range(0, len(data), chunk)])
        sender.start()
        for recipient in recipients:
            assert is_right(listener, recipient, client.reply())
        sender.join()


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("count", [1, 300])
def test_a_client_that_finished_sending_gets_its_replies(daemon, listener, count):
    with client_of(daemon, listener) as client:
        client.send(client.request(*question(listener, UNKNOWN)) * count)
        client.finish_sending()
        for _ in range(count):
            assert is_right(listener, UNKNOWN, client.reply())
        assert client.closed()


@pytest.mark.parametrize("listener", LISTENERS)
def test_half_a_request_gets_no_reply(daemon, listener):
    with client_of(daemon, listener) as client:
        request = client.request(*question(listener, KNOWN))
        client.send(request + request[:-1])
        client.finish_sending()
        assert is_right(listener, KNOWN, client.reply())
        assert client.closed()


def test_other_stages_are_none_of_its_business(daemon):
    with PolicyClient(daemon.policy) as client:
        for other in ({"protocol_state": "DATA"}, {"protocol_state": "VRFY"},
                      {"protocol_state": "END-OF-MESSAGE"}):
            assert client.ask(UNKNOWN, **other) == "DUNNO", other


def test_attributes_of_any_name_and_number_are_read(daemon):
    many = [(f"attribute_{i}", "x" * 40) for i in range(900)]
    with PolicyClient(daemon.policy) as client:
        client.send(encode([*many, *attributes(UNKNOWN).items()]))
        assert client.reply().startswith("550 5.1.1 ")
        client.send(encode([*attributes(UNKNOWN).items(), ("recipient", KNOWN)]))
        assert client.reply() == "DUNNO"


def test_a_line_may_end_in_cr_lf(daemon):
    with PolicyClient(daemon.policy) as client:
        client.send(encode(attributes(UNKNOWN)).replace(b"\n", b"\r\n"))
        assert client.reply().startswith("550 5.1.1 ")


def test_an_unknown_map_is_a_permanent_error(daemon):
    with MapClient(daemon.map) as client:
        assert client.ask("no-such-map", KNOWN)[0] == "PERM"
        assert client.ask("mailbox", KNOWN)[0] == "OK"


def test_the_longest_key_is_answered_and_a_longer_one_is_not(daemon):
    with MapClient(daemon.map) as client:
        assert client.ask("mailbox", "x" * (100000 - len("mailbox ")))[0] == "NOTFOUND"
        with contextlib.suppress(ConnectionError):
            client.send(client.request("mailbox", "x" * (100001 - len("mailbox "))))
        assert client.closed()


@pytest.mark.parametrize("key", [b"", b"\0", b"\xff\xfe@company.com", b"a\nb@company.com", b"@",
                                 b"x" * 1000])
def test_a_map_takes_any_bytes_as_key(daemon, key):
    with MapClient(daemon.map) as client:
        for name in ("alias", "domain", "mailbox", "sender-login", "transport"):
            assert client.ask(name, key)[0] in ("NOTFOUND", "PERM"), name
        assert client.ask("mailbox", KNOWN)[0] == "OK"


# Garbage

GARBAGE_POLICY = {
    "NUL": b"\0\0\0\0",
    "no =": b"hello\n\n",
    "TLS": bytes.fromhex("160301020001000001fc0303") + b"\x01" * 500 + b"\n\n",
    "SMTP": b"EHLO mail.example\r\n\r\n",
    "a netstring": b"10:mailbox xy,\n",
    "another request": b"request=junk\nprotocol_state=RCPT\nrecipient=info@company.com\n\n",
    "a NUL in a value": b"request=smtpd_access_policy\nrecipient=a\0b\n\n",
    "too long a line": b"a=" + b"x" * 100000,
    "too many attributes": b"a=b\n" * 2000 + b"\n",
}
GARBAGE_MAP = {
    "no number": b"hello,",
    "a leading zero": b"01:x,",
    "a negative number": b"-1:x,",
    "too long": b"100001:",
    "much too long": b"99999999999999999999:",
    "an endless number": b"1" * 5000,
    "no comma": b"9:mailbox xy",
    "no blank": b"7:mailbox,",
    "policy": b"request=smtpd_access_policy\n\n",
}
GARBAGE = ([pytest.param("policy", data, id="policy: " + name)
            for name, data in GARBAGE_POLICY.items()]
           + [pytest.param("map", data, id="map: " + name) for name, data in GARBAGE_MAP.items()])


@pytest.mark.parametrize("transport", ["", "_tcp"])
@pytest.mark.parametrize("listener, garbage", GARBAGE)
def test_garbage_ends_the_connection_after_earlier_replies(daemon, listener, transport, garbage):
    for before in (0, 3):
        with client_of(daemon, listener + transport) as client:
            with contextlib.suppress(ConnectionError):
                client.send(client.request(*question(listener, UNKNOWN)) * before + garbage)
            for _ in range(before):
                assert is_right(listener, UNKNOWN, client.reply())
            assert client.closed()


def test_random_garbage_harms_nobody(daemon):
    chance = random.Random(3)
    pieces = [b"=", b"\n", b"\n\n", b"\r\n", b":", b",", b"0", b"12:", b" ", b"\0", b"\xff",
              b"request=smtpd_access_policy\n", b"recipient=info@company.com\n", b"mailbox ",
              b"7:mailbox", encode(attributes(KNOWN)), netstring("mailbox " + KNOWN)]
    for _ in range(300):
        listener = chance.choice(LISTENERS)
        with client_of(daemon, listener) as client, contextlib.suppress(ConnectionError):
            for _ in range(chance.randrange(1, 20)):
                client.send(chance.choice(pieces))
            if chance.random() < 0.5:
                client.finish_sending()
                while True:
                    client.receive()
    assert_serves(daemon)


def send_endlessly(client, piece, total):
    """How much the daemon took."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < total:
            client.send(piece)
            sent += len(piece)
    return sent


MONSTERS = {
    "a line of 10 MB": ("policy", b"recipient=", b"x" * 65536),
    "100,000 attributes": ("policy", b"", b"".join(b"attribute_%d=x\n" % i for i in range(1000))),
    "a netstring of 10 MB": ("map", b"10000000:", b"x" * 65536),
}


@pytest.mark.parametrize("transport", ["", "_tcp"])
@pytest.mark.parametrize("name", MONSTERS)
def test_a_monster_is_cut_off_early(place, story, name, transport):
    listener, start, piece = MONSTERS[name]
    with make(place, story) as own:
        assert_serves(own)
        before = own.rss()
        with client_of(own, listener + transport) as other:
            for _ in range(20):
                with client_of(own, listener + transport) as client:
                    client.send(start)
                    sent = send_endlessly(client, piece, 10**7)
                    # What is in the socket's buffers counts as sent.
                    assert sent < 10**7
                assert is_right(listener, KNOWN, other.ask(*question(listener, KNOWN)))
        assert own.rss() - before < (30000 if SANITIZED else 2000)


def test_connections_closed_in_the_middle_leave_nothing_behind(place, story):
    with make(place, story) as own:
        assert_serves(own)
        time.sleep(0.2)
        before = own.descriptors()
        chance = random.Random(5)
        for i in range(2000):
            listener = LISTENERS[i % 4]
            with client_of(own, listener) as client:
                request = client.request(*question(listener, UNKNOWN)) * chance.randrange(1, 4)
                client.send(request[:chance.randrange(len(request))])
        assert_serves(own)
        time.sleep(0.2)
        assert own.descriptors() == before


def test_a_client_that_never_reads_is_held_up_alone(place, story):
    with make(place, story) as own:
        assert_serves(own)
        before = own.rss()
        with contextlib.ExitStack() as stack:
            for listener in LISTENERS:
                client = stack.enter_context(client_of(own, listener, timeout=0.5))
                with contextlib.suppress(TimeoutError):
                    assert send_endlessly(client, client.request(*question(listener, UNKNOWN)) * 50,
                                          10**8) < 10**8
                assert_serves(own)
            assert own.rss() - before < (60000 if SANITIZED else 8000)


def test_who_reads_late_gets_every_reply(daemon):
    count = 20000
    for listener in ("policy", "map_tcp"):
        with client_of(daemon, listener) as client:
            data = client.request(*question(listener, UNKNOWN)) * count
            sender = threading.Thread(target=client.send, args=(data,))
            sender.start()
            time.sleep(0.5)
            for _ in range(count):
                assert is_right(listener, UNKNOWN, client.reply())
            sender.join()


# Many connections


class Pace:
    """How long single requests take at two daemons, asked in turns, so that whatever else the
    machine does meets both: one that is left in peace, and one that is not."""

    def __init__(self, stack, peaceful, other):
        self.clients = [[stack.enter_context(PolicyClient(daemon.policy)) for _ in range(4)]
                        for daemon in (peaceful, other)]
        self.times = [], []
        self.measure(500)
        self.times = [], []

    def measure(self, requests):
        for i in range(requests):
            for clients, times in zip(self.clients, self.times):
                client = clients[i % 4]
                begin = time.perf_counter()
                client.ask(KNOWN)
                times.append(time.perf_counter() - begin)

    def percentile(self, which, share=0.99):
        return sorted(self.times[which])[int(len(self.times[which]) * share)]

    def check(self):
        print(f"99th percentile of {len(self.times[0])}: {self.percentile(0) * 1e6:.0f} us in peace, "
              f"{self.percentile(1) * 1e6:.0f} us otherwise")
        assert self.percentile(1) <= 2 * self.percentile(0)


@pytest.mark.alone
def test_ten_thousand_idle_connections_cost_little(place, story):
    """For others at most twice the time in the 99th percentile, and memory for nothing but
    themselves: 1 KB each (4 with sanitizers), which the next ten thousand use again."""
    idle_count, limit = 10000, 4 if SANITIZED else 1
    raise_limit(idle_count + 500)
    with make(place, story, max_connections=12000, workers=1) as own, \
            make(place / "peace", story) as peaceful, contextlib.ExitStack() as stack:
        pace, memory = Pace(stack, peaceful, own), []
        empty = own.rss()
        for _ in range(3):
            with contextlib.ExitStack() as idle:
                for i in range(idle_count):
                    one = idle.enter_context(client_of(own, LISTENERS[i % 4]))
                    if i % 10 == 0:
                        one.ask(*question(LISTENERS[i % 4], KNOWN))
                pace.measure(2000)
                memory.append((own.rss() - empty) / idle_count)
            time.sleep(0.2)
        print("KB for each idle connection: " + ", ".join(f"{each:.2f}" for each in memory))
        pace.check()
        assert all(each < limit for each in memory)


def raise_limit(count):
    """Of open files, or skips."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        pytest.skip(f"the limit of open files is {hard}")
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def test_at_the_limit_the_longest_idle_connection_makes_room(place, story):
    with make(place, story, workers=1, max_connections=8) as own, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client_of(own, LISTENERS[i % 4])) for i in range(8)]
        for i in (0, 1, 2, 3, 4, 6, 7, 5, 0):  # then 1 is the one that was silent longest
            clients[i].ask(*question(LISTENERS[i % 4], KNOWN))
        for i, victim in ((8, 1), (9, 2)):
            clients.append(stack.enter_context(client_of(own, LISTENERS[i % 4])))
            clients[i].ask(*question(LISTENERS[i % 4], KNOWN))
            assert clients[victim].closed()
        for i in (0, 3, 4, 5, 6, 7, 8, 9):
            clients[i].ask(*question(LISTENERS[i % 4], KNOWN))


@pytest.mark.parametrize("workers", [1, 3])
def test_clients_side_by_side_get_their_own_answers(place, story, workers):
    wrong = []

    def work(own, number):
        listener = LISTENERS[number % 4]
        chance = random.Random(number)
        with client_of(own, listener) as client:
            for _ in range(300):
                recipient = chance.choice([KNOWN, UNKNOWN])
                reply = client.ask(*question(listener, recipient))
                if not is_right(listener, recipient, reply):
                    wrong.append(reply)

    with make(place, story, workers=workers) as own:
        run_all([lambda number=number: work(own, number) for number in range(24)])
    assert not wrong


def run_all(functions):
    """Side by side; the first failure is this one's."""
    failures = []

    def guarded(function):
        try:
            function()
        except BaseException as failure:  # noqa: B902 - it is raised below
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


# Slow ones


@pytest.mark.alone
def test_slow_clients_lose_their_connection_and_hurt_nobody(place, story):
    """One byte a second, half a request and then silence, and a client that never reads: each is
    cut off after 30 seconds; others are served as fast as without them."""
    with make(place, story) as own, make(place / "peace", story) as peaceful, \
            contextlib.ExitStack() as stack:
        pace = Pace(stack, peaceful, own)
        quiet = stack.enter_context(PolicyClient(own.policy))
        slow = [stack.enter_context(client_of(own, listener)) for listener in LISTENERS * 25]
        halves = [stack.enter_context(client_of(own, listener)) for listener in LISTENERS]
        for listener, client in zip(LISTENERS, halves):
            client.send(client.request(*question(listener, KNOWN))[:-1])
        deaf = [stack.enter_context(client_of(own, listener, timeout=0.2))
                for listener in LISTENERS]
        for listener, client in zip(LISTENERS, deaf):
            with contextlib.suppress(TimeoutError):
                send_endlessly(client, client.request(*question(listener, UNKNOWN)) * 50, 10**8)
        before, began, cut = counted(own), time.monotonic(), {}
        texts = [client.request(*question(LISTENERS[i % 4], "x" * 200))
                 for i, client in enumerate(slow)]
        for second in range(36):
            for i, client in enumerate(slow):
                if i not in cut:
                    try:
                        client.send(texts[i][second:second + 1])
                    except ConnectionError:
                        cut[i] = time.monotonic() - began
            pace.measure(150)
            time.sleep(max(0, began + second + 1 - time.monotonic()))
        print(f"cut after {min(cut.values()):.1f} to {max(cut.values()):.1f} s")
        assert len(cut) == len(slow)
        assert 28 < min(cut.values()) and max(cut.values()) < 35
        assert all(client.closed() for client in halves)
        for client in deaf:
            client.socket.settimeout(5)
            with pytest.raises(ConnectionError):
                while True:
                    client.receive()
        assert quiet.ask(KNOWN) == "DUNNO"
        assert counted(own, before)['connections_cut_total{reason="slow"}'] == len(slow) + 8
        pace.check()


# Signals


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_answers_every_request_that_was_sent(place, story, workers):
    for _ in range(1 if SANITIZED else 5):
        with make(place, story, workers=workers) as own, contextlib.ExitStack() as stack:
            clients = [(listener, stack.enter_context(client_of(own, listener)))
                       for listener in LISTENERS * 10]
            for listener, client in clients:
                client.ask(*question(listener, KNOWN))
            for listener, client in clients:
                client.send(client.request(*question(listener, UNKNOWN)) * 40)
            own.signal(signal.SIGTERM)
            for listener, client in clients:
                for _ in range(40):
                    assert is_right(listener, UNKNOWN, client.reply())
                assert client.closed()
            assert own.process.wait(20) == 0


def test_sigterm_answers_who_has_just_connected(place, story):
    with make(place, story) as own, contextlib.ExitStack() as stack:
        clients = []
        for listener in LISTENERS * 10:
            client = stack.enter_context(client_of(own, listener))
            client.send(client.request(*question(listener, UNKNOWN)))
            clients.append((listener, client))
        own.signal(signal.SIGTERM)
        for listener, client in clients:
            assert is_right(listener, UNKNOWN, client.reply())
            assert client.closed()
        assert own.process.wait(20) == 0


def test_sigterm_does_not_wait_for_idle_or_slow_clients(place, story):
    with make(place, story) as own, contextlib.ExitStack() as stack:
        for listener in LISTENERS:
            stack.enter_context(client_of(own, listener))
            half = stack.enter_context(client_of(own, listener))
            half.send(half.request(*question(listener, KNOWN))[:-1])
        assert_serves(own)
        begin = time.monotonic()
        assert own.stop() == 0
        assert time.monotonic() - begin < 2


def test_sighup_disturbs_nobody(place, story):
    with make(place, story) as own, PolicyClient(own.policy) as client:
        for _ in range(20):
            client.send(client.request(UNKNOWN))
            own.signal(signal.SIGHUP)
            assert client.reply().startswith("550 5.1.1 ")
        assert_serves(own)


class Load:
    """Clients that ask until told to stop; each reconnects where its connection breaks, but a
    request that breaks twice is a failure."""

    def __init__(self, daemon, listeners=LISTENERS, check=None):
        self.stopping = False
        self.answered = 0
        self.failures = []
        self.check = check
        self.threads = [threading.Thread(target=self.work, args=(daemon, listener, i))
                        for i, listener in enumerate(listeners)]

    def work(self, daemon, listener, seed):
        chance = random.Random(seed)
        client = client_of(daemon, listener)
        try:
            while not self.stopping:
                recipient = chance.choice([KNOWN, UNKNOWN])
                asked = question(listener, recipient)
                try:
                    reply = client.ask(*asked)
                except ConnectionError:
                    client.close()
                    client.connect()
                    reply = client.ask(*asked)
                if not is_right(listener, recipient, reply):
                    self.failures.append((listener, recipient, reply))
                self.answered += 1
        except Exception as failure:  # noqa: B902 - shown by the test
            self.failures.append((listener, repr(failure)))
        client.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_a_restart_under_socket_activation_fails_no_request(place, story, how):
    with make(place, story, inherit=True) as own:
        assert_serves(own)
        with Load(own, LISTENERS * 3) as load:
            for _ in range(3 if SANITIZED else 8):
                time.sleep(0.4)
                if how == "SIGTERM":
                    assert own.stop() == 0
                else:
                    own.kill()
                own.start()
        assert not load.failures
        assert load.answered > 1000
        for path in (own.policy, own.map):
            assert path.is_socket()  # systemd's, not ours to remove


# The directory


def test_the_directory_may_come_later(place):
    made = homing.Homing(place)
    with Policyd(place / "policyd", made.path, workers=2) as own:
        with PolicyClient(own.policy) as policy, MapClient(own.map) as lookup:
            for _ in range(3):
                assert policy.ask(KNOWN).startswith("451 4.3.0 ")
                assert lookup.ask("mailbox", KNOWN)[0] == "TEMP"
            own.wait_for_log(r"directory cannot be used: .*directory\.mdb")
            made.apply(homing.story(made.vmail))
            made.account(KNOWN)
            assert_recovers(policy, lookup, "DUNNO", "OK")
        assert_serves(own)


def assert_recovers(policy, lookup, action, status, seconds=3):
    """Never anything but the wanted answer or `try again`, and soon the former."""
    end = time.monotonic() + seconds
    while True:
        answers = policy.ask(KNOWN), lookup.ask("mailbox", KNOWN)[0]
        if answers == (action, status):
            return
        assert answers[0] == action or answers[0].startswith("451 4.3.0 "), answers
        assert answers[1] in (status, "TEMP"), answers
        assert time.monotonic() < end, answers
        time.sleep(0.05)


def test_a_directory_that_is_replaced_or_broken_is_followed(place):
    made = homing.tell_story(place / "first")
    other = homing.Homing(place / "second")
    config = homing.story(other.vmail)
    config["router"] = [{"match": KNOWN, "to": "error:5.1.6 moved away"}]
    other.apply(config)
    with Policyd(place / "policyd", made.path) as own:
        assert_serves(own)
        with PolicyClient(own.policy) as policy, MapClient(own.map) as lookup:
            data = made.path / "directory.mdb"
            whole = data.read_bytes()
            data.rename(made.path / "kept")
            time.sleep(0.01)
            assert policy.ask(KNOWN).startswith("451 4.3.0 ")
            assert lookup.ask("mailbox", KNOWN)[0] == "TEMP"
            data.write_bytes(whole[:5000])
            time.sleep(0.2)
            assert policy.ask(KNOWN).startswith("451 4.3.0 ")
            data.unlink()
            (made.path / "kept").rename(data)
            assert_recovers(policy, lookup, "DUNNO", "OK")
            for name in ("directory.mdb", "directory.mdb-lock"):
                (other.path / name).rename(made.path / name)
            end = time.monotonic() + 3
            while not policy.ask(KNOWN).startswith("550 5.1.6 "):
                assert time.monotonic() < end
                time.sleep(0.02)
        own.wait_for_log("directory cannot be used: ")


def test_apply_under_load_gives_old_or_new_and_never_a_mixture(place):
    """start@ leads to a name that only one of the two configurations knows: one lookup that saw
    both would find nothing."""
    made = homing.tell_story(place)
    base = homing.story(made.vmail)
    targets = ["info@client1.com", "info@client2.com"]
    configs = []
    for number, target in enumerate(targets):
        config = dict(base, router=[{"match": "start@company.com", "to": f"step{number}@company.com"},
                                    {"match": f"step{number}@company.com", "to": target}])
        configs.append(config)
    made.apply(configs[0])
    with Policyd(place / "policyd", made.path, workers=2) as own:
        stop, seen, wrong = threading.Event(), set(), []

        def look(listener):
            with client_of(own, listener) as client:
                while not stop.is_set():
                    if listener.startswith("policy"):
                        reply = client.ask("start@company.com")
                        right = reply == "DUNNO"
                    else:
                        reply = client.ask("alias", "start@company.com")
                        right = reply[0] == "OK" and reply[1] in targets
                        seen.add(reply[1])
                    if not right:
                        wrong.append(reply)

        def change():
            for turn in range(40):
                made.apply(configs[(turn + 1) % 2])
            stop.set()

        run_all([change, *(lambda listener=listener: look(listener) for listener in LISTENERS)])
    assert not wrong
    assert seen == set(targets)


# What it tells


def test_a_refusal_is_one_line_in_the_log(place, story):
    with make(place, story) as own, PolicyClient(own.policy) as client:
        client.ask(KNOWN, queue_id="0000000001")
        client.ask(UNKNOWN, queue_id="A1B2C3", helo_name="helo.example")
        client.ask(UNKNOWN, queue_id="", instance="abc.123.0")
        client.ask(UNKNOWN, queue_id="D4", sender="x>\r\x1b[31m\xe9 to=<y@z>\x7f".encode("latin-1"))
        own.wait_for_log("D4: ")
        lines = [line for line in own.log().splitlines() if ": policy: " in line]
        assert len(lines) == 3, lines
        assert ("homing-policyd: A1B2C3: policy: reject: RCPT from mail.example[192.0.2.77]: "
                "550 5.1.1 ") in lines[0]
        assert lines[0].endswith("from=<someone@elsewhere.example> to=<nobody@company.com> "
                                 "proto=ESMTP helo=<helo.example> reason=unknown-account")
        assert "homing-policyd: abc.123.0: policy: reject: " in lines[1]
        assert r"from=<x>\x0d\x1b[31m\xe9 to=<y@z>\x7f> to=<nobody@" in lines[2]


def test_a_dry_run_refuses_nothing_and_says_what_it_would(place, story):
    with make(place, story, dry_run=True) as own:
        with PolicyClient(own.policy) as client:
            assert client.ask(UNKNOWN, queue_id="E5") == "DUNNO"
            assert client.ask(KNOWN) == "DUNNO"
        own.wait_for_log("E5: policy: would reject: RCPT from .* 550 5.1.1 ")


def test_verbose_logs_every_request(place, story):
    with make(place, story, verbose=True) as own:
        with PolicyClient(own.policy) as policy, MapClient(own.map) as lookup:
            policy.ask(KNOWN, queue_id="F6")
            lookup.ask("mailbox", KNOWN)
        own.wait_for_log(r"F6: policy: dunno: .*to=<info@company.com>")
        own.wait_for_log(r"map: mailbox: ok: key=<info@company.com>")


def counted(daemon, before=None):
    """The counters that changed, without `homing_policyd_`; buckets and times left out."""
    samples = {name.removeprefix("homing_policyd_"): value
               for name, value in daemon.metrics().items()}
    if before is None:
        return samples
    return {name: value - before[name] for name, value in samples.items()
            if value != before[name] and "_total" in name}


def test_metrics_count_what_was_done(place, story):
    with make(place, story, workers=2, max_connections=100) as own:
        before = counted(own)
        for _ in range(5):
            with PolicyClient(own.policy) as client:
                for recipient in (KNOWN, KNOWN, UNKNOWN):
                    client.ask(recipient)
            with MapClient(own.map_tcp) as client:
                client.ask("mailbox", KNOWN)
                client.ask("mailbox", UNKNOWN)
                client.ask("none", KNOWN)
        for garbage in (b"hello\n", b"x=" + b"y" * 70000):
            with PolicyClient(own.policy) as client, contextlib.suppress(ConnectionError):
                client.send(garbage)
                assert client.closed()
        with MapClient(own.map) as client:
            client.send(b"hello")
            assert client.closed()
        assert counted(own, before) == {
            'requests_total{protocol="policy",outcome="dunno"}': 10,
            'requests_total{protocol="policy",outcome="reject"}': 5,
            'requests_total{protocol="policy",outcome="malformed"}': 2,
            'requests_total{protocol="map",outcome="ok"}': 5,
            'requests_total{protocol="map",outcome="notfound"}': 5,
            'requests_total{protocol="map",outcome="perm"}': 5,
            'requests_total{protocol="map",outcome="malformed"}': 1,
            'connections_accepted_total{protocol="policy"}': 7,
            'connections_accepted_total{protocol="map"}': 6,
            'connections_cut_total{reason="malformed"}': 2,
            'connections_cut_total{reason="too-long"}': 1,
        }
        with contextlib.ExitStack() as stack:
            for listener in LISTENERS:
                client = stack.enter_context(client_of(own, listener))
                client.ask(*question(listener, KNOWN))
            now = counted(own)
            assert now['connections_open{protocol="policy"}'] == 2
            assert now['connections_open{protocol="map"}'] == 2
        for protocol, count in (("policy", 19), ("map", 18)):
            duration = f'request_duration_seconds%s{{protocol="{protocol}"%s}}'
            assert now[duration % ("_count", "")] == count
            assert now[duration % ("_bucket", ',le="+Inf"')] == count
            assert 0 < now[duration % ("_sum", "")] < 1


# Where Dovecot has to be asked first


class FakeUserdb:
    """Dovecot's auth-userdb socket, one connection at a time: names with `known` in them exist.
    Answers come when told to, the last question's first."""

    def __init__(self, path):
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        path.chmod(0o666)
        self.server.listen(8)
        self.asked = []
        self.answering = threading.Event()
        self.stopping = False
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(client,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def serve(self, client):
        try:
            client.sendall(b"VERSION\t1\t1\nSPID\t4711\n")
        except OSError:
            return  # the daemon is gone
        client.settimeout(0.05)
        rest, waiting = b"", []
        while not self.stopping:
            with contextlib.suppress(TimeoutError):
                data = client.recv(65536)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    words = line.split(b"\t")
                    if words[0] == b"USER":
                        self.asked.append(words[2].decode())
                        waiting.append(words)
            if self.answering.is_set():
                for words in reversed(waiting):
                    found = b"known" in words[2]
                    client.sendall(b"USER\t%s\t%s\n" % (words[1], words[2]) if found
                                   else b"NOTFOUND\t%s\n" % words[1])
                waiting = []

    def wait_for_questions(self, count, seconds=5):
        end = time.monotonic() + seconds
        while len(self.asked) < count:
            assert time.monotonic() < end, self.asked
            time.sleep(0.01)

    def close(self):
        self.stopping = True
        self.server.close()


@pytest.fixture
def asking(place):
    """A daemon whose domain dove.example is Dovecot's, and the Dovecot that it asks."""
    made = homing.Homing(place)
    config = homing.story(made.vmail)
    config["domains"]["dove.example"] = {"accounts": "dovecot"}
    made.apply(config)
    made.account(KNOWN)
    userdb = FakeUserdb(place / "userdb")
    with Policyd(place / "policyd", made.path, workers=1, userdb=place / "userdb") as own:
        yield own, userdb
    userdb.close()


def test_requests_behind_one_that_waits_are_answered_after_it(asking):
    own, userdb = asking
    recipients = [KNOWN, "known1@dove.example", UNKNOWN, "other@dove.example", KNOWN,
                  "known2@dove.example", UNKNOWN]
    with PolicyClient(own.policy, timeout=10) as policy, MapClient(own.map, timeout=10) as lookup:
        policy.send(b"".join(policy.request(recipient) for recipient in recipients))
        lookup.send(b"".join(lookup.request("mailbox", recipient) for recipient in recipients))
        assert policy.reply() == "DUNNO"
        assert lookup.reply()[0] == "OK"
        userdb.wait_for_questions(1)
        assert_serves_two(own)
        userdb.answering.set()
        rest = [policy.reply() for _ in recipients[1:]]
        assert [reply.split(" ")[0] for reply in rest] == ["DUNNO", "550", "550", "DUNNO", "DUNNO",
                                                           "550"]
        assert [lookup.reply()[0] for _ in recipients[1:]] == ["OK", "NOTFOUND", "NOTFOUND", "OK",
                                                               "OK", "NOTFOUND"]


def assert_serves_two(daemon):
    """Others are served while somebody waits."""
    for listener in ("policy", "map_tcp"):
        with client_of(daemon, listener) as client:
            assert is_right(listener, KNOWN, client.ask(*question(listener, KNOWN)))


def test_a_flood_behind_a_request_that_waits_stays_outside(asking):
    own, userdb = asking
    assert_serves_two(own)
    before = own.rss()
    count = 3000
    with PolicyClient(own.policy_tcp, timeout=10) as client:
        data = client.request("known@dove.example") + client.request(UNKNOWN) * count
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        userdb.wait_for_questions(1)
        time.sleep(0.5)
        assert own.rss() - before < (20000 if SANITIZED else 1500)
        userdb.answering.set()
        assert client.reply() == "DUNNO"
        for _ in range(count):
            assert client.reply().startswith("550 5.1.1 ")
        sender.join()


def test_clients_that_go_while_their_request_waits_are_forgotten(asking):
    own, userdb = asking
    for i in range(8):  # as many as a new connection to Dovecot asks before it has an answer
        with PolicyClient(own.policy) as client:
            client.send(client.request(f"known{i}@dove.example"))
            userdb.wait_for_questions(i + 1)
    userdb.answering.set()
    with PolicyClient(own.policy) as client:
        assert client.ask("known@dove.example") == "DUNNO"
        client.send(client.request("known-more@dove.example") * 2)
        client.finish_sending()
        assert client.reply() == "DUNNO"
        assert client.reply() == "DUNNO"
        assert client.closed()


def test_sigterm_waits_for_what_waits(asking):
    own, userdb = asking
    with PolicyClient(own.policy) as policy, MapClient(own.map_tcp) as lookup:
        policy.send(policy.request("known@dove.example") + policy.request(UNKNOWN))
        lookup.send(lookup.request("mailbox", "another@dove.example") * 2)
        userdb.wait_for_questions(2)
        own.signal(signal.SIGTERM)
        time.sleep(0.3)
        userdb.answering.set()
        assert policy.reply() == "DUNNO"
        assert policy.reply().startswith("550 5.1.1 ")
        assert lookup.reply()[0] == "NOTFOUND"
        assert lookup.reply()[0] == "NOTFOUND"
        assert policy.closed() and lookup.closed()
        assert own.process.wait(10) == 0


def test_without_an_answer_of_dovecot_nothing_is_refused_for_good(asking):
    own, _ = asking
    with PolicyClient(own.policy, timeout=15) as policy, MapClient(own.map, timeout=15) as lookup:
        lookup.send(lookup.request("mailbox", "known@dove.example"))
        assert policy.ask("known@dove.example").startswith("451 4.3.0 ")
        assert lookup.reply()[0] == "TEMP"
