"""LIST, LSUB and LIST-EXTENDED of what is shared. Dovecot's own backend (vfile) lists the same
mailboxes of the same owners to the same user with the same grants beside ours, and the answers are
compared; what only ours can do is tested by itself."""

import imaplib
import os
import re
import time
from pathlib import Path

import pytest

import dovecot
import homing

UID = int(dovecot.MAIL_UID)
PASSWORD = "secret"
ME, PEER = "reader@client1.com", "peer@client1.com"
MASTER = "postmaster@client2.com"

# owner: {mailbox: rights of ME there; None: there is none}
MAILBOXES = {
    "alice@client1.com": {"INBOX": "lr", "Box": "lrws", "Box/Sub": "lr", "Box/Other": None,
                          "Deep": None, "Deep/a": None, "Deep/a/b": None, "Deep/a/b/c": "lr",
                          "Alone": "lr"},
    "bob@client1.com": {"Work": None, "Work/Secret": "lr", "Work/Hidden": "r"},
    "carl@company.com": {"INBOX": "lr"},
    "dora@client2.com": {"Mixed": "l", "Mixed/One": None, "Mixed/Two": "l", "Mixed/Two/x": "l"},
    "erik@client1.com": {"Box": None},
    "frida@client2.com": {"Own": None},
    "hugo@client2.com": {},
}
AWKWARD = ["a&b", "per%cent", "st*r", 'q"uote', "\u00fcml\u00e4ut", "in~side", "back\\slash",
           "many words here", "(paren)", "[bracket]", "^caret", "x" * 180]


class Format:
    """How mailboxes are stored, and the separator that clients see."""

    def __init__(self, name, driver, separator, fs=False, explicit=False):
        self.name, self.driver, self.separator, self.fs = name, driver, separator, fs
        self.explicit = explicit

    def location(self, path):
        if dovecot.NEW:
            settings = {"mail_driver": self.driver, "mail_path": path}
            if self.fs:
                settings["mailbox_list_layout"] = "fs"
            return settings
        return {"location": f"{self.driver}:{path}" + (":LAYOUT=fs" if self.fs else "")}


FORMATS = {
    "maildir": Format("maildir", "maildir", "/"),
    "fs": Format("fs", "maildir", "/", fs=True),
    "sdbox": Format("sdbox", "sdbox", "/"),
    "dot": Format("dot", "maildir", "."),
    "dotfs": Format("dotfs", "maildir", ".", fs=True),
    "explicit": Format("explicit", "maildir", "/", explicit=True),
}


def plugins(*names):
    if dovecot.NEW:
        return "mail_plugins {\n" + "".join(f"  {name} = yes\n" for name in names) + "}\n"
    return "mail_plugins = " + " ".join(names) + "\n"


def block(kind, name, settings):
    lines = "".join(f"  {key} = {value}\n" for key, value in settings.items())
    return f"{kind} {name} {{\n{lines}}}\n"


class World:
    """One directory and one tree of mailboxes; a Dovecot with our backend, and one with its own."""

    def __init__(self, folder, form, tilde=False, prefix=None, subscriptions="no"):
        self.form, self.tilde, self.subscriptions = form, tilde, subscriptions
        self.prefix = prefix or ("shared/$user/" if dovecot.NEW else "shared/%%u/")
        self.homing = homing.Homing(folder)
        self.homing.apply({
            "main_domain": "company.com",
            "account_defaults": {"home": f"{self.homing.vmail}/%{{domain}}/%{{local}}",
                                 "uid": str(UID), "gid": str(UID)},
            "domains": {
                "company.com": {},
                "client1.com": {},
                "client2.com": {"aliases": ["mail.client2.com"], "administrators": ["postmaster"]},
            },
        })
        for name in [ME, PEER, MASTER, *MAILBOXES]:
            self.account(name)
        self.homing.ctl("alias", "add", "liz@client1.com", "alice@client1.com")
        self.homing.readable()
        self.writable()
        self.dictionary = self.homing.folder / "dict"
        self.dictionary.mkdir()
        os.chown(self.dictionary, UID, UID)
        self.ours = self.server("ours")
        self.stock = self.server("stock")

    def account(self, name, groups=()):
        self.homing.ctl("account", "add", name, *[w for g in groups for w in ("--group", g)],
                        "--password-stdin", text=f"{PASSWORD}\n")
        local, domain = name.split("@")
        home = self.homing.vmail / domain / local
        home.mkdir(parents=True)
        for path in (home, home.parent, self.homing.vmail):
            os.chown(path, UID, UID)
        self.homing.readable()

    def writable(self):
        for path in self.homing.path.glob("sharing.mdb*"):
            os.chown(path, UID, UID)

    def server(self, kind):
        separator = self.form.separator
        home, owner = ("%{owner_home}", "$user") if dovecot.NEW else ("%%h", "%%u")
        ours = kind == "ours"
        text = plugins("acl", *(["homing_acl"] if ours else []))
        imap = ["imap_acl"] + (["imap_homing_acl"] if ours else [])
        every = ["acl"] + (["homing_acl"] if ours else [])
        text += "protocol imap {\n" + plugins(*([] if dovecot.NEW else every), *imap) + "}\n"
        private = {"type": "private", "separator": separator, "prefix": "", "inbox": "yes"}
        text += block("namespace", "inbox", {**private, **self.form.location("~/Mail")})
        shared = {"type": "shared", "separator": separator, "subscriptions": self.subscriptions,
                  **self.form.location(f"{home}/Mail")}
        text += block("namespace", "shared", {
            **shared, "list": "children", "prefix": self.prefix.replace("/", separator)})
        if self.tilde:
            text += block("namespace", "tilde", {
                **shared, "list": "no", "hidden": "yes",
                "prefix": f"~{self.tilde}/".replace("/", separator)})
        if ours:
            acl = {"homing_directory": self.homing.path}
            acl["acl_driver" if dovecot.NEW else "acl"] = "homing" if dovecot.NEW else "vfile"
        elif dovecot.NEW:
            acl = {"acl_driver": "vfile"}
            text += f"acl_sharing_map {{\n  dict file {{\n    path = {self.dictionary}/map\n  }}\n}}\n"
        else:
            acl = {"acl": "vfile", "acl_shared_dict": f"file:{self.dictionary}/map"}
        if dovecot.NEW:
            text += "".join(f"{key} = {value}\n" for key, value in acl.items())
        else:
            text += block("plugin", "", acl).replace("plugin  {", "plugin {")
        if self.form.explicit:
            text += "mail_shared_explicit_inbox = yes\n"
        text += "service auth {\n  unix_listener auth-userdb {\n    mode = 0666\n  }\n}\n"
        return dovecot.Dovecot(
            self.homing.folder / kind, [dovecot.accounts(self.homing.path)],
            [dovecot.accounts(self.homing.path)],
            settings={"mail_access_groups": "dovecot", "auth_debug": None, "log_debug": None},
            raw=text)

    def name(self, mailbox, owner=None, prefix="shared/"):
        """As clients see it."""
        sep = self.form.separator
        if owner is not None:
            shown = owner if sep == "/" else owner.replace(sep, "^")
            mailbox = f"{prefix}{shown}" + ("" if mailbox == "INBOX" and not self.form.explicit
                                            else f"/{mailbox}")
        return mailbox.replace("/", sep)

    def fill(self, mailboxes=MAILBOXES, stock=True):
        for owner, boxes in mailboxes.items():
            ours = Session(self.ours, owner)
            theirs = Session(self.stock, owner) if stock else None
            for box in boxes:
                if box != "INBOX":
                    ours.ok("CREATE", quote(utf7(self.name(box))))
            # then, because a new mailbox has its parent's grants
            for session in filter(None, (ours, theirs)):
                for box, rights in boxes.items():
                    if rights is not None:
                        session.ok("SETACL", quote(utf7(self.name(box))), ME, rights)
            if theirs:
                # vfile makes its dictionary when an owner's list of ACLs is made anew
                theirs.ok("LIST", '""', '"*"')
                theirs.close()
            ours.close()


class Session:
    def __init__(self, server, user):
        self.user = user
        self.client = server.imap(user, PASSWORD)

    def command(self, name, *arguments):
        """(status, text, {untagged name: [answers]})"""
        self.client.untagged_responses.clear()
        try:
            status, data = self.client._simple_command(name, *arguments)
        except imaplib.IMAP4.error as error:
            return "BAD", str(error), {}
        return status, data[-1].decode(), dict(self.client.untagged_responses)

    def ok(self, name, *arguments):
        status, text, answers = self.command(name, *arguments)
        assert status == "OK", (name, arguments, status, text)
        return answers

    def list(self, *arguments, command="LIST"):
        """[(name, {flags}, rest)] as they came."""
        answers = self.ok(command, *arguments).get(command, [])
        return [entry(answer) for answer in joined(answers)]

    def lsub(self, *arguments):
        return self.list(*arguments, command="LSUB")

    def names(self, pattern, reference='""'):
        return [name for name, _, _ in self.list(reference, quote(pattern))]

    def close(self):
        if self.client is not None:
            self.client.shutdown()
        self.client = None


def joined(answers):
    """imaplib gives an answer with a literal as a tuple, and what follows by itself."""
    found = []
    for answer in answers:
        if isinstance(answer, tuple):
            found.append(b"".join([answer[0][:answer[0].rindex(b"{")],
                                   quote(answer[1].decode()).encode()]))
        elif answer and answer.strip():
            found.append(answer)
    return [answer.decode() for answer in found]


def entry(text):
    match = re.fullmatch(r'\(([^)]*)\) "(.)" ("(?:[^"\\]|\\.)*"|\S+)(.*)', text)
    assert match, text
    flags, _, name, rest = match.groups()
    if name.startswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    # Maildir says of some whether they have new mail, at no cost to it
    return name, frozenset(flags.split()) - {"\\Marked", "\\UnMarked"}, rest.strip()


def quote(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def utf7(name):
    """Modified UTF-7, as clients send it."""
    import base64
    out, run = "", ""
    for char in name + "\0":
        if 0x20 <= ord(char) < 0x7f or char == "\0":
            if run:
                code = base64.b64encode(run.encode("utf-16-be")).decode().rstrip("=")
                out += "&" + code.replace("/", ",") + "-"
                run = ""
            out += "&-" if char == "&" else char.rstrip("\0")
        else:
            run += char
    return out


def is_sorted(names, separator="/"):
    return names == sorted(names, key=lambda name: [part.encode() for part in name.split(separator)])


@pytest.fixture(scope="module", params=["maildir", "fs", "sdbox", "dot", "dotfs", "explicit"])
def world(request, top):
    folder = top / f"list-{request.param}"
    folder.mkdir()
    folder.chmod(0o755)
    world = World(folder, FORMATS[request.param])
    with world.ours, world.stock:
        world.fill()
        yield world
    check_logs(world.ours)


def check_logs(server):
    bad = [line for line in server.log().splitlines()
           if "Panic:" in line or "killed with signal" in line or "core dumped" in line
           or "still referenced" in line or "ERROR: AddressSanitizer" in line
           or "Leaked" in line]
    assert not bad, bad


@pytest.fixture
def login(world):
    sessions = []

    def run(user=ME, server=None):
        sessions.append(Session(server or world.ours, user))
        return sessions[-1]

    yield run
    for session in sessions:
        session.close()


# Beside Dovecot's own

PATTERNS = [
    ('', '*'), ('', '%'), ('', 'shared/%'), ('', 'shared/*'), ('', 'shared/%/%'),
    ('', 'shared/%/%/%'), ('', 'shared/%/*'), ('', '%/%'), ('', '*/%'), ('', '%/*'),
    ('', 'shared/alice@client1.com'), ('', 'shared/alice@client1.com/%'),
    ('', 'shared/alice@client1.com/*'), ('', 'shared/alice@client1.com/Box'),
    ('', 'shared/alice@client1.com/Box/%'), ('', 'shared/alice@client1.com/Deep/%'),
    ('', 'shared/alice@client1.com/Deep'), ('', 'shared/alice@client1.com/Deep/%/%'),
    ('', 'shared/alice@client1.com/*c'), ('', 'shared/alice@client1.com/%/%/%/c'),
    ('', 'shared/bob@client1.com/%'), ('', 'shared/bob@client1.com/Work'),
    ('', 'shared/bob@client1.com/Work/%'), ('', 'shared/bob@client1.com/*'),
    ('', 'shared/carl@company.com/*'), ('', 'shared/carl@company.com'),
    ('', 'shared/erik@client1.com/*'), ('', 'shared/nobody@client1.com/*'),
    ('', '*Box*'), ('', '*Sub'), ('', '%hared/%'), ('', 'shared'), ('', 'INBOX'),
    ('', 'shared/*o*'), ('', 'shared/%@client1.com/%'), ('', 'shared/*/Two/*'), ('', '*x'),
    ('shared/', '*'), ('shared/', '%'), ('shared/alice@client1.com/', '%'),
    ('shared/alice@client1.com/', '*'), ('shared/alice@client1.com/', 'Box*'),
    ('shared/alice@client1.com/Box/', '%'), ('shared/bob@client1.com/', '%'),
    ('shared/', 'alice@client1.com/%'), ('sha', 'red/%'), ('shared', '*'),
    ('', 'nothing/%'), ('', 'shared/*/nothing'), ('', 'shared/al*'), ('', '%%%'), ('', '**'),
]


def translated(world, text):
    return text if world.form.separator == "/" else text.replace("/", world.form.separator)


def same(world, ours, theirs, *arguments, command="LIST", but=lambda ours, theirs: None):
    """Both answer alike; ours sorted, and nothing twice."""
    first = ours.list(*arguments, command=command)
    second = theirs.list(*arguments, command=command)
    names = [name for name, _, _ in first]
    assert len(names) == len(set(names)), names
    shared = [name for name in names if name.startswith("shared")]
    assert is_sorted(shared, world.form.separator), shared
    mine, others = set(first), set(second)
    for difference in mine ^ others:
        assert but(difference), (arguments, {"ours alone": sorted(mine - others),
                                             "theirs alone": sorted(others - mine)})


@pytest.fixture
def both(world, login):
    """A session on ours, and one on Dovecot's own. With `.` its own cannot name an owner."""
    if world.form.separator == ".":
        pytest.skip("Dovecot's own cannot name user@client1.com where the separator is a dot")
    ours, theirs = login(), login(server=world.stock)
    theirs.ok("LIST", '""', '"*"')  # which makes its namespaces
    return ours, theirs


@pytest.mark.parametrize("reference,pattern", PATTERNS)
def test_list_is_as_dovecots_own(world, both, reference, pattern):
    ours, theirs = both
    same(world, ours, theirs, quote(reference), quote(pattern))


def test_list_stays_the_same_once_mailboxes_have_been_opened(world, both):
    ours, theirs = both
    for owner, box in [("alice@client1.com", "Box"), ("bob@client1.com", "Work/Secret"),
                       ("carl@company.com", "INBOX")]:
        ours.ok("EXAMINE", quote(world.name(box, owner)))
    for reference, pattern in PATTERNS:
        same(world, ours, theirs, quote(reference), quote(pattern))


# Subscriptions and LIST-EXTENDED

SUBSCRIBED = [("alice@client1.com", "INBOX"), ("alice@client1.com", "Box/Sub"),
              ("alice@client1.com", "Deep/a/b/c"), ("bob@client1.com", "Work/Secret"),
              ("dora@client2.com", "Mixed"), ("dora@client2.com", "Mixed/Two/x")]

LSUBS = ["*", "%", "shared/*", "shared/%", "shared/%/%", "shared/%/%/%", "shared/%/*", "*/%",
         "shared/alice@client1.com/%", "shared/alice@client1.com/*", "shared/alice@client1.com",
         "shared/alice@client1.com/Deep/%", "shared/alice@client1.com/Deep", "*c", "%/%/%/%",
         "shared/bob@client1.com/%", "shared/dora@client2.com/Mixed/%", "*x", "shared/*o*"]

EXTENDED = [
    ('(SUBSCRIBED)', '""', '"*"'), ('(SUBSCRIBED)', '""', '"%"'),
    ('(SUBSCRIBED)', '""', '"shared/%"'), ('(SUBSCRIBED)', '""', '"shared/%/%"'),
    ('(SUBSCRIBED RECURSIVEMATCH)', '""', '"%"'),
    ('(SUBSCRIBED RECURSIVEMATCH)', '""', '"shared/%"'),
    ('(SUBSCRIBED RECURSIVEMATCH)', '""', '"shared/%/%"'),
    ('(SUBSCRIBED RECURSIVEMATCH)', '""', '"*"'),
    ('(SUBSCRIBED)', '""', '"*"', 'RETURN', '(CHILDREN)'),
    ('(SUBSCRIBED)', '"shared/alice@client1.com/"', '"%"', 'RETURN', '(CHILDREN)'),
    ('(SUBSCRIBED)', '""', '"*"', 'RETURN', '(STATUS (MESSAGES))'),
    ('""', '"*"', 'RETURN', '(SUBSCRIBED)'), ('""', '"shared/%/%"', 'RETURN', '(SUBSCRIBED)'),
    ('""', '"*"', 'RETURN', '(CHILDREN)'), ('""', '"shared/%"', 'RETURN', '(SUBSCRIBED CHILDREN)'),
    ('""', '"shared/alice@client1.com/%"', 'RETURN', '(SUBSCRIBED CHILDREN)'),
    ('""', '("shared/alice@client1.com/%" "INBOX")', 'RETURN', '(CHILDREN)'),
    ('""', '("shared/%" "shared/%/%/%")', 'RETURN', '(CHILDREN)'),
    ('""', '("shared/bob@client1.com/*" "shared/alice@client1.com/B*")'),
    ('""', '("*" "shared/*")'), ('""', '"*"', 'RETURN', '()'),
    ('""', '"*"', 'RETURN', '(SPECIAL-USE)'), ('(SPECIAL-USE)', '""', '"*"'),
    ('""', '"shared/*"', 'RETURN', '(STATUS (MESSAGES UNSEEN))'),
]
if dovecot.NEW:
    EXTENDED += [('""', '"shared/*"', 'RETURN', '(MYRIGHTS)'),
                 ('""', '"shared/%/%"', 'RETURN', '(MYRIGHTS SUBSCRIBED CHILDREN)')]


@pytest.fixture
def subscribed(world, both):
    """Both with the same subscriptions, of which one is to a mailbox that is shared no more."""
    ours, theirs = both
    owner = Session(world.ours, "dora@client2.com")
    for name in [world.name(box, owner_) for owner_, box in SUBSCRIBED]:
        ours.ok("SUBSCRIBE", quote(name))
    for server in (world.ours, world.stock):
        owner = Session(server, "dora@client2.com")
        owner.ok("DELETEACL", quote(world.name("Mixed/Two/x")), ME)
        owner.close()
    yield ours, theirs
    for server in (world.ours, world.stock):
        owner = Session(server, "dora@client2.com")
        owner.ok("SETACL", quote(world.name("Mixed/Two/x")), ME, "l")
        owner.close()
    for name in [world.name(box, owner_) for owner_, box in SUBSCRIBED]:
        ours.ok("UNSUBSCRIBE", quote(name))
    assert [name for name, _, _ in ours.lsub('""', '"*"') if name.startswith("shared")] == []


def test_lsub_is_as_dovecots_own(world, subscribed):
    ours, theirs = subscribed
    for pattern in LSUBS:
        same(world, ours, theirs, '""', quote(pattern), command="LSUB")


def test_list_extended_is_as_dovecots_own(world, subscribed):
    ours, theirs = subscribed
    for arguments in EXTENDED:
        same(world, ours, theirs, *arguments)


def test_status_comes_with_list(world, both):
    ours, theirs = both
    command = ('""', '"shared/*"', "RETURN", "(STATUS (MESSAGES UNSEEN))")
    answers = [sorted(session.ok("LIST", *command)["STATUS"]) for session in both]
    assert answers[0] == answers[1]
    assert len(answers[0]) >= 4


def test_subscriptions_stay_right_once_mailboxes_have_been_opened(world, subscribed):
    ours, theirs = subscribed
    for owner, box in SUBSCRIBED[:4]:
        ours.ok("EXAMINE", quote(world.name(box, owner)))
    for pattern in LSUBS:
        same(world, ours, theirs, '""', quote(pattern), command="LSUB")
    for arguments in EXTENDED:
        same(world, ours, theirs, *arguments)
