"""Who has no right on a mailbox learns nothing about it, by any command, in words or in time: not that it
is there, not that its owner is."""

import re
import statistics
import time

import pytest

import sharing
from sharing import quote

OWNER, SPY, FRIEND = "owner@client1.com", "spy@company.com", "friend@client2.com"
# What a spy can ask for: one that is there; one that is not, of an owner who is; of no owner; of no
# domain. The names are as long as each other.
PRESENT = ("owner@client1.com", "Secret")
ABSENT = [("owner@client1.com", "Absent"), ("nobod@client1.com", "Secret"),
          ("owner@client9.com", "Secret")]
TRIES = 100


@pytest.fixture(scope="module", params=["maildir", "sdbox"])
def world(request, top):
    world = sharing.World(top / f"leak-{request.param}", driver=request.param)
    for name in (OWNER, SPY, FRIEND):
        world.account(name)
    with world.server:
        with world.session(OWNER) as owner:
            for box in ("Secret", "Secret/Child", "Open"):
                owner.ok("CREATE", quote(box))
                owner.append(box)
            owner.ok("SETACL", "Secret", FRIEND, "lrwstipekxa")
        with world.session(SPY) as spy:
            spy.ok("CREATE", "Mine")
            spy.append("Mine")
        yield world


def name(world, pair):
    return world.name(pair[1], pair[0])


# name: what the spy sends; @ is the mailbox
COMMANDS = {
    "SELECT": "SELECT @",
    "EXAMINE": "EXAMINE @",
    "STATUS": "STATUS @ (MESSAGES UIDNEXT UNSEEN)",
    "LIST": 'LIST "" @',
    "LIST below": 'LIST "" @/*',
    "LIST status": 'LIST "" @ RETURN (CHILDREN STATUS (MESSAGES))',
    "LIST subscribed": 'LIST (SUBSCRIBED RECURSIVEMATCH) "" @',
    "LSUB": 'LSUB "" @',
    "GETACL": "GETACL @",
    "MYRIGHTS": "MYRIGHTS @",
    "LISTRIGHTS": "LISTRIGHTS @ authenticated",
    "SETACL": "SETACL @ owner lr",
    "SETACL unknown": "SETACL @ nobody lr",
    "DELETEACL": "DELETEACL @ owner",
    "CREATE": "CREATE @",
    "CREATE below": "CREATE @/New",
    "DELETE": "DELETE @",
    "RENAME from": "RENAME @ Stolen",
    "RENAME to": "RENAME Mine @",
    "SUBSCRIBE": "SUBSCRIBE @",
    "UNSUBSCRIBE": "UNSUBSCRIBE @",
    "COPY": "COPY 1 @",
    "MOVE": "MOVE 1 @",
    "GETQUOTAROOT": "GETQUOTAROOT @",
    "GETMETADATA": 'GETMETADATA @ (/shared/comment)',
    "APPEND": "APPEND @ {4+}\r\nA: b",
}


class Spy:
    """Sends a command as it is, and gives back all that comes."""

    def __init__(self, world):
        self.session = world.session(SPY)
        self.session.select("Mine")
        self.client = self.session.client

    def ask(self, command, mailbox):
        tag = self.client._new_tag()
        text = re.sub(r"@(\S*)", lambda found: quote(mailbox + found.group(1)), COMMANDS[command])
        self.client.send(tag + b" " + text.encode() + b"\r\n")
        answer = []
        while True:
            line = self.client.readline()
            answer.append(line[len(tag):] if line.startswith(tag) else line)
            if line.startswith(tag):
                return b"".join(answer).decode()


def normal(answer, mailbox, pair):
    """Without what the spy said, and the time that the command took."""
    for word in (mailbox, *pair, pair[0].split("@")[1]):
        answer = answer.replace(word, "?")
    return re.sub(r"\([0-9.+ ]+ secs\)", "", answer)


@pytest.mark.parametrize("command", COMMANDS)
def test_answers_tell_nothing(world, command):
    spy = Spy(world)
    for before in (False, True):
        if before:
            # once the owner's namespace is there, in this session
            spy.ask("SELECT", name(world, PRESENT))
            spy.session.select("Mine")
        told = {}
        for pair in [PRESENT, *ABSENT]:
            told[pair] = normal(spy.ask(command, name(world, pair)), name(world, pair), pair)
            spy.session.select("Mine")
        assert told[PRESENT] == told[ABSENT[0]], command
        for pair in ABSENT[1:]:
            assert told[PRESENT] == told[pair], (command, pair)
    spy.session.close()


def test_nothing_was_changed(world):
    with world.session(OWNER) as owner, world.session(FRIEND) as friend:
        assert set(owner.names()) == {"INBOX", "Secret", "Secret/Child", "Open"}
        assert friend.rights(world.name("Secret", OWNER)) is not None
        assert owner.rights("Secret") is not None


def medians(world, command):
    """Of a hundred tries each, in turns, for a mailbox that is there and one that is not of the same
    owner; and by how much they may differ by chance."""
    spy = Spy(world)
    mailboxes = {pair: name(world, pair) for pair in [PRESENT, ABSENT[0]]}
    times = {pair: [] for pair in mailboxes}
    for turn in range(TRIES + 20):
        order = list(mailboxes) if turn % 2 else list(mailboxes)[::-1]
        for pair in order:
            begin = time.perf_counter()
            spy.ask(command, mailboxes[pair])
            if turn >= 20:
                times[pair].append(time.perf_counter() - begin)
    spy.session.close()
    quartiles = [statistics.quantiles(values, n=4) for values in times.values()]
    spread = statistics.mean(one[2] - one[0] for one in quartiles)
    return [one[1] for one in quartiles], 4 * 1.25 * spread / 1.35 / TRIES ** 0.5 * 2 ** 0.5


@pytest.mark.alone
@pytest.mark.parametrize("command", ["SELECT", "STATUS", "MYRIGHTS", "GETACL", "DELETE", "LIST"])
def test_times_tell_nothing(world, command):
    """Something that takes longer takes longer each time; a busy machine does not."""
    seen = []
    for _ in range(4):
        (present, absent), error = medians(world, command)
        seen.append((present, absent, error))
        if abs(present - absent) < max(error, 0.1 * max(present, absent)):
            return
    pytest.fail(f"medians of a mailbox that is there, of one that is not, and chance: {seen}")
