"""Fifty sessions change rights at once, and some are killed: nothing that was answered with OK is lost, and
the file stays whole. HOMING_TEST_SECONDS for longer than some seconds."""

import imaplib
import json
import os
import random
import re
import signal
import threading
import time

import pytest

import sharing
from sharing import quote

OWNERS, SESSIONS, COMMON = 5, 50, "Common"
SECONDS = float(os.environ.get("HOMING_TEST_SECONDS", "8"))
RIGHTS = ["l", "lr", "lrs", "lrwst", "lrwstipekx", "rp", ""]
SEED = 50


class Worker(threading.Thread):
    """A session of an owner's that changes what one grantee has, in a mailbox of all workers of the owner
    and in one of its own. Nobody else writes about this grantee."""

    def __init__(self, world, owner, grantee, number):
        super().__init__()
        self.world, self.owner, self.grantee = world, owner, grantee
        self.own = f"Own{number}"
        self.dice = random.Random(SEED + number)
        self.mailboxes = [COMMON, self.own]
        self.known = {}  # mailbox: what was answered with OK; None without a grant
        self.open = {}  # mailbox: what was sent and not answered
        self.renaming = False
        self.changes, self.deaths, self.wrong = 0, 0, []
        self.stopped = threading.Event()
        self.login()

    def login(self):
        self.session = self.world.session(self.owner)
        self.session.client.sock.settimeout(60)

    def run(self):
        while not self.stopped.is_set():
            try:
                self.change()
            except (imaplib.IMAP4.abort, OSError):
                self.deaths += 1
                self.session.close()
                if self.renaming:  # nobody knows where it is now
                    self.mailboxes, self.renaming = [COMMON], False
                if not self.stopped.is_set():
                    self.login()
            except Exception as error:  # pylint: disable=broad-except
                self.wrong.append(repr(error))
                return

    def change(self):
        mailbox = self.dice.choice(self.mailboxes)
        if self.dice.random() < 0.2:
            rights, command = None, ("DELETEACL", mailbox, self.grantee)
        else:
            rights = self.dice.choice(RIGHTS)
            command = ("SETACL", mailbox, self.grantee, quote(rights))
        if mailbox == self.own and self.dice.random() < 0.15:
            self.rename()
            return
        self.open.setdefault(mailbox, set()).add(rights)
        status, text, _ = self.session.command(*command)
        self.open[mailbox].clear()
        if status == "OK":
            self.known[mailbox] = rights
            self.changes += 1
        elif command[0] == "SETACL":
            self.wrong.append((command, text))
        else:
            self.known[mailbox] = None  # there was none to take away

    def rename(self):
        """There and back, so that grants move while others are written."""
        self.renaming = True
        for old, new in ((self.own, self.own + "x"), (self.own + "x", self.own)):
            status, text, _ = self.session.command("RENAME", old, new)
            if status != "OK":
                self.wrong.append(("RENAME", old, text))
        self.renaming = False

    def may_be(self, mailbox):
        """What a grant can be: the last answered, or what was sent later, when sessions were killed."""
        return {self.known.get(mailbox), *self.open.get(mailbox, ())}


def processes(server):
    """{user: [pids]} of sessions that are running, as doveadm who says."""
    found = []
    for line in server.doveadm("who", "-1").stdout.splitlines():
        for pid in re.findall(r"\b(\d+)\b", line.split("imap", 1)[-1])[:1]:
            found.append(int(pid))
    return found


@pytest.fixture
def world(place):
    world = sharing.World(place / "load", settings={"default_process_limit": "300"})
    owners = [f"owner{n}@client1.com" for n in range(OWNERS)]
    grantees = [f"friend{n}@company.com" for n in range(SESSIONS)]
    lines = place / "accounts"
    lines.write_text("".join(f'{{"account":"{name}","password":"{{PLAIN}}{sharing.PASSWORD}"}}\n'
                             for name in owners + grantees))
    world.homing.ctl("account", "import", str(lines))
    sharing.usable(world.homing)
    with world.server:
        for owner in owners:
            with world.session(owner) as session:
                session.ok("CREATE", COMMON)
        yield world
    assert "Panic" not in world.server.log()


def start_workers(world):
    workers = []
    for number in range(SESSIONS):
        worker = Worker(world, f"owner{number % OWNERS}@client1.com", f"friend{number}@company.com",
                        number)
        worker.session.ok("CREATE", worker.own)
        workers.append(worker)
    for worker in workers:
        worker.start()
    return workers


def kill_some(world, until):
    """kill -9 of a random session, several times a second."""
    dice, killed = random.Random(SEED), 0
    while time.monotonic() < until:
        for pid in dice.sample(found, min(2, len(found))) if (found := processes(world.server)) else ():
            try:
                os.kill(pid, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass
        time.sleep(0.2)
    return killed


def granted(world):
    found = {}
    for row in json.loads(world.ctl("share", "list", "--json").stdout):
        found[row["owner"], row["mailbox"], row["who"]] = row["rights"]
    return found


def test_no_change_is_lost_and_no_file_harmed(world):
    workers = start_workers(world)
    killed = kill_some(world, time.monotonic() + SECONDS)
    for worker in workers:
        worker.stopped.set()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
        worker.session.close()
    assert not [worker.wrong for worker in workers if worker.wrong]
    changes, deaths = sum(w.changes for w in workers), sum(w.deaths for w in workers)
    print(f"{changes} changes, {killed} killed, {deaths} sessions ended")
    assert changes > SESSIONS * 4 and killed >= 5 and deaths >= 3
    verified = world.homing.ctl("share", "verify", check=False)
    assert (verified.returncode, verified.stdout) == (0, ""), verified
    found = granted(world)
    for worker in workers:
        for mailbox in worker.mailboxes:
            now = found.get((worker.owner, mailbox, worker.grantee))
            assert now in worker.may_be(mailbox), (worker.owner, mailbox, worker.grantee)
    check_index(world, found)
    check_sessions(world, workers, found)


def check_index(world, found):
    """What each has received, by the index, is what the grants say."""
    for number in range(SESSIONS):
        who = f"friend{number}@company.com"
        rows = json.loads(world.homing.ctl("share", "with", who, "--json").stdout)
        received = {(row["owner"], row["mailbox"], row["rights"]) for row in rows}
        assert received == {(owner, mailbox, rights) for (owner, mailbox, grantee), rights
                            in found.items() if grantee == who and rights and "l" in rights}, who


def check_sessions(world, workers, found):
    for worker in workers[::7]:
        with world.session(worker.grantee) as session:
            for mailbox in worker.mailboxes:
                rights = found.get((worker.owner, mailbox, worker.grantee)) or ""
                name = world.name(mailbox, worker.owner)
                assert (name in session.names("*")) == ("l" in rights), name
                assert (session.select(name)[0] == "OK") == ("r" in rights), name
                session.client.state = "AUTH"
