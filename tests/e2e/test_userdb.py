"""Accounts that a real Dovecot knows: the daemon's questions to its auth-userdb socket, first by
themselves (userdb-ask.c), then through homing-policyd.

dove.example has `accounts: dovecot`. In most tests Dovecot's accounts are in SQLite, which can be
taken away while all runs; the route block of Homing stands in front of it, as an administrator has it.
"""

import contextlib
import os
import queue
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest

import dovecot
import homing
from policyd import PROGRAM, SANITIZED, MapClient, PolicyClient, Policyd

ASK = Path(PROGRAM).resolve().parent.parent / "tests" / "userdb-ask"
FOR_ROOT = """
service auth {
  unix_listener auth-userdb {
    user = root
  }
}
"""


class Accounts:
    """SQLite, as Dovecot's userdb."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.chmod(0o755)
        self.path = self.folder / "sql.db"
        self.execute("CREATE TABLE users (name TEXT PRIMARY KEY)")
        self.path.chmod(0o644)

    def execute(self, statement, rows=None):
        database = sqlite3.connect(self.path)
        with database:
            if rows is None:
                database.execute(statement)
            else:
                database.executemany(statement, rows)
        database.close()

    def add(self, *names):
        self.execute("INSERT INTO users VALUES (?)", [(name,) for name in names])

    def remove(self, *names):
        self.execute("DELETE FROM users WHERE name = ?", [(name,) for name in names])

    def break_down(self):
        self.execute("ALTER TABLE users RENAME TO away")

    def repair(self):
        self.execute("ALTER TABLE away RENAME TO users")

    def file(self):
        """The same accounts as a file, for a userdb that needs no other process of Dovecot's."""
        database = sqlite3.connect(self.path)
        path = self.folder / "users"
        path.write_text("".join(f"{name}::{dovecot.MAIL_UID}:{dovecot.MAIL_UID}::/nowhere\n"
                                for name, in database.execute("SELECT name FROM users")))
        path.chmod(0o644)
        database.close()
        return dovecot.passwd_file(path)

    def block(self):
        return dovecot.sql(self.folder, "userdb",
                           f"SELECT '/nowhere' AS home, {dovecot.MAIL_UID} AS uid, "
                           f"{dovecot.MAIL_UID} AS gid FROM users WHERE name = '%{{user}}'")


class Server(dovecot.Dovecot):
    """Without a panic of Dovecot 2.4 that is its own: an auth process that is stopped while a userdb
    lookup is under way, as after a failure, which it answers only after seconds."""

    def log(self):
        text = super().log()
        if dovecot.NEW and "(connection_list_deinit)" in text:
            text = re.sub(r".*(\(connection_list_deinit\)|Raw backtrace|"
                          r"service\(auth\): child \d+ killed with signal 6).*\n", "", text)
        return text


class Site:
    """The directory, Dovecot's accounts, and a Dovecot that is not started yet."""

    def __init__(self, place):
        self.homing = homing.Homing(place)
        config = homing.story(self.homing.vmail)
        config["domains"]["dove.example"] = {"accounts": "dovecot", "aliases": ["alias.example"]}
        self.homing.apply(config)
        self.homing.account("info@company.com")
        self.accounts = Accounts(place)
        self.accounts.add("info@dove.example", "list+x@dove.example")
        self.server = Server(
            place / "server", [dovecot.route(self.homing.path), dovecot.nobody()],
            [dovecot.route(self.homing.path), self.accounts.block()],
            settings={"auth_cache_size": "0"})

    @property
    def socket(self):
        return self.server.base / "auth-userdb"


@pytest.fixture
def site(place):
    return Site(place)


class Asker:
    """userdb-ask: questions without waiting, answers as they come."""

    def __init__(self, path, timeout_ms=5000, keep_found_ms=0, keep_none_ms=0, limit=1000):
        words = [ASK, path, timeout_ms, keep_found_ms, keep_none_ms, limit]
        self.process = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.answers, self.log = queue.Queue(), []
        self.readers = [threading.Thread(target=self.read_answers),
                        threading.Thread(target=self.read_log)]
        for reader in self.readers:
            reader.start()

    def read_answers(self):
        for line in self.process.stdout:
            word, _, name = line.decode().rstrip("\n").partition("\t")
            self.answers.put((name, word))

    def read_log(self):
        for line in self.process.stderr:
            self.log.append(line.decode())

    def put(self, *questions):
        for question in questions:
            name, rest = question if isinstance(question, tuple) else (question, None)
            self.process.stdin.write((name if rest is None else f"{name}\t{rest}").encode() + b"\n")
        self.process.stdin.flush()

    def next(self, seconds=30):
        return self.answers.get(timeout=seconds)

    def ask(self, name, rest=None):
        self.put((name, rest))
        answered, word = self.next()
        assert answered == name
        return word

    def end(self):
        """No more questions; how often it had to connect again."""
        self.process.stdin.close()
        assert self.process.wait(30) == 0, self.log
        for reader in self.readers:
            reader.join()
        assert not [line for line in self.log if "Sanitizer" in line or "runtime error" in line]
        return int(self.log[-1].removeprefix("reconnects="))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self.process.kill()
            self.process.wait()
            print("--- userdb-ask says\n" + "".join(self.log))
        elif self.process.poll() is None:
            self.end()


def auth_processes(server):
    """Of that server, their workers included."""
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            parent = int((comm.parent / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if comm.read_text() == "auth\n" and parent == server.process.pid:
                found.append(int(comm.parent.name))
        except OSError:
            pass
    return found


@contextlib.contextmanager
def halted_workers(server):
    """Lookups in the database begin, and end when this does."""
    workers = [process for process in auth_processes(server)
               if b"-w" in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")]
    assert workers
    for process in workers:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in workers:
            os.kill(process, signal.SIGCONT)


def wait_until(question, seconds=20):
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end, "it does not come to pass"
        time.sleep(0.02)


# The questions by themselves


def test_names_are_found_or_not(site, start):
    start(site.server)
    with Asker(site.socket) as asker:
        assert asker.ask("info@dove.example") == "found"
        assert asker.ask("nobody@dove.example") == "none"
        assert asker.ask("info+x@dove.example", "info@dove.example") == "found"
        assert asker.ask("list+x@dove.example", "list@dove.example") == "found"
        assert asker.ask("list+y@dove.example", "list@dove.example") == "none"
        # Routed by Homing in Dovecot too, so an alias is its account; nobody here asks so.
        assert asker.ask("info@alias.example") == "found"
        assert asker.ask("info@elsewhere.example") == "none"
        # Not among auth_username_chars.
        assert asker.ask("in&fo@dove.example") == "none"
        assert asker.ask("\u00fcber@dove.example") == "none"
        assert asker.ask("x" * 400 + "@dove.example") == "none"
        assert asker.ask("a\001tb@dove.example") == "none"
        assert asker.end() == 0
    assert not [line for line in site.server.errors() if "BUG" in line]


def test_a_lookup_is_a_delivery_to_dovecot(site, start):
    """A name that means another account as a login than as an address tells which it was: in an
    address `!` is a route, in a login it is none. And %s of Dovecot is lmtp."""
    start(site.server)
    since = len(site.server.log())
    with Asker(site.socket) as asker:
        assert asker.ask("info@dove.example") == "found"
    wait_until(lambda: "service=lmtp" in site.server.log()[since:]
               or "protocol=lmtp" in site.server.log()[since:])


def test_a_failure_is_neither(site, start):
    start(site.server)
    with Asker(site.socket) as asker:
        assert asker.ask("info@dove.example") == "found"
        site.accounts.break_down()
        assert asker.ask("info@dove.example") == "unknown"
        assert asker.ask("nobody@dove.example", "info@dove.example") == "unknown"
        site.accounts.repair()
        assert asker.ask("info@dove.example") == "found"
        assert asker.end() == 0
    assert any("cannot look up info@dove.example now" in line for line in asker.log)


def test_a_thousand_questions_at_once(site, start):
    names = [f"user-{n}@dove.example" for n in range(1000)]
    site.accounts.add(*names[::2])
    start(site.server)
    with Asker(site.socket, timeout_ms=60000) as asker:
        asker.put(*names)
        answers = dict(asker.next(60) for _ in names)
        assert asker.end() == 0
    assert answers == {name: "none" if n % 2 else "found" for n, name in enumerate(names)}


def test_dovecot_may_come_later(site, start):
    with Asker(site.socket, timeout_ms=30000) as asker:
        asker.put("info@dove.example", "nobody@dove.example")
        time.sleep(0.5)
        assert asker.answers.empty()
        start(site.server)
        assert dict([asker.next(), asker.next()]) == {"info@dove.example": "found",
                                                      "nobody@dove.example": "none"}
    assert any("is Dovecot running?" in line for line in asker.log)


def test_where_dovecot_does_not_come_nobody_is_kept_waiting(site, start):
    with Asker(site.socket, timeout_ms=500) as asker:
        begin = time.monotonic()
        assert asker.ask("info@dove.example") == "unknown"
        assert 0.4 < time.monotonic() - begin < 5
        time.sleep(0.2)
        begin = time.monotonic()
        assert asker.ask("info@dove.example") == "unknown"
        assert time.monotonic() - begin < 0.45  # less than a timeout
        start(site.server)
        wait_until(lambda: asker.ask("info@dove.example") == "found")


def keep_asking(asker, names, action):
    """Questions all the time, while the action takes place and a second longer."""
    asked, ended = 0, threading.Event()

    def act():
        try:
            action()
            time.sleep(1)
        finally:
            ended.set()

    actor = threading.Thread(target=act)
    actor.start()
    answers = []
    while not ended.is_set():
        if asked - len(answers) < 500:
            asker.put(*names)
            asked += len(names)
        time.sleep(0.005)
        while not asker.answers.empty():
            answers.append(asker.answers.get())
    actor.join()
    while len(answers) < asked:
        answers.append(asker.next())
    return answers


@pytest.mark.parametrize("userdb", ["file", "database"])
@pytest.mark.parametrize("how", ["restarted", "reloaded", "killed"])
def test_no_question_is_lost_when_dovecot_is(how, userdb, site, start):
    """With a database a Dovecot that stops or reloads has no workers to ask it for some time, and
    fails: there `unknown` is an answer too, but never a wrong one."""
    names = [f"user-{n}@dove.example" for n in range(20)]
    site.accounts.add(*names[::2])
    if userdb == "file":
        site.server.userdbs[1] = site.accounts.file()
    server = start(site.server)

    def act():
        time.sleep(1.5)  # so that the connection is no new one
        if how == "restarted":
            server.stop()
            time.sleep(0.5)
            server.start()
        elif how == "reloaded":
            server.doveadm("reload", check=True)
        else:
            for process in auth_processes(server):
                with contextlib.suppress(ProcessLookupError):  # they end one another
                    os.kill(process, signal.SIGKILL)

    with Asker(site.socket, timeout_ms=30000) as asker:
        answers = keep_asking(asker, names, act)
        reconnects = asker.end()
    assert len(answers) > 500
    expected = {name: "none" if n % 2 else "found" for n, name in enumerate(names)}
    wrong = [(name, word) for name, word in answers if expected[name] != word]
    if userdb == "database":
        wrong = [(name, word) for name, word in wrong if word != "unknown"]
    assert not wrong, (len(wrong), len(answers), wrong[:10])
    assert reconnects <= 5
    if how == "killed":
        site.server.log_path.write_text("")  # the test asked for what serve() looks for


def expect_no_crash(server):
    """2.4's auth process would crash at an answer for a connection that is gone."""
    time.sleep(0.5)
    assert server.userdb().lookup("info@dove.example")[0] == "info@dove.example"
    assert "killed with signal" not in server.log()


def test_giving_up_an_answer_crashes_no_auth_process(site, start):
    server = start(site.server)
    with Asker(site.socket, timeout_ms=500) as asker:
        assert asker.ask("info@dove.example") == "found"
        with halted_workers(server):
            assert asker.ask("nobody@dove.example") == "unknown"
            wait_until(lambda: any("no answer in time" in line for line in asker.log))
            time.sleep(0.3)
        expect_no_crash(server)
        assert asker.ask("nobody@dove.example") == "none"
        assert asker.end() == 1


def test_the_socket_of_auth_clients_is_recognized(site, start):
    start(site.server)
    with Asker(site.server.base / "auth-client", timeout_ms=300) as asker:
        assert asker.ask("info@dove.example") == "unknown"
    if not dovecot.NEW:  # 2.4 waits for what a client says, and closes at a master's greeting
        assert any("it is the socket of Dovecot's auth clients" in line for line in asker.log)


# Through the daemon


@pytest.fixture
def policyd(site, place):
    with Policyd(place / "policyd", site.homing.path, userdb=site.socket, workers=1) as daemon:
        yield daemon


def ask_policy(daemon, recipient):
    with PolicyClient(daemon.policy, timeout=30) as client:
        return client.ask(recipient)


def ask_map(daemon, name, key):
    with MapClient(daemon.map, timeout=30) as client:
        return client.ask(name, key)


def test_policy_asks_dovecot(site, start, policyd):
    start(site.server)
    assert ask_policy(policyd, "info@dove.example") == "DUNNO"
    assert ask_policy(policyd, "INFO@alias.example") == "DUNNO"
    assert ask_policy(policyd, "info+x@dove.example") == "DUNNO"
    assert ask_policy(policyd, "list+x@dove.example") == "DUNNO"
    assert ask_policy(policyd, "list+y@dove.example").startswith("550 5.1.1 ")
    assert ask_policy(policyd, "nobody@dove.example").startswith("550 5.1.1 ")
    assert ask_policy(policyd, "nobody+x@dove.example").startswith("550 5.1.1 ")
    assert ask_policy(policyd, "info@company.com") == "DUNNO"
    assert ask_map(policyd, "mailbox", "info@dove.example")[0] == "OK"
    assert ask_map(policyd, "mailbox", "nobody@dove.example")[0] == "NOTFOUND"


def test_policy_defers_while_dovecot_is_away(site, start, policyd):
    def is_deferred(recipient):
        return (ask_policy(policyd, recipient).startswith("451 4.3.0 ")
                and ask_map(policyd, "mailbox", recipient)[0] in ("TEMP", "TIMEOUT"))

    assert is_deferred("info@dove.example")
    assert is_deferred("nobody@dove.example")
    assert ask_policy(policyd, "info@company.com") == "DUNNO"
    server = start(site.server)
    wait_until(lambda: ask_policy(policyd, "info@dove.example") == "DUNNO")
    wait_until(lambda: ask_policy(policyd, "nobody@dove.example").startswith("550 5.1.1 "))
    server.stop()
    # What is kept still counts, for some seconds.
    assert ask_policy(policyd, "info@dove.example") == "DUNNO"
    # Its auth process may live on for some seconds.
    others = iter(f"other-{n}@dove.example" for n in range(1000))
    wait_until(lambda: is_deferred(next(others)))
    server.start()
    wait_until(lambda: ask_policy(policyd, "another@dove.example").startswith("550 5.1.1 "))
    site.accounts.break_down()
    assert is_deferred(next(others))
    site.accounts.repair()
    assert ask_policy(policyd, next(others)).startswith("550 5.1.1 ")


def test_an_account_that_goes_is_gone_after_seconds(site, start, policyd):
    start(site.server)
    assert ask_policy(policyd, "info@dove.example") == "DUNNO"
    assert ask_policy(policyd, "new@dove.example").startswith("550 5.1.1 ")
    site.accounts.remove("info@dove.example")
    site.accounts.add("new@dove.example")
    gone = time.monotonic()
    wait_until(lambda: ask_policy(policyd, "new@dove.example") == "DUNNO", 4)
    wait_until(lambda: ask_policy(policyd, "info@dove.example").startswith("550 5.1.1 "))
    assert time.monotonic() - gone < 12  # kept for 10


def test_a_burst_of_distinct_names(site, start, policyd):
    """Fifty clients, as many smtpd processes, and five thousand names."""
    count, clients = 5000, 50
    names = [f"user-{n}@dove.example" for n in range(count)]
    site.accounts.add(*names[::2])
    start(site.server)
    answers, errors = {}, []

    def run(mine):
        try:
            with PolicyClient(policyd.policy, timeout=120) as client:
                for name in mine:
                    answers[name] = client.ask(name)
        except Exception as error:  # shown below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(names[n::clients],)) for n in range(clients)]
    before = policyd.rss()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(answers) == count
    wrong = {name: answers[name] for n, name in enumerate(names)
             if not (answers[name] == "DUNNO" if n % 2 == 0
                     else answers[name].startswith("550 5.1.1 "))}
    assert not wrong, (len(wrong), list(wrong.items())[:5])
    metrics = policyd.metrics()
    assert metrics["homing_policyd_userdb_connected"] == 1
    assert metrics["homing_policyd_userdb_outstanding"] == 0
    if not SANITIZED:
        assert policyd.rss() - before < 20000


def test_dovecot_restarts_under_the_daemon_s_load(site, start, policyd):
    """Nothing is refused for good that exists, and nothing taken that does not."""
    names = [f"user-{n}@dove.example" for n in range(1000)]
    site.accounts.add(*names[::2])
    site.server.userdbs[1] = site.accounts.file()
    server = start(site.server)
    ended, wrong, right, deferred = threading.Event(), [], [], []

    def run(mine):
        with PolicyClient(policyd.policy, timeout=60) as client:
            while not ended.is_set():
                for n in mine:
                    answer = client.ask(names[n])
                    if answer.startswith("451 4.3.0 "):
                        deferred.append(n)
                    elif (answer == "DUNNO") != (n % 2 == 0):
                        wrong.append((names[n], answer))
                    else:
                        right.append(n)

    threads = [threading.Thread(target=run, args=(range(n, 1000, 20),)) for n in range(20)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    server.stop()
    time.sleep(0.5)
    server.start()
    time.sleep(1)
    ended.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:5]
    assert len(right) > 1000
    assert not deferred


def test_a_daemon_that_stops_crashes_no_auth_process(site, start, place):
    server = start(site.server)
    with Policyd(place / "other", site.homing.path, userdb=site.socket, workers=1) as daemon:
        assert ask_policy(daemon, "info@dove.example") == "DUNNO"
        with halted_workers(server):
            with PolicyClient(daemon.policy) as client:
                client.send(client.request("nobody@dove.example"))
                wait_until(lambda: daemon.metrics()["homing_policyd_userdb_outstanding"] == 1)
                daemon.signal(signal.SIGTERM)
                assert client.reply().startswith("451 4.3.0 ")
            time.sleep(0.5)
            assert daemon.alive()
        assert daemon.process.wait(5) == 0
    assert "stopped" in daemon.log()
    expect_no_crash(server)


def test_the_daemon_says_what_it_may_not_connect_to(site, start, place):
    site.server.raw = FOR_ROOT
    start(site.server)
    with Policyd(place / "other", site.homing.path, userdb=site.socket, workers=1) as daemon:
        assert ask_policy(daemon, "info@dove.example").startswith("451 4.3.0 ")
        daemon.wait_for_log("unix_listener auth-userdb")


def test_a_silent_userdb_holds_up_nobody_else(site, place):
    """A socket on which nobody answers, as of a Dovecot that hangs."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(place / "silent"))
        (place / "silent").chmod(0o666)
        silent.listen(8)
        with Policyd(place / "other", site.homing.path, userdb=place / "silent",
                     workers=1) as daemon:
            with PolicyClient(daemon.policy, timeout=30) as waiting:
                waiting.send(waiting.request("info@dove.example"))
                begin = time.monotonic()
                for _ in range(20):
                    assert ask_policy(daemon, "info@company.com") == "DUNNO"
                assert time.monotonic() - begin < 4
                assert waiting.reply().startswith("451 4.3.0 ")
                assert 4 < time.monotonic() - begin < 10
