"""Each right x each kind of identifier x each command: allowed or refused as RFC 4314 says (EXPECTED
below, section 4 of the RFC), and the same as with Dovecot's own backend (vfile) wherever that can
express the grant. HOMING_TEST_MATRIX=full tries every right with every identifier."""

import itertools
import os
import re

import pytest

import dovecot
import sharing
from sharing import quote

OWNER, GUEST, THIRD = "owner@client1.com", "guest@client1.com", "third@client1.com"
OUTSIDER = "outsider@company.com"
ALL = "lrwstipekxa"
COMBINATIONS = ["", "lr", "lrs", "lrsw", "lrswt", "lrwstipekx", "lrswi", "lrte", "lre", "lrkx", "lrx",
                "lra", "la", "ra", "lp", "rp", "ri", "rwst", ALL]
RIGHTS = [*ALL, *COMBINATIONS]
SAMPLE = ["", "r", "i", "lr", "lrswt", "lrte", "lrkx", "lra", ALL]

# kind: (what the owner says with SETACL, in `{}` the rights; can vfile say it?)
IDENTIFIERS = {
    "user": ([(GUEST, "{}")], True),
    "group": ([("$staff@client1.com", "{}")], True),
    "anyone": ([("anyone", "{}")], True),
    "authenticated": ([("authenticated", "{}")], True),
    "negative user": ([(GUEST, ALL), (f"-{GUEST}", "{}")], True),
    "negative group": ([("$staff@client1.com", ALL), ("-$staff@client1.com", "{}")], True),
    "negative anyone": ([(GUEST, ALL), ("-anyone", "{}")], True),
    "user over group": ([("$staff@client1.com", ALL), (GUEST, "{}")], True),
    "group over anyone": ([("anyone", ALL), ("$staff@client1.com", "{}")], True),
    "group override": ([(GUEST, ALL), ("!$staff@client1.com", "{}")], True),
    "two groups": ([("$staff@client1.com", "{}"), ("$sales@client1.com", "l")], True),
    "alias": ([("visitor@client1.com", "{}")], False),
    "percent": ([("guest%client1.com", "{}")], False),
    "bare": ([("guest", "{}")], False),
    "bare group": ([("$staff", "{}")], False),
    "domain": ([("anyone@client1.com", "{}")], False),
    "own domain": ([("anyone@", "{}")], False),
    "negative domain": ([("authenticated", ALL), ("-anyone@client1.com", "{}")], False),
    "user over domain": ([("anyone@client1.com", ALL), (GUEST, "{}")], False),
    "group over domain": ([("anyone@", ALL), ("$staff", "{}")], False),
    "domain over anyone": ([("anyone", ALL), ("anyone@", "{}")], False),
    "whole account": (None, False),
}


def effective(kind, rights):
    """What the guest has: written from RFC 4314 and homing-sharing(7), not from the code."""
    if kind.startswith("negative"):
        return {right for right in ALL if right not in rights}
    if kind == "two groups":
        return set(rights) | {"l"}
    return set(rights)


def expected(rights):
    """{command: outcome} for somebody with these rights (RFC 4314, section 4)."""
    def has(*wanted):
        return all(right in rights for right in wanted)

    opened = has("r")
    visible = bool(rights - {"p"})
    return {
        "LIST": has("l"),
        "MYRIGHTS": "".join(sorted(rights | ({"c"} if rights & set("kx") else set())
                                   | ({"d"} if rights & set("te") else set()))) if visible else None,
        "STATUS": opened,
        "EXAMINE": opened,
        "SELECT": opened,
        "FETCH": opened,
        "STORE \\Seen": opened and has("s"),
        "STORE \\Deleted": opened and has("t"),
        "STORE \\Flagged": opened and has("w"),
        "STORE keyword": opened and has("w"),
        "APPEND": has("i"),
        # the flags that a message comes with are kept as far as they could be set
        "APPEND flags": {flag for flag, right in (("\\seen", "s"), ("\\deleted", "t"),
                                                  ("\\flagged", "w"), ("word", "w"))
                         if has("i", right)},
        "COPY to it": has("i"),
        "COPY from it": opened,
        "MOVE from it": opened and has("e"),
        "EXPUNGE": opened and has("e"),
        "CREATE below": has("k"),
        "GETACL": has("a"),
        "SETACL": has("a"),
        "DELETEACL": has("a"),
        # Not as the RFC, which wants `a`: Dovecot names the letters that there are, of any mailbox.
        "LISTRIGHTS": True,
        "SUBSCRIBE": bool(rights & set("lri")),  # Dovecot's: what can be opened can be subscribed
        "LSUB": bool(rights & set("lri")),
        "RENAME": has("x"),  # and `k` on the parent, which the guest has
        # Dovecot expunges what is in it first, so it wants `e` too where there is something.
        "DELETE": has("x", "e"),
    }


class Listening(sharing.Session):
    """A session that keeps what it was answered, without what is another number each time."""

    def __init__(self, server, user):
        super().__init__(server, user)
        self.heard = []

    def keep(self, command, status, text, answers):
        def plain(answer):
            if isinstance(answer, tuple):
                answer = b" ".join(answer)
            return masked((answer or b"").decode(errors="replace"))

        untagged = {key: [plain(answer) for answer in value] for key, value in answers.items()}
        for key in ("UIDVALIDITY", "HIGHESTMODSEQ", "COPYUID", "APPENDUID"):
            untagged.pop(key, None)
        self.heard.append((command, status, masked(text), untagged))

    def command(self, name, *arguments):
        answer = super().command(name, *arguments)
        self.keep(" ".join((name, *arguments)), *answer)
        return answer

    def append(self, mailbox, *arguments, **more):
        answer = super().append(mailbox, *arguments, **more)
        self.keep(f"APPEND {mailbox}", *answer, {})
        return answer


def masked(text):
    text = re.sub(r" \([\d. +]+ secs\)", "", text)
    return re.sub(r"((?:APPEND|COPY)UID|UIDVALIDITY|HIGHESTMODSEQ)[ \d:,]+", r"\1 #", text)


class Case:
    """A mailbox of three messages, below a parent where the guest may make mailboxes."""

    def __init__(self, world, owner, guest, kind, rights, number):
        self.world, self.owner, self.guest = world, owner, guest
        self.kind, self.rights = kind, rights
        self.parent, self.box = f"P{number}", f"P{number}/Box"

    def mine(self, mailbox):
        """For the owner."""
        return quote(self.world.name(mailbox))

    def shared(self, mailbox):
        """For the guest."""
        return quote(self.world.name(mailbox, OWNER))

    def make(self):
        owner, said = self.owner, IDENTIFIERS[self.kind][0]
        owner.ok("CREATE", self.mine(self.parent))
        owner.ok("CREATE", self.mine(self.box))
        for _ in range(3):
            assert owner.append(self.world.name(self.box))[0] == "OK"
        owner.ok("SETACL", self.mine(self.parent), GUEST, "k")
        if said is None:
            self.world.ctl("share", "grant", OWNER, "*", GUEST, self.rights)
            return
        for who, letters in said:
            owner.ok("SETACL", self.mine(self.box), who, quote(letters.format(self.rights)))

    def flags(self, session, mailbox, number):
        session.select(mailbox, "EXAMINE")
        answer = session.ok("FETCH", str(number), "(FLAGS)")["FETCH"][-1]
        session.ok("UNSELECT")
        session.client.state = "AUTH"
        return set(re.search(rb"FLAGS \((.*?)\)", answer).group(1).decode().lower().split())

    def count(self):
        answer = self.owner.ok("STATUS", self.mine(self.box), "(MESSAGES)")["STATUS"][0]
        return int(re.search(rb"MESSAGES (\d+)", answer).group(1))

    def outcomes(self):
        guest, shared, box = self.guest, self.shared, self.box
        name = self.world.name(box, OWNER)
        found = {"LIST": name in guest.names(name), "MYRIGHTS": guest.rights(name)}
        found["STATUS"] = guest.command("STATUS", shared(box), "(MESSAGES)")[0] == "OK"
        found["EXAMINE"] = guest.select(name, "EXAMINE")[0] == "OK"
        if found["EXAMINE"]:
            guest.ok("UNSELECT")
        guest.client.state = "AUTH"
        found["SELECT"] = guest.select(name)[0] == "OK"
        for command in ("FETCH", "STORE \\Seen", "STORE \\Deleted", "STORE \\Flagged",
                        "STORE keyword", "COPY from it", "MOVE from it", "EXPUNGE"):
            found[command] = False
        if found["SELECT"]:
            self.selected(found)
        self.appending(found, name)
        found["CREATE below"] = guest.command("CREATE", shared(f"{box}/Child"))[0] == "OK"
        found["GETACL"] = guest.command("GETACL", shared(box))[0] == "OK"
        found["SETACL"] = guest.command("SETACL", shared(box), THIRD, "lr")[0] == "OK"
        found["DELETEACL"] = guest.command("DELETEACL", shared(box), THIRD)[0] == "OK"
        found["LISTRIGHTS"] = guest.command("LISTRIGHTS", shared(box), THIRD)[0] == "OK"
        found["SUBSCRIBE"] = guest.command("SUBSCRIBE", shared(box))[0] == "OK"
        found["LSUB"] = name in guest.names(name, "LSUB")
        found["RENAME"] = guest.command("RENAME", shared(box), shared(f"{self.parent}/New"))[0] == "OK"
        now = f"{self.parent}/New" if found["RENAME"] else box
        found["DELETE"] = guest.command("DELETE", shared(now))[0] == "OK"
        return found

    def selected(self, found):
        guest = self.guest
        found["FETCH"] = guest.command("FETCH", "1", "(BODY.PEEK[])")[0] == "OK"
        for flag, command in (("\\Seen", "STORE \\Seen"), ("\\Deleted", "STORE \\Deleted"),
                              ("\\Flagged", "STORE \\Flagged"), ("word", "STORE keyword")):
            guest.command("STORE", "1", "+FLAGS.SILENT", f"({flag})")
            answer = guest.ok("FETCH", "1", "(FLAGS)")["FETCH"][-1].decode().lower()
            found[command] = flag.lower() in answer
        found["COPY from it"] = guest.command("COPY", "1", "Mine")[0] == "OK"
        before = self.count()
        guest.command("MOVE", "2", "Mine")
        found["MOVE from it"] = self.count() == before - 1
        self.owner.select(self.world.name(self.box))
        self.owner.ok("STORE", "1:*", "+FLAGS.SILENT", "(\\Deleted)")
        self.owner.ok("UNSELECT")
        self.owner.client.state = "AUTH"
        guest.command("NOOP")
        guest.command("EXPUNGE")
        found["EXPUNGE"] = self.count() == 0
        guest.command("UNSELECT")
        guest.client.state = "AUTH"

    def appending(self, found, name):
        before = self.count()
        status, _ = self.guest.append(name, flags="\\Seen \\Deleted \\Flagged word")
        found["APPEND"] = status == "OK"
        assert self.count() == before + (status == "OK")
        found["APPEND flags"] = set()
        if status == "OK":
            seen = self.flags(self.owner, self.world.name(self.box), before + 1)
            found["APPEND flags"] = seen & {"\\seen", "\\deleted", "\\flagged", "word"}
        self.guest.select("Mine")
        found["COPY to it"] = self.guest.command("COPY", "1", self.shared(self.box))[0] == "OK"
        self.guest.command("UNSELECT")
        self.guest.client.state = "AUTH"


@pytest.fixture(scope="module")
def accounts(top):
    homing = sharing.directory(top / "matrix")
    sharing.add_accounts(homing, {OWNER: (), THIRD: (), OUTSIDER: (),
                                  GUEST: ["staff@client1.com", "sales@client1.com"]})
    homing.ctl("alias", "add", "visitor@client1.com", GUEST)
    sharing.usable(homing)
    return homing


class Pair:
    """Homing's server and stock Dovecot's, with an owner's and a guest's session on each."""

    def __init__(self, folder, homing, driver, separator):
        self.folder, self.homing, self.driver, self.separator = folder, homing, driver, separator
        self.number = 0
        self.worlds, self.owners = {}, {}

    def start(self):
        self.serve("homing", {"homing_allow_anyone": "yes"}, None)
        self.serve("vfile", {} if dovecot.NEW else {"acl_anyone": "allow"},
                   {"imap_acl_allow_anyone": "yes"} if dovecot.NEW else None)

    def serve(self, backend, acl, settings):
        world = sharing.World(self.folder / backend, backend, self.driver, self.separator,
                              self.homing, acl=acl, settings=settings)
        self.worlds[backend] = world
        world.server.start()
        self.owners[backend] = world.session(OWNER)
        for user in (OWNER, GUEST):
            with world.session(user) as session:
                session.ok("CREATE", "Mine")
                session.append("Mine")

    def stop(self):
        for owner in self.owners.values():
            owner.close()
        for world in self.worlds.values():
            world.server.stop()

    def outcomes(self, backend, kind, rights):
        """With a new session of the guest: vfile believes what it read for half a minute."""
        world, owner = self.worlds[backend], self.owners[backend]
        with Listening(world.server, GUEST) as guest:
            case = Case(world, owner, guest, kind, rights, self.number)
            case.make()
            try:
                return case.outcomes(), guest.heard
            finally:
                if kind == "whole account":
                    world.ctl("share", "revoke", OWNER, "*")

    def compare(self, kind, rights):
        self.number += 1
        ours, heard = self.outcomes("homing", kind, rights)
        wrong = differences(ours, expected(effective(kind, rights)))
        assert not wrong, ("Homing", kind, rights, wrong)
        # stock cannot share anything with `.` between the parts of a name: addresses have it too
        if IDENTIFIERS[kind][1] and self.separator == "/":
            stock, heard_stock = self.outcomes("vfile", kind, rights)
            wrong = {command: both for command, both in differences(ours, stock).items()
                     if not is_explained(kind, rights, command)}
            assert not wrong, ("vfile", kind, rights, wrong)
            if ours == stock:  # else other commands followed
                wrong = [both for both in itertools.zip_longest(heard, heard_stock)
                         if both[0] != both[1] and not is_said_otherwise(*both)]
                assert not wrong, ("vfile", kind, rights, wrong)


def is_explained(kind, rights, command):
    """What is different with stock on purpose, or is stock's own matter."""
    # Stock answers STATUS for a dbox mailbox from its index of mailboxes, to everybody.
    if command == "STATUS":
        return True
    # vfile lists from files that other processes bring up to date later; test_sharing_list.py
    # compares what is listed once they are.
    if command == "LIST":
        return True
    # vfile forgets an identifier without rights (but keeps one that had some before). With us it
    # has none: who is given nothing has nothing, whatever the groups have.
    return rights == "" and ("over" in kind)


def is_said_otherwise(ours, stock):
    """What is not worded alike on purpose, or is of the guest's own mailbox, which differs."""
    if ours is None or stock is None or ours[0] != stock[0]:
        return False
    command = ours[0].split()[0]
    # Their outcomes are compared, with what is_explained() says of them.
    if command in ("LIST", "LSUB", "STATUS"):
        return True
    # Ours says more of what is refused, with the same code.
    if command in ("SETACL", "DELETEACL") and ours[1] == stock[1] == "NO":
        return ours[2].split()[0] == stock[2].split()[0]
    # vfile has another order of letters, and does not show an identifier without any.
    if command == "GETACL" and ours[1:3] == stock[1:3]:
        return granted(ours) == granted(stock)
    return ours[0] == 'SELECT "Mine"' and ours[1:3] == stock[1:3]


def granted(heard):
    """{identifier: {letters}} of a GETACL, those with letters."""
    words = heard[3]["ACL"][0].replace('""', "").split(" ")[1:]
    return {who: set(letters) for who, letters in zip(words[::2], words[1::2]) if letters}


def differences(found, other):
    return {command: (found[command], other[command]) for command in found
            if found[command] != other[command]}


@pytest.fixture(scope="module", params=[("maildir", "/"), ("sdbox", "/"), ("maildir", "."),
                                        ("sdbox", ".")], ids=lambda p: "".join(p))
def pair(request, top, accounts):
    driver, separator = request.param
    pair = Pair(top / f"matrix-{driver}{'dot' if separator == '.' else ''}", accounts, driver,
                separator)
    pair.start()
    yield pair
    pair.stop()


FULL = os.environ.get("HOMING_TEST_MATRIX") == "full"


def cases(pair, kind):
    first = (pair.driver, pair.separator) == ("maildir", "/")
    if FULL:
        return RIGHTS
    if not first:
        return SAMPLE[3::4]
    return RIGHTS if kind == "user" else SAMPLE[:: 1 if kind in ("whole account", "domain") else 2]


@pytest.mark.parametrize("kind", IDENTIFIERS)
def test_each_command_is_allowed_or_refused(pair, kind):
    for rights in cases(pair, kind):
        pair.compare(kind, rights)


# What owners say of themselves. Only negative rights take their `a`, as with stock.
OWNERS = {
    "owner": [("owner", "{}")],
    "own name": [(OWNER, "{}")],
    "negative owner": [("owner", ALL), ("-owner", "{}")],
}


def owners_rights(kind, rights):
    if kind == "negative owner":
        return {right for right in ALL if right not in rights}
    return set(rights) | {"a"}


class OwnersCase:
    """An owner's own mailbox with one message."""

    def __init__(self, world, kind, rights, number):
        self.world, self.name = world, world.name(f"Own{number}")
        with world.session(OWNER) as owner:
            owner.ok("CREATE", quote(self.name))
            owner.append(self.name)
            for who, letters in OWNERS[kind]:
                owner.ok("SETACL", quote(self.name), who, quote(letters.format(rights)))

    def outcomes(self):
        with self.world.session(OWNER) as owner:
            found = {"MYRIGHTS": owner.rights(self.name),
                     "SELECT": owner.select(self.name)[0] == "OK"}
            for command, flag in (("STORE \\Seen", "\\Seen"), ("STORE \\Deleted", "\\Deleted"),
                                  ("STORE \\Flagged", "\\Flagged")):
                found[command] = False
                if found["SELECT"]:
                    owner.command("STORE", "1", "+FLAGS.SILENT", f"({flag})")
                    answer = owner.ok("FETCH", "1", "(FLAGS)")["FETCH"][-1].decode()
                    found[command] = flag in answer
            owner.command("UNSELECT")
            owner.client.state = "AUTH"
            found["APPEND"] = owner.append(self.name)[0] == "OK"
            child = quote(self.name + self.world.separator + "Child")
            found["CREATE below"] = owner.command("CREATE", child)[0] == "OK"
            found["GETACL"] = owner.command("GETACL", quote(self.name))[0] == "OK"
            found["SETACL"] = owner.command("SETACL", quote(self.name), THIRD, "lr")[0] == "OK"
        return found


@pytest.mark.parametrize("kind", OWNERS)
def test_owners_limit_themselves(pair, kind):
    for rights in cases(pair, kind):
        pair.number += 1
        found = {backend: OwnersCase(world, kind, rights, pair.number).outcomes()
                 for backend, world in pair.worlds.items()}
        all_expected = expected(owners_rights(kind, rights))
        wrong = {command: (outcome, all_expected[command])
                 for command, outcome in found["homing"].items() if outcome != all_expected[command]}
        assert not wrong, ("Homing", kind, rights, wrong)
        assert found["homing"] == found["vfile"], (kind, rights)
