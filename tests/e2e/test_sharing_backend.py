"""Rights on mailboxes: what the ACL backend of the plugin says to Dovecot, over IMAP, LMTP, Sieve and
doveadm. Which names a LIST shows is in test_sharing_listing.py."""

import imaplib
import os
import re
import signal
import smtplib
import threading
import time
from pathlib import Path

import pytest

import dovecot
import homing
from sharing import World
from test_broken import BREAKAGES, mend, save

imaplib.Commands["LISTRIGHTS"] = imaplib.Commands["MOVE"] = ("AUTH", "SELECTED")

UID = int(dovecot.MAIL_UID)
PASSWORD = "secret"
ALL = "lrwstipekxa"
POSTMASTER, OTHER_MASTER = "postmaster@company.com", "postmaster@client1.com"


# A server with shared mailboxes


def plugins(*names):
    if dovecot.NEW:
        return "mail_plugins {\n" + "".join(f"  {name} = yes\n" for name in names) + "}\n"
    return "mail_plugins = " + " ".join(names) + "\n"


def namespace(name, **settings):
    lines = "".join(f"  {key} = {value}\n" for key, value in settings.items() if value)
    return f"namespace {name} {{\n{lines}}}\n"


def location(path, private=None):
    if dovecot.NEW:
        return {"mail_driver": "maildir", "mail_path": path, "mail_index_private_path": private}
    return {"location": f"maildir:{path}" + (f":INDEXPVT={private}" if private else "")}


class Sharing:
    """A directory with accounts, groups and administrators, and a Dovecot with the plugin."""

    def __init__(self, folder, settings=None, raw="", more_plugins=()):
        self.plugins = ["acl", "homing_acl", *more_plugins]
        self.homing = homing.Homing(folder)
        self.vmail = self.homing.vmail
        self.public = self.homing.folder / "public"
        self.public.mkdir()
        os.chown(self.public, UID, UID)
        self.homing.apply({
            "main_domain": "company.com",
            "account_defaults": {"home": f"{self.vmail}/%{{domain}}/%{{local}}",
                                 "uid": str(UID), "gid": str(UID)},
            "domains": {
                "company.com": {"administrators": ["postmaster"]},
                "client1.com": {"administrators": ["postmaster"]},
                "client2.com": {"aliases": ["mail.client2.com"]},
                "outside.org": {"accounts": "external"},
            },
        })
        self.account(POSTMASTER)
        self.account(OTHER_MASTER)
        self.count = 0
        self.server = dovecot.Dovecot(
            self.homing.folder / "server", [dovecot.accounts(self.homing.path)],
            [dovecot.accounts(self.homing.path)],
            # mail processes read directory.mdb and write sharing.mdb
            settings={"mail_access_groups": "dovecot", "auth_debug": None, "log_debug": None},
            raw=self.render(settings or {}) + raw)

    def render(self, settings):
        owner = "%{owner_user}" if dovecot.NEW else "%%u"
        home = "%{owner_home}" if dovecot.NEW else "%%h"
        sieve = ("sieve_script personal {\n  path = ~/.dovecot.sieve\n}\n" if dovecot.NEW else "")
        text = plugins(*self.plugins)
        for protocol, more in (("imap", ["imap_acl", "imap_homing_acl"]), ("lmtp", ["sieve"])):
            all_plugins = more if dovecot.NEW else [*self.plugins, *more]
            text += f"protocol {protocol} {{\n{plugins(*all_plugins)}}}\n"
        text += namespace("inbox", inbox="yes", separator="/")
        text += namespace("shared", type="shared", separator="/", list="children",
                          prefix="shared/$user/" if dovecot.NEW else "shared/%%u/",
                          subscriptions="no", **location(f"{home}/Maildir", f"~/shared/{owner}"))
        text += namespace("public", type="public", separator="/", prefix="Public/", list="children",
                          subscriptions="no", **location(self.public, "~/public"))
        text += namespace("archive", type="private", separator="/", prefix="Archive/",
                          list="children", **location("~/archive"))
        ours = {"homing_directory": self.homing.path, **settings}
        if dovecot.NEW:
            ours["acl_driver"] = "homing"
        else:
            ours["acl"] = "vfile"
        lines = "".join(f"  {key} = {value}\n" for key, value in ours.items())
        text += lines if dovecot.NEW else f"plugin {{\n{lines}}}\n"
        # who looks up owners of mailboxes
        return text + sieve + "service auth {\n  unix_listener auth-userdb {\n    mode = 0666\n  }\n}\n"

    def readable(self):
        self.homing.readable()
        for path in self.homing.path.glob("sharing.mdb*"):
            os.chown(path, UID, UID)

    def account(self, name, groups=()):
        self.homing.account(name, PASSWORD, groups)
        self.readable()
        return name

    def fresh(self, name="user", domain="company.com", groups=()):
        """An account that no other test has."""
        self.count += 1
        return self.account(f"{name}{self.count}@{domain}", groups)

    def group(self, name, *members):
        self.homing.ctl("group", "add", name, *members)
        self.readable()

    def imap(self, user):
        return Session(self.server, user)


class Session:
    """An IMAP session that answers in words."""

    def __init__(self, server, user, password=PASSWORD):
        self.user = user
        self.client = server.imap(user, password)

    def command(self, name, *arguments):
        """(OK, text of the answer, untagged answers of that name)."""
        self.client.untagged_responses.clear()
        try:
            status, data = self.client._simple_command(name, *arguments)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            return "BAD", str(error), []
        answers = self.client.untagged_responses.pop(name, [])
        text = re.sub(r" \([0-9.+ ]+ secs\)\.?$", "", data[-1].decode())
        return status, text, [line.decode() for line in answers if line]

    def ok(self, name, *arguments):
        status, text, answers = self.command(name, *arguments)
        assert status == "OK", (name, arguments, status, text)
        return answers

    def no(self, name, *arguments):
        status, text, answers = self.command(name, *arguments)
        assert status == "NO", (name, arguments, status, text)
        assert not answers
        return text

    def create(self, box):
        self.ok("CREATE", quote(box))
        return box

    def setacl(self, box, who, rights):
        self.ok("SETACL", quote(box), quote(who), quote(rights))

    def acl(self, box):
        """{identifier: rights} of the others; the letters c and d of RFC 2086 left out."""
        self.client.untagged_responses.clear()
        self.client.literal = None
        status, data = self.client._simple_command("GETACL", quote(box))
        assert status == "OK", data
        line = self.client.untagged_responses["ACL"][-1].decode()
        words = [a or b for a, b in re.findall(r'"([^"]*)"|(\S+)', line)][1:]
        pairs = dict(zip(words[::2], words[1::2]))
        return {who: letters(rights) for who, rights in pairs.items() if who != self.user}

    def rights(self, box):
        """"" where MYRIGHTS says that there is no such mailbox."""
        status, text, answers = self.command("MYRIGHTS", quote(box))
        if status == "NO":
            assert "NONEXISTENT" in text, text
            return ""
        return letters(answers[-1].split()[-1])

    def select(self, box):
        try:
            return self.client.select(quote(box))[0] == "OK"
        except self.client.readonly:
            return True

    def append(self, box, subject="hello", flags=""):
        status, data = self.client.append(
            quote(box), flags, None, f"Subject: {subject}\r\n\r\nText.\r\n".encode())
        return status, data[-1].decode()

    def flags(self, number=1):
        status, data = self.client.fetch(str(number), "(FLAGS)")
        return set(re.search(rb"FLAGS \(([^)]*)\)", data[0]).group(1).decode().split()) - {"\\Recent"}

    def store(self, change, flags, number=1):
        """imaplib itself refuses it in a mailbox that is read-only."""
        self.client.untagged_responses.pop("READ-ONLY", None)
        assert self.client.store(str(number), change, flags)[0] == "OK"

    def list(self, pattern):
        status, data = self.client.list('""', quote(pattern))
        return [re.search(r'"/" (.*)$', line.decode()).group(1).strip('"') for line in data if line]

    def close(self):
        self.client.shutdown()


def quote(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def logged(server, pattern, since=0):
    """The log from there on, once the pattern is in it; it is written by another process."""
    deadline = time.monotonic() + 5
    while not re.search(pattern, server.log()[since:]):
        assert time.monotonic() < deadline, server.log()[since:]
        time.sleep(0.05)
    return server.log()[since:]


def letters(rights):
    """Without what is there for RFC 2086, in the usual order."""
    return "".join(letter for letter in ALL if letter in rights)


def shared(owner, box):
    return f"shared/{owner}/{box}"


@pytest.fixture(scope="module")
def sharing(top):
    folder = top / "sharing-backend"
    folder.mkdir()
    sharing = Sharing(folder)
    with sharing.server:
        yield sharing
    log = sharing.server.log()
    bad = [line for line in log.splitlines() if "Panic:" in line or re.search("killed with signal (?!9)", line)
           or "core dumped" in line or "still referenced" in line]
    assert not bad, bad


@pytest.fixture
def login(sharing):
    """login(user): an IMAP session, closed at the test's end."""
    sessions = []

    def run(user, server=None):
        sessions.append(Session(server or sharing.server, user))
        return sessions[-1]

    yield run
    for session in sessions:
        session.close()


@pytest.fixture
def two(sharing, login):
    """An owner with a mailbox `Team`, and somebody else, both logged in."""
    owner, other = login(sharing.fresh("owner")), login(sharing.fresh("other"))
    owner.create("Team")
    return owner, other


COMMANDS = [("SELECT", "{}"), ("EXAMINE", "{}"), ("STATUS", "{}", "(MESSAGES)"), ("MYRIGHTS", "{}"),
            ("GETACL", "{}"), ("SETACL", "{}", POSTMASTER, "lr"), ("DELETEACL", "{}", POSTMASTER),
            ("LISTRIGHTS", "{}", POSTMASTER), ("DELETE", "{}"), ("RENAME", "{}", "Mine"),
            ("CREATE", "{}/Below"), ("SUBSCRIBE", "{}")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_without_rights_nothing_tells_whether_a_mailbox_or_its_owner_is_there(sharing, two, command):
    owner, other = two
    client = sharing.fresh("c", "client1.com")
    places = [shared(owner.user, "Team"), shared(owner.user, "Nothing"), shared(client, "INBOX"),
              shared("nobody@company.com", "Team"), shared("nobody@outside.org", "Team"),
              shared("nobody@elsewhere.example", "Team")]
    answers = set()
    for place in places:
        name, *arguments = (part.format(place) for part in command)
        status, text, untagged = other.command(
            name, *(quote(part) if "/" in part else part for part in arguments))
        answers.add((status, *(part.replace(place, "BOX") for part in [text, *untagged])))
    assert len(answers) == 1, answers


# What is granted, is


def test_nobody_has_rights_before_they_are_given(two):
    owner, other = two
    box = shared(owner.user, "Team")
    assert owner.rights("Team") == ALL
    assert other.rights(box) == ""
    assert not other.select(box)
    assert "exist" in other.no("STATUS", quote(box), "(MESSAGES)")


def test_each_right_is_given_and_taken_in_running_sessions(two):
    owner, other = two
    box = shared(owner.user, "Team")
    for letter in ALL:
        owner.setacl("Team", other.user, letter)
        # with nothing but `p`, MYRIGHTS does not even say that there is a mailbox
        assert other.rights(box) == ("" if letter == "p" else letter), letter
    owner.setacl("Team", other.user, "lrs")
    assert other.rights(box) == "lrs"
    assert other.select(box)
    owner.setacl("Team", other.user, "+w")
    assert other.rights(box) == "lrws"
    owner.setacl("Team", other.user, "-lr")
    assert other.rights(box) == "ws"
    assert not other.select(box)
    owner.ok("DELETEACL", "Team", other.user)
    assert other.rights(box) == ""
    assert owner.acl("Team") == {}


def test_the_rights_letters_of_rfc_2086_are_understood(two):
    owner, other = two
    owner.setacl("Team", other.user, "lrcd")
    assert other.rights(shared(owner.user, "Team")) == "lrtekx"


def test_bad_rights_are_refused(two):
    owner, other = two
    status, text, _ = owner.command("SETACL", "Team", other.user, "lz")
    assert status == "BAD" and "lz" in text
    assert owner.acl("Team") == {}


@pytest.mark.parametrize("typed,shown", [
    ("{user}", "{user}@client2.com"),
    ("{user}@client2.com", "{user}@client2.com"),
    ("{USER}@Client2.COM", "{user}@client2.com"),
    ("{user}%client2.com", "{user}@client2.com"),
    ("{user}@mail.client2.com", "{user}@client2.com"),
    ("{alias}@client2.com", "{user}@client2.com"),
    ("anyone@", "anyone@client2.com"),
    ("anyone@client1.com", "anyone@client1.com"),
    ("anyone@mail.client2.com", "anyone@client2.com"),
    ("${group}", "${group}@client2.com"),
    ("${group}@client2.com", "${group}@client2.com"),
    ("!${group}", "!${group}@client2.com"),
    ("somebody@outside.org", "somebody@outside.org"),
])
def test_identifiers_are_kept_in_one_form_and_taken_back(sharing, login, typed, shown):
    owner = login(sharing.fresh("owner", "client2.com"))
    address = sharing.fresh("named", "client2.com")
    user = address.split("@")[0]
    alias, group = f"alias-{user}", f"group-{user}"
    sharing.homing.ctl("alias", "add", f"{alias}@client2.com", address)
    sharing.group(f"{group}@client2.com", address)
    names = {"user": user, "USER": user.upper(), "alias": alias, "group": group}
    typed, shown = typed.format(**names), shown.format(**names)
    owner.create("Box")
    for sign in ("", "-"):
        owner.setacl("Box", sign + typed, "lr")
        assert owner.acl("Box") == {sign + shown: "lr"}
        owner.setacl("Box", sign + shown, "l")
        assert owner.acl("Box") == {sign + shown: "l"}
        owner.ok("DELETEACL", "Box", quote(sign + typed))
        assert owner.acl("Box") == {}


@pytest.mark.parametrize("typed", [
    "nobody", "nobody@company.com", "nobody@elsewhere.example", "anyone@elsewhere.example",
    "$nobody", "$nobody@company.com", "!$nobody", "$", "sp ace", "$!nobody", "@", "anyone@@",
    "-", "--postmaster",
])
def test_whoever_is_not_there_is_refused_in_words(sharing, two, typed):
    owner, _ = two
    since = len(sharing.server.log())
    if typed == "-":
        assert owner.command("SETACL", "Team", typed, "lr")[0] == "BAD"
        return
    text = owner.no("SETACL", "Team", quote(typed), "lr")
    assert "nternal error" not in text and "CANNOT" in text, text
    assert owner.acl("Team") == {}
    log = logged(sharing.server, "refused to change rights", since)
    assert log.count("refused to change rights") == 1 and "Error" not in log, log


def test_global_identifiers_are_refused(two):
    owner, _ = two
    assert owner.command("SETACL", "Team", "#group", "lr")[0] in ("NO", "BAD")
    assert owner.acl("Team") == {}


def test_negative_rights_take_away_what_others_give(sharing, login):
    owner, other, third = (login(sharing.fresh()) for _ in range(3))
    box = shared(owner.user, owner.create("Team"))
    owner.setacl("Team", "anyone@", "lrwsi")
    owner.setacl("Team", f"-{other.user}", "wi")
    assert third.rights(box) == "lrwsi"
    assert other.rights(box) == "lrs"
    owner.ok("DELETEACL", "Team", f"-{other.user}")
    assert other.rights(box) == "lrwsi"


def test_a_users_own_rights_replace_those_of_groups(sharing, login):
    owner, other = login(sharing.fresh()), login(sharing.fresh())
    sharing.group("replaced@company.com", other.user)
    box = shared(owner.user, owner.create("Team"))
    owner.setacl("Team", "$replaced", "lrwst")
    assert other.rights(box) == "lrwst"
    owner.setacl("Team", other.user, "lr")
    assert other.rights(box) == "lr"
    owner.setacl("Team", "!$replaced", "l")
    assert other.rights(box) == "l"


def test_an_empty_grant_takes_everything(two):
    owner, other = two
    box = shared(owner.user, "Team")
    owner.setacl("Team", "anyone@", "lr")
    assert other.rights(box) == "lr"
    owner.setacl("Team", other.user, "")
    assert other.rights(box) == ""
    assert owner.acl("Team") == {"anyone@company.com": "lr", other.user: ""}


def test_anyone_at_a_domain_is_its_accounts_and_nobody_else(sharing, login):
    owner, outsider = login(sharing.fresh()), login(sharing.fresh("out", "client1.com"))
    colleague = login(sharing.fresh("in", "client2.com"))
    box = shared(owner.user, owner.create("Team"))
    owner.setacl("Team", "anyone@client2.com", "lr")
    assert colleague.rights(box) == "lr"
    assert outsider.rights(box) == ""


# Groups


def test_membership_of_a_group_counts_at_the_next_command(sharing, two):
    owner, other = two
    sharing.group("changing@company.com", POSTMASTER)
    box = shared(owner.user, "Team")
    owner.setacl("Team", "$changing", "lrs")
    assert other.rights(box) == ""
    sharing.group("changing@company.com", other.user)
    assert other.rights(box) == "lrs"
    assert other.select(box)
    sharing.homing.ctl("group", "remove", "changing@company.com", other.user)
    assert other.rights(box) == ""
    assert other.command("EXAMINE", quote(box))[0] == "NO"


def test_a_deleted_group_gives_nothing(sharing, two):
    owner, other = two
    sharing.group("doomed@company.com", other.user)
    box = shared(owner.user, "Team")
    owner.setacl("Team", "$doomed", "lrs")
    assert other.rights(box) == "lrs"
    sharing.homing.ctl("group", "delete", "doomed@company.com")
    sharing.readable()
    assert other.rights(box) == ""


# anyone


@pytest.mark.parametrize("who", ["anyone", "authenticated"])
def test_anyone_is_not_for_users_to_grant(two, who):
    owner, _ = two
    text = owner.no("SETACL", "Team", who, "lr")
    assert "NOPERM" in text and "anyone" in text
    assert owner.acl("Team") == {}


def test_anyone_where_the_administrator_allows_it(sharing, top, login):
    folder = top / "sharing-anyone"
    folder.mkdir()
    other = Sharing(folder, {"homing_allow_anyone": "yes"})
    with other.server:
        owner, stranger = (login(other.fresh("u", domain), other.server)
                           for domain in ("company.com", "client1.com"))
        box = shared(owner.user, owner.create("Team"))
        for who in ("anyone", "authenticated"):
            owner.setacl("Team", who, "lr")
            assert stranger.rights(box) == "lr"
            assert owner.acl("Team") == {who: "lr"}
            owner.ok("DELETEACL", "Team", who)
            assert stranger.rights(box) == ""


# Administrators of a domain


def test_an_administrator_has_all_rights_in_the_domain_and_none_outside(sharing, login):
    master, other_master = login(POSTMASTER), login(OTHER_MASTER)
    owner, client = login(sharing.fresh()), login(sharing.fresh("c", "client1.com"))
    owner.create("Secret")
    client.create("Secret")
    assert master.rights(shared(owner.user, "Secret")) == ALL
    assert master.rights(shared(client.user, "Secret")) == ""
    assert other_master.rights(shared(owner.user, "Secret")) == ""
    assert master.select(shared(owner.user, "INBOX"))
    master.setacl(shared(owner.user, "Secret"), client.user, "lr")
    assert client.rights(shared(owner.user, "Secret")) == "lr"
    assert owner.acl("Secret") == {client.user: "lr"}
    # an administrator's rights cannot be taken
    owner.setacl("Secret", f"-{POSTMASTER}", ALL)
    assert master.rights(shared(owner.user, "Secret")) == ALL


def test_an_administrator_grants_bare_names_in_the_owners_domain(sharing, login):
    owner, friend = login(sharing.fresh("c", "client1.com")), sharing.fresh("f", "client1.com")
    master = login(OTHER_MASTER)
    owner.create("Team")
    master.setacl(shared(owner.user, "Team"), friend.split("@")[0], "lr")
    assert owner.acl("Team") == {friend: "lr"}


# Who may change rights


def test_only_those_with_the_right_change_rights(sharing, two):
    owner, other = two
    third = sharing.fresh()
    box = shared(owner.user, "Team")
    hidden = other.no("SETACL", quote(box), third, "lr")
    missing = other.no("SETACL", quote(shared(owner.user, "Nothing")), third, "lr")
    assert hidden.replace("Team", "Nothing") == missing and "NONEXISTENT" in hidden
    owner.setacl("Team", other.user, "lr")
    assert "NOPERM" in other.no("SETACL", quote(box), third, "lr")
    assert "NOPERM" in other.no("DELETEACL", quote(box), third)
    assert "NOPERM" in other.no("GETACL", quote(box))
    owner.setacl("Team", other.user, "lra")
    other.setacl(box, third, "lr")
    assert owner.acl("Team") == {other.user: "lra", third: "lr"}


def test_nothing_is_said_of_an_identifier_to_who_may_not_change_rights(two):
    owner, other = two
    box = shared(owner.user, "Team")
    assert other.no("SETACL", quote(box), "nobody", "lr") == other.no(
        "SETACL", quote(box), POSTMASTER, "lr")


def test_owners_cannot_take_the_own_right_to_administer(two):
    owner, _ = two
    owner.setacl("Team", owner.user, "lr")
    assert owner.rights("Team") == "lra"
    owner.setacl("Team", owner.user, "-a")
    assert owner.rights("Team") == "lra"
    owner.setacl("Team", "owner", "lrw")
    assert owner.rights("Team") == "lra"  # a user's own is stronger than `owner`
    owner.ok("DELETEACL", "Team", owner.user)
    assert owner.rights("Team") == "lrwa"
    owner.ok("DELETEACL", "Team", "owner")
    assert owner.rights("Team") == ALL
    owner.setacl("Team", owner.user, "+l")
    assert owner.rights("Team") == ALL


# What rights are good for


def test_messages_need_their_rights(sharing, two):
    owner, other = two
    box = shared(owner.user, "Team")
    owner.append("Team", "first")
    owner.setacl("Team", other.user, "lr")
    assert other.append(box)[0] == "NO"
    assert other.select(box)
    other.store("+FLAGS", "(\\Seen \\Deleted \\Flagged)")
    assert other.flags() == set()
    owner.setacl("Team", other.user, "lrws")
    assert other.select(box)
    other.store("+FLAGS", "(\\Seen \\Deleted \\Flagged)")
    assert other.flags() == {"\\Seen", "\\Flagged"}
    owner.setacl("Team", other.user, "lrwstie")
    assert other.append(box)[0] == "OK"
    assert other.select(box)
    other.store("+FLAGS", "(\\Deleted)")
    assert "\\Deleted" in other.flags()
    other.ok("EXPUNGE")
    assert owner.ok("STATUS", "Team", "(MESSAGES)")[-1].endswith("(MESSAGES 1)")


def test_copies_and_moves_need_the_rights_on_both_sides(two):
    owner, other = two
    box = shared(owner.user, "Team")
    other.append("INBOX", "mine")
    owner.setacl("Team", other.user, "lr")
    other.select("INBOX")
    assert other.client.copy("1", quote(box))[0] == "NO"
    owner.setacl("Team", other.user, "lri")
    assert other.client.copy("1", quote(box))[0] == "OK"
    other.select(box)
    assert other.client.copy("1", "INBOX")[0] == "OK"
    before = messages(owner, "Team")
    other.client.untagged_responses.pop("READ-ONLY", None)
    other.client._simple_command("MOVE", "1", "INBOX")
    assert messages(owner, "Team") == before
    owner.setacl("Team", other.user, "lrite")
    other.select(box)
    other.ok("MOVE", "1", "INBOX")
    assert messages(owner, "Team") == before - 1


def test_a_right_taken_stops_a_mailbox_that_is_open(two):
    owner, other = two
    box = shared(owner.user, "Team")
    owner.append("Team")
    owner.setacl("Team", other.user, "lrws")
    assert other.select(box)
    other.store("+FLAGS", "(\\Flagged)")
    owner.ok("DELETEACL", "Team", other.user)
    other.store("-FLAGS", "(\\Flagged)")
    assert owner.select("Team")
    assert "\\Flagged" in owner.flags()


def test_seen_is_each_users_own(two):
    owner, other = two
    owner.append("Team")
    owner.setacl("Team", other.user, "lrs")
    assert other.select(shared(owner.user, "Team"))
    other.store("+FLAGS", "(\\Seen)")
    assert "\\Seen" in other.flags()
    assert owner.select("Team")
    assert "\\Seen" not in owner.flags()


def test_a_shared_mailbox_opens_by_any_name_of_its_owner(sharing, login):
    owner, other = login(sharing.fresh("owner", "client2.com")), login(sharing.fresh())
    local = owner.user.split("@")[0]
    sharing.homing.ctl("alias", "add", f"also-{local}@client2.com", owner.user)
    sharing.readable()
    owner.create("Team")
    owner.setacl("Team", other.user, "lr")
    for name in (owner.user, f"also-{local}@client2.com", f"{local}@mail.client2.com",
                 owner.user.upper(), f"{local}%client2.com"):
        assert other.rights(shared(name, "Team")) == "lr", name
        assert other.select(shared(name, "Team")), name


# The life of a mailbox


def test_a_new_mailbox_has_its_parents_grants(two):
    owner, other = two
    owner.setacl("Team", other.user, "lrk")
    owner.setacl("Team", f"-{POSTMASTER}", "w")
    owner.create("Team/Plans")
    assert owner.acl("Team/Plans") == {other.user: "lrk", f"-{POSTMASTER}": "w"}
    # without the one in between: the nearest that is there
    owner.create("Team/Next/Year")
    assert other.rights(shared(owner.user, "Team/Next/Year")) == "lrk"
    # and they are two afterwards
    owner.setacl("Team", other.user, "l")
    assert other.rights(shared(owner.user, "Team/Plans")) == "lrk"
    # by somebody else with the right
    other.no("CREATE", quote(shared(owner.user, "Top")))
    other.no("CREATE", quote(shared(owner.user, "Team/More")))
    other.create(shared(owner.user, "Team/Plans/More"))
    assert owner.acl("Team/Plans/More") == {other.user: "lrk", f"-{POSTMASTER}": "w"}


def test_a_mailbox_without_parent_has_no_grants(two):
    owner, other = two
    owner.setacl("INBOX", other.user, "lrk")
    owner.create("Alone")
    assert owner.acl("Alone") == {}
    owner.create("INBOX/Child")
    assert other.rights(shared(owner.user, "INBOX/Child")) == "lrk"


def test_deleted_and_made_again_it_has_no_old_rights(two):
    owner, other = two
    owner.setacl("Team", other.user, "lrx")
    owner.create("Team/Child")
    owner.ok("DELETE", "Team")
    assert other.rights(shared(owner.user, "Team")) == ""
    assert other.rights(shared(owner.user, "Team/Child")) == "lrx"
    owner.create("Team")
    assert owner.acl("Team") == {}
    assert other.rights(shared(owner.user, "Team")) == ""
    # also deleted by somebody else
    other.ok("DELETE", quote(shared(owner.user, "Team/Child")))
    owner.create("Team/Child")
    assert other.rights(shared(owner.user, "Team/Child")) == ""


def test_renamed_it_keeps_its_rights_and_its_childrens(two):
    owner, other = two
    owner.create("Team/Child")
    owner.create("Teammate")
    owner.setacl("Team", other.user, "lr")
    owner.setacl("Team/Child", other.user, "lrs")
    owner.setacl("Teammate", other.user, "lrw")
    owner.create("Dept")
    owner.ok("RENAME", "Team", "Dept/Team")
    assert other.rights(shared(owner.user, "Dept/Team")) == "lr"
    assert other.rights(shared(owner.user, "Dept/Team/Child")) == "lrs"
    assert other.rights(shared(owner.user, "Team")) == ""
    assert other.rights(shared(owner.user, "Teammate")) == "lrw"
    owner.create("Team")
    owner.create("Team/Child")
    assert owner.acl("Team") == owner.acl("Team/Child") == {}


def test_the_inbox_is_shared_as_any_mailbox(two):
    owner, other = two
    owner.append("INBOX")
    owner.setacl("Inbox", other.user, "lrs")
    assert owner.acl("INBOX") == {other.user: "lrs"}
    for name in ("INBOX", ""):
        box = shared(owner.user, name).rstrip("/")
        assert other.rights(box) == "lrs", box
        assert other.select(box), box


def leave(sharing, owner, box, who):
    """A grant on a mailbox that is not there, as a crash between deletion and its end leaves it."""
    sharing.homing.ctl("share", "grant", owner, box, who, "lr")
    sharing.readable()


def test_what_an_older_mailbox_left_counts_for_no_new_one(sharing, two):
    owner, other = two
    for box in ("Made", "Renamed", "Renamed/Child"):
        leave(sharing, owner.user, box, other.user)
    owner.create("Made")
    assert owner.acl("Made") == {}
    assert other.rights(shared(owner.user, "Made")) == ""
    owner.create("Team/Child")
    owner.ok("RENAME", "Team", "Renamed")
    assert owner.acl("Renamed") == owner.acl("Renamed/Child") == {}
    # an attempt to make one that is there takes nothing from it
    owner.setacl("Made", other.user, "l")
    owner.no("CREATE", "Made")
    assert owner.acl("Made") == {other.user: "l"}


@pytest.mark.parametrize("driver", ["sdbox", "maildir"])
def test_a_mere_folder_of_mailboxes_has_no_grants(top, driver):
    """Where there are such; in Maildir++, and for Dovecot 2.4 if not told otherwise, it is a mailbox."""
    world = World(top / f"sharing-folder-{driver}", driver=driver)
    for name in ("owner@company.com", "other@company.com"):
        world.account(name)
    with world.server, world.session("owner@company.com") as owner, \
            world.session("other@company.com") as other:
        owner.ok("CREATE", "Team")
        owner.ok("SETACL", "Team", "other@company.com", "lr")
        owner.ok("CREATE", "Team/Folder/")
        is_mailbox = owner.select("Team/Folder")[0] == "OK"
        assert is_mailbox or (driver == "sdbox" and not dovecot.NEW)
        listed = world.homing.ctl("share", "list", "owner@company.com", "Team/Folder",
                                  check=False).stdout
        assert ("other@company.com" in listed) == is_mailbox, listed
        owner.ok("CREATE", "Team/Folder/Box")
        assert other.rights("shared/owner@company.com/Team/Folder/Box") == "lr"


@pytest.mark.parametrize("name", [
    "per%cent", "st*ar", "a&-b", "til~de", "quo\\\"te", "sp ace", "&AOQA9gD8-", "#hash", "d.ot",
    "x" * 200, "(paren)", "[bracket]", "back\\\\slash",
])
def test_mailboxes_of_any_name_are_shared(two, name):
    owner, other = two
    # imaplib quotes nothing by itself; these are in the form of the wire already
    wire = f'"{name}"'
    status, text, _ = owner.command("CREATE", wire)
    if status != "OK" and "." in name:
        pytest.skip("Maildir++ has dots between mailboxes")
    assert status == "OK", text
    owner.ok("SETACL", wire, other.user, "lr")
    there = f'"{shared(owner.user, name)}"'
    assert other.command("SELECT", there)[0] == "OK"
    assert letters(other.ok("MYRIGHTS", there)[-1].split()[-1]) == "lr"
    owner.ok("RENAME", wire, '"plain"')
    assert other.rights(shared(owner.user, "plain")) == "lr"


# Namespaces


def test_mailboxes_of_another_private_namespace_are_others(two):
    owner, other = two
    owner.create("Archive/Team")
    owner.setacl("Archive/Team", other.user, "lr")
    assert owner.acl("Archive/Team") == {other.user: "lr"}
    assert owner.acl("Team") == {}
    assert other.rights(shared(owner.user, "Team")) == ""
    owner.setacl("Team", other.user, "l")
    assert owner.acl("Archive/Team") == {other.user: "lr"}
    owner.ok("DELETE", "Archive/Team")
    assert owner.acl("Team") == {other.user: "l"}


def test_public_mailboxes_are_granted_by_doveadm(sharing, login):
    user, other = login(sharing.fresh()), login(sharing.fresh())
    assert user.rights("Public/News") == ""
    assert "Permission" in user.no("CREATE", "Public/News")
    maildir = sharing.public / ".News"
    for part in (maildir, *(maildir / name for name in ("cur", "new", "tmp"))):
        part.mkdir()
        os.chown(part, UID, UID)
    doveadm(sharing, "acl", "set", "-u", user.user, "Public/News", f"user={user.user}", "lookup",
            "read", "admin", "create")
    assert user.rights("Public/News") == "lrka"
    assert user.select("Public/News")
    assert other.rights("Public/News") == ""
    user.setacl("Public/News", other.user, "lr")
    assert other.select("Public/News")
    user.create("Public/News/Local")
    assert user.acl("Public/News/Local") == {other.user: "lr"}
    assert "owner" in user.no("SETACL", "Public/News", "owner", "lr")
    # a bare name belongs to no domain here
    user.no("SETACL", "Public/News", other.user.split("@")[0], "lr")


# The whole account


def grant_whole(sharing, owner, who, rights):
    sharing.homing.ctl("share", "grant", owner, "*", who, rights)
    sharing.readable()


def test_a_grant_on_the_whole_account_counts_for_every_mailbox(sharing, two):
    owner, other = two
    grant_whole(sharing, owner.user, other.user, "lrk")
    assert other.rights(shared(owner.user, "Team")) == "lrk"
    assert other.rights(shared(owner.user, "INBOX")) == "lrk"
    owner.create("Later")
    assert other.rights(shared(owner.user, "Later")) == "lrk"
    assert owner.acl("Later") == {other.user: "lrk"}
    other.create(shared(owner.user, "ByOther"))
    # it is not copied: taken from the account, it is gone everywhere
    sharing.homing.ctl("share", "revoke", owner.user, "*", other.user)
    sharing.readable()
    for box in ("Team", "Later", "ByOther"):
        assert other.rights(shared(owner.user, box)) == "", box


def test_a_mailboxs_own_grant_counts_in_place_of_the_accounts(sharing, two):
    owner, other = two
    grant_whole(sharing, owner.user, other.user, "lrsk")
    owner.setacl("Team", other.user, "-s")
    assert owner.acl("Team") == {other.user: "lrk"}
    assert other.rights(shared(owner.user, "INBOX")) == "lrsk"
    owner.setacl("Team", other.user, "+w")
    assert other.rights(shared(owner.user, "Team")) == "lrwk"
    owner.setacl("Team", other.user, "")
    assert other.rights(shared(owner.user, "Team")) == ""
    assert not other.select(shared(owner.user, "Team"))


def test_deleteacl_says_what_it_cannot_take(sharing, two):
    owner, other = two
    grant_whole(sharing, owner.user, other.user, "lr")
    text = owner.no("DELETEACL", "Team", other.user)
    assert "homingctl share revoke" in text and "CANNOT" in text
    owner.setacl("Team", other.user, "l")
    owner.no("DELETEACL", "Team", other.user)
    assert other.rights(shared(owner.user, "Team")) == "l"


# doveadm


def doveadm(sharing, *arguments, code=0):
    done = sharing.server.doveadm(*arguments)
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    return done.stdout


def test_doveadm_acl_changes_and_shows_rights(sharing, two):
    owner, other = two
    box = shared(owner.user, "Team")
    doveadm(sharing, "acl", "set", "-u", owner.user, "--", "Team", f"user={other.user}", "lookup",
            "read", "-write")
    assert owner.acl("Team") == {other.user: "lr", f"-{other.user}": "w"}
    doveadm(sharing, "acl", "add", "-u", owner.user, "Team", f"user={other.user}", "insert")
    assert other.rights(box) == "lri"
    doveadm(sharing, "acl", "remove", "-u", owner.user, "Team", f"user={other.user}", "read")
    assert other.rights(box) == "li"
    shown = doveadm(sharing, "acl", "get", "-u", owner.user, "Team")
    assert f"user={other.user}" in shown and "lookup insert" in shown
    assert doveadm(sharing, "acl", "rights", "-u", other.user, box).split()[-2:] == [
        "lookup", "insert"]
    doveadm(sharing, "acl", "delete", "-u", owner.user, "Team", f"user={other.user}")
    assert owner.acl("Team") == {}
    doveadm(sharing, "acl", "recalc", "-u", owner.user)


def test_doveadm_acl_takes_all_kinds_of_identifiers(sharing, two):
    owner, other = two
    sharing.group("doveadm@company.com", other.user)
    for who, shown in ((f"user={other.user.split('@')[0]}", other.user),
                       ("user=anyone@", "anyone@company.com"),
                       ("group=doveadm", "$doveadm@company.com"),
                       ("group-override=doveadm", "!$doveadm@company.com"),
                       ("anyone", "anyone"), ("authenticated", "authenticated")):
        doveadm(sharing, "acl", "set", "-u", owner.user, "Team", who, "lookup")
        assert owner.acl("Team") == {shown: "l"}
        doveadm(sharing, "acl", "delete", "-u", owner.user, "Team", who)
    for who in ("user=nobody", "user=anyone", "group=nobody", "user=$doveadm"):
        assert sharing.server.doveadm("acl", "set", "-u", owner.user, "Team", who,
                                      "lookup").returncode != 0, who
    assert owner.acl("Team") == {}


def test_doveadm_acl_get_finds_what_matches(sharing, two):
    owner, other = two
    sharing.group("matching@company.com", other.user)
    owner.setacl("Team", "$matching", "lr")
    owner.setacl("Team", POSTMASTER, "lr")
    shown = doveadm(sharing, "acl", "get", "-m", "-u", other.user, shared(owner.user, "Team"))
    assert "matching" in shown and "postmaster" not in shown


def test_doveadm_acl_debug(sharing, two):
    owner, other = two
    done = sharing.server.doveadm("acl", "debug", "-u", owner.user, "Team")
    assert "is visible in LIST" in done.stdout + done.stderr
    owner.setacl("Team", other.user, "lr")
    done = sharing.server.doveadm("acl", "debug", "-u", other.user, shared(owner.user, "Team"))
    assert "has rights: lookup read" in done.stdout + done.stderr
    assert f"because {other.user} has lookup read" in done.stdout + done.stderr
    assert "is visible in LIST" in done.stdout + done.stderr
    # an administrator may, and sees it where the owner is named
    done = sharing.server.doveadm("acl", "debug", "-u", POSTMASTER, shared(owner.user, "Team"))
    assert "administers the owner's domain" in done.stdout + done.stderr
    assert "is NOT visible in LIST" in done.stdout + done.stderr


def test_doveadm_mailbox_commands_move_grants_as_imap_does(sharing, two):
    owner, other = two
    owner.setacl("Team", other.user, "lr")
    doveadm(sharing, "mailbox", "rename", "-u", owner.user, "Team", "Crew")
    assert other.rights(shared(owner.user, "Crew")) == "lr"
    doveadm(sharing, "mailbox", "delete", "-u", owner.user, "Crew")
    doveadm(sharing, "mailbox", "create", "-u", owner.user, "Crew")
    assert other.rights(shared(owner.user, "Crew")) == ""


# Delivery


def deliver(sharing, recipient, subject):
    client = smtplib.LMTP(dovecot.IPS[0], sharing.server.ports["lmtp"])
    try:
        client.sendmail("sender@elsewhere.example", [recipient],
                        f"Subject: {subject}\r\n\r\nA message.\r\n")
    finally:
        client.close()


def script(sharing, user, text):
    local, domain = user.split("@")
    path = Path(sharing.vmail) / domain / local / ".dovecot.sieve"
    path.write_text(text)
    os.chown(path, UID, UID)


def messages(session, box):
    return int(session.ok("STATUS", quote(box), "(MESSAGES)")[-1].split("MESSAGES ")[1].rstrip(")"))


@pytest.mark.parametrize("rights,arrives", [("p", True), ("i", True), ("lrwstekxa", False)])
def test_sieve_files_into_a_shared_mailbox_with_p_or_i(sharing, two, rights, arrives):
    owner, other = two
    owner.setacl("Team", other.user, rights)
    script(sharing, other.user,
           f'require "fileinto";\nfileinto "{shared(owner.user, "Team")}";\n')
    deliver(sharing, other.user, "filed")
    assert messages(owner, "Team") == arrives
    assert messages(other, "INBOX") == 1 + (not arrives)  # there is one from the beginning


def test_the_right_to_post_is_no_right_to_append(two):
    owner, other = two
    owner.setacl("Team", other.user, "lrp")
    assert other.append(shared(owner.user, "Team"))[0] == "NO"


def test_what_others_put_there_counts_against_the_owners_quota(top, login):
    folder = top / "sharing-quota"
    folder.mkdir()
    raw = ("quota \"User quota\" {\n  driver = count\n  quota_storage_size = 20k\n}\n"
           if dovecot.NEW else "")
    settings = {} if dovecot.NEW else {
        "quota": "count:User quota", "quota_vsizes": "yes", "quota_rule": "*:storage=20K"}
    other = Sharing(folder, settings, raw, more_plugins=["quota"])
    with other.server:
        owner, friend = (login(other.fresh(), other.server) for _ in range(2))
        owner.create("Team")
        owner.setacl("Team", friend.user, "lrwi")
        big = "x" * 9000
        assert owner.append("INBOX", big)[0] == "OK"  # which the friend does not see
        assert friend.append(shared(owner.user, "Team"), big)[0] == "OK"
        status, text = friend.append(shared(owner.user, "Team"), big)
        assert status == "NO" and "OVERQUOTA" in text, text
        assert "OVERQUOTA" in owner.append("INBOX", big)[1]
        assert friend.append("INBOX", big)[0] == "OK"


# Whose rights count


def test_a_master_user_has_the_own_rights(sharing, top, login):
    folder = top / "sharing-master"
    folder.mkdir()
    masters = folder / "masters"
    masters.write_text("admin@company.com:{PLAIN}secret\n")
    masters.chmod(0o644)
    block = dovecot.passwd_file(masters)
    raw = "auth_master_user_separator = *\n" + (
        f"passdb master {{\n  driver = passwd-file\n  master = yes\n"
        f"  passwd_file_path = {masters}\n  auth_username_format = %{{user}}\n}}\n"
        if dovecot.NEW else
        f"passdb {{\n  driver = passwd-file\n  master = yes\n  args = {masters}\n}}\n")
    assert block
    other = Sharing(folder, raw=raw)
    other.account("admin@company.com")
    with other.server:
        owner = login(other.fresh(), other.server)
        owner.create("Team")
        owner.setacl("Team", "admin@company.com", "lr")
        master = Session(other.server, f"{owner.user}*admin@company.com")
        assert master.rights("Team") == "lr"
        assert master.rights("INBOX") == ""
        assert master.select("Team")
        assert "Permission" in master.no("CREATE", "Made") or True
        master.close()


def test_acl_user_takes_the_place_of_the_user(sharing, top, login):
    folder = top / "sharing-acl-user"
    folder.mkdir()
    other = Sharing(folder, {"acl_user": POSTMASTER})
    with other.server:
        client = login(other.fresh("c", "client1.com"), other.server)
        assert client.rights("INBOX") == ""
        company = login(other.fresh(), other.server)
        assert company.rights("INBOX") == ALL  # postmaster administers the domain


def test_ignored_namespaces_have_no_acls(sharing, top, login):
    folder = top / "sharing-ignored"
    folder.mkdir()
    if dovecot.NEW:
        other = Sharing(folder, raw="namespace archive {\n  acl_ignore = yes\n}\n")
    else:
        other = Sharing(folder, {"acl_ignore_namespace": "Archive/"})
    with other.server:
        owner = login(other.fresh(), other.server)
        owner.create("Archive/Box")
        owner.setacl("Archive/Box", owner.user, "lra")
        assert owner.append("Archive/Box")[0] == "OK"
        owner.create("Box")
        owner.setacl("Box", owner.user, "lra")
        assert owner.append("Box")[0] == "NO"


def test_defaults_from_inbox_are_copied_to_new_mailboxes(sharing, top, login):
    folder = top / "sharing-defaults"
    folder.mkdir()
    other = Sharing(folder, {"acl_defaults_from_inbox": "yes"})
    with other.server:
        owner, user = (login(other.fresh(), other.server) for _ in range(2))
        owner.create("Old")
        owner.setacl("INBOX", user.user, "lrk")
        owner.create("New")
        assert owner.acl("New") == {user.user: "lrk"}
        user.create(shared(owner.user, "ByUser"))
        assert owner.acl("ByUser") == {user.user: "lrk"}
        # what the defaults hide, a grant on the whole account still shows
        owner.setacl("INBOX", user.user, "")
        grant_whole(other, owner.user, user.user, "lr")
        assert shared(owner.user, "Old") in user.list(shared(owner.user, "%"))
        assert user.rights(shared(owner.user, "Old")) == "lr"


def test_a_user_without_the_plugin_keeps_vfile(top, login):
    """In a process that has the plugin for other users."""
    if dovecot.NEW:
        pytest.skip("there the driver is a setting")
    folder = top / "sharing-vfile"
    folder.mkdir()
    users = folder / "users"
    sharing = Sharing(folder)
    sharing.server.passdbs = [dovecot.static_passdb(PASSWORD)]
    sharing.server.userdbs = [dovecot.passwd_file(users)]
    lines = []
    for name, more in (("with", ""), ("without", "userdb_mail_plugins=acl imap_acl")):
        user = sharing.account(f"{name}@company.com")
        lines.append(f"{user}::{UID}:{UID}::{sharing.vmail}/company.com/{name}::{more}\n")
    users.write_text("".join(lines))
    with sharing.server:
        plain, ours = (login(f"{name}@company.com", sharing.server) for name in ("without", "with"))
        for session in (plain, ours):
            session.create("Team")
        plain.setacl("Team", "whoever", "lr")
        assert plain.acl("Team") == {"whoever": "lr"}
        ours.no("SETACL", "Team", "whoever", "lr")
        home = Path(sharing.vmail) / "company.com"
        assert (home / "without/Maildir/.Team/dovecot-acl").exists()
        assert not (home / "with/Maildir/.Team/dovecot-acl").exists()


# Many at once


def test_no_change_is_lost_among_many_sessions(sharing, login):
    """Each has an identifier of its own in the same mailbox, and one in a mailbox of its own; some of
    them are killed in the middle."""
    owner = sharing.fresh("busy")
    login(owner).create("Team")
    friends = [sharing.fresh("friend") for _ in range(16)]
    sessions = [login(owner) for _ in friends]
    for session, friend in zip(sessions, friends):
        session.create(f"Own-{friend.split('@')[0]}")
    logins = logged(sharing.server, rf"(?s)(Log[a-z ]+: user=<{owner}>.*){{{len(friends) + 1}}}")
    processes = [int(pid) for pid in re.findall(rf"Log[a-z ]+: user=<{owner}>.* mpid=(\d+)", logins)][1:]
    killed = friends[::4]

    def work(session, friend):
        try:
            for rights in ("l", "lr", "lrw", "lrws") * 5:
                session.setacl("Team", friend, rights)
                session.setacl(f"Own-{friend.split('@')[0]}", friend, rights)
        except (imaplib.IMAP4.abort, OSError, AssertionError) as error:
            failures.append((friend, error))

    failures = []
    threads = [threading.Thread(target=work, args=pair) for pair in zip(sessions, friends)]
    for thread in threads:
        thread.start()
    for friend, pid in zip(friends, processes):
        if friend in killed:
            time.sleep(0.02)
            os.kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert {friend for friend, _ in failures} <= set(killed), failures
    last = login(owner)
    acl = last.acl("Team")
    for friend in set(friends) - set(killed):
        assert acl[friend] == "lrws"
        assert last.acl(f"Own-{friend.split('@')[0]}") == {friend: "lrws"}


# Files that fail


@pytest.fixture
def breakable(top, login):
    number = len(list(top.glob("sharing-broken*")))
    folder = top / f"sharing-broken{number}"
    folder.mkdir()
    sharing = Sharing(folder)
    with sharing.server:
        owner, other = (login(sharing.fresh(), sharing.server) for _ in range(2))
        owner.create("Team")
        owner.append("Team")
        owner.setacl("Team", other.user, "lrs")
        assert other.select(shared(owner.user, "Team"))
        yield sharing, owner, other
    log = sharing.server.log()
    assert "Panic" not in log and "killed with signal" not in log


def fails_for_now(session, name, *arguments):
    text = session.no(name, *arguments)
    assert "nternal error" in text or "SERVERBUG" in text or "NONEXISTENT" in text, text


@pytest.mark.parametrize("file", ["sharing.mdb", "directory.mdb"])
@pytest.mark.parametrize("harm", BREAKAGES)
def test_broken_files_shut_others_out_and_leave_owners_their_mail(breakable, file, harm):
    sharing, owner, other = breakable
    path = sharing.homing.path / file
    save(sharing.homing)
    since = len(sharing.server.log())
    harm(path)
    box = shared(owner.user, "Team")
    assert other.command("MYRIGHTS", quote(box))[0] == "NO"
    assert not other.select(box)
    assert owner.select("Team")
    assert owner.append("Team")[0] == "OK"
    assert owner.select("INBOX")
    fails_for_now(owner, "SETACL", "Team", other.user, "l")
    fails_for_now(owner, "CREATE", "New")
    fails_for_now(owner, "DELETE", "Team")
    fails_for_now(owner, "RENAME", "Team", "Crew")
    logged(sharing.server, rf"Error: .*homing: .*{re.escape(str(path))}", since)
    # put back, all is as it was
    mend(sharing.homing)
    sharing.readable()
    assert other.rights(box) == "lrs"
    assert other.select(box)
    owner.setacl("Team", other.user, "l")
    assert other.rights(box) == "l"


def test_mail_finds_its_way_while_grants_cannot_be_read(breakable):
    """Also to accounts whose INBOX Dovecot has to make first."""
    sharing, owner, _ = breakable
    sharing.homing.ctl("account", "add", "new@company.com", "--password-stdin", text=f"{PASSWORD}\n")
    home = Path(sharing.vmail) / "company.com" / "new"
    home.mkdir()
    os.chown(home, UID, UID)
    sharing.readable()
    (sharing.homing.path / "sharing.mdb").unlink()
    for user in ("new@company.com", owner.user):
        deliver(sharing, user, "in spite of all")
    new = Session(sharing.server, "new@company.com")
    assert messages(new, "INBOX") == 1
    new.close()


def test_a_write_that_fails_is_a_no_and_one_error(breakable):
    sharing, owner, other = breakable
    for path in sharing.homing.path.glob("sharing.mdb*"):
        os.chown(path, 0, 0)
        path.chmod(0o644 if path.name.endswith("mdb") else 0o666)
    box = shared(owner.user, "Team")
    for command in (("SETACL", "Team", other.user, "lr"), ("DELETE", "Team"),
                    ("RENAME", "Team", "Crew"), ("CREATE", "Team/Child")):
        since = len(sharing.server.log())
        assert "nternal error" in owner.no(*command)
        if command[0] == "SETACL":  # the same error again is not logged so soon
            logged(sharing.server, "Error", since)
        time.sleep(0.2)
        errors = [line for line in sharing.server.log()[since:].splitlines() if "Error" in line]
        assert len(errors) == (command[0] == "SETACL"), errors
        assert all("sharing.mdb" in line for line in errors)
    # what needs no writing goes on
    owner.create("Other")
    owner.ok("DELETE", "Other")
    assert other.rights(box) == "lrs"


def test_a_wrong_directory_setting_refuses_the_login(top):
    folder = top / "sharing-relative"
    folder.mkdir()
    sharing = Sharing(folder, {"homing_directory": "var/homing"})
    with sharing.server:
        user = sharing.fresh()
        client = Session(sharing.server, user)
        with pytest.raises(imaplib.IMAP4.abort):
            client.command("SELECT", "INBOX")
        client.close()
        logged(sharing.server, "not an absolute path")
