"""LIST of what is shared, where Dovecot's own backend is no measure: separators that owners' names have
in them, names of every kind, whole accounts, administrators, `~`, and changes in running sessions. What
should be shown is worked out here, from the grants."""

import re
import shutil
import time

import pytest

import dovecot
from test_sharing_list import (AWKWARD, FORMATS, MAILBOXES, ME, PEER, Session, World, check_logs,
                               is_sorted, quote, utf7)

ALICE, BOB, CARL, DORA = ("alice@client1.com", "bob@client1.com", "carl@company.com",
                          "dora@client2.com")


def serve(top, name, form, fill=True, **options):
    folder = top / name
    folder.mkdir()
    folder.chmod(0o755)
    world = World(folder, FORMATS[form], **options)
    with world.ours:
        if fill:
            world.fill(stock=False)
        yield world
    check_logs(world.ours)


@pytest.fixture(scope="module", params=["maildir", "sdbox", "dot", "dotfs"])
def world(request, top):
    yield from serve(top, f"owners-{request.param}", request.param)


@pytest.fixture(scope="module", params=["/", "."])
def tilde(request, top):
    """With `~user@domain/Box` as a second name of each mailbox."""
    form = "maildir" if request.param == "/" else "dot"
    variable = "$user" if dovecot.NEW else "%%u"
    yield from serve(top, f"tilde-{form}", form, tilde=variable)


@pytest.fixture
def login(request):
    sessions = []

    def run(world, user=ME):
        sessions.append(Session(world.ours, user))
        return sessions[-1]

    yield run
    for session in sessions:
        session.close()


def grant(world, owner, mailbox, who, rights):
    world.homing.ctl("share", "grant", owner, mailbox, who, rights)
    world.homing.readable()
    world.writable()


def revoke(world, owner, mailbox, who):
    world.homing.ctl("share", "revoke", owner, mailbox, who)
    world.homing.readable()
    world.writable()


# What should be shown


def matches(pattern, name, separator):
    text = "".join({"*": ".*", "%": f"[^{re.escape(separator)}]*"}.get(c, re.escape(c))
                   for c in pattern)
    return re.fullmatch(text, name, re.S) is not None


class Model:
    def __init__(self, world, mailboxes=MAILBOXES, prefix="shared/"):
        self.sep = sep = world.form.separator
        self.real, self.tops, self.all = set(), set(), set()
        for owner, boxes in mailboxes.items():
            for box, rights in boxes.items():
                if rights is None or "l" not in rights:
                    continue
                name = world.name(box, owner, prefix)
                top = world.name("INBOX", owner, prefix)
                self.real.add(name)
                self.tops.add(top)
                while len(name) >= len(top):
                    self.all.add(name)
                    name = name.rpartition(sep)[0]

    def list(self, pattern):
        """{name: has children} of those that are there, and of those that only stand above."""
        shown = {}
        for name in self.all:
            if not matches(pattern, name, self.sep):
                continue
            below = [other for other in self.all if other.startswith(name + self.sep)]
            there = name in self.real
            if there or name in self.tops or not any(
                    matches(pattern, other, self.sep) for other in below if other in self.real):
                shown[name] = (there, bool(below))
        return shown


def shown(session, pattern, prefix="shared"):
    names = session.list('""', quote(pattern))
    assert len({name for name, _, _ in names}) == len(names), names
    found = {}
    for name, flags, _ in names:
        if name.startswith(prefix) and name != "shared":
            found[name] = ("\\Noselect" not in flags and "\\NonExistent" not in flags,
                           "\\HasChildren" in flags)
            assert ("\\HasChildren" in flags) != ("\\HasNoChildren" in flags)
    return found


PATTERNS = ["*", "shared/*", "shared/%", "shared/%/%", "shared/%/%/%", "%/%", "*/%", "*Box*", "*c",
            f"shared/{ALICE}", f"shared/{ALICE}/%", f"shared/{ALICE}/*", f"shared/{ALICE}/Deep/%",
            f"shared/{BOB}/%", f"shared/{BOB}/*", f"shared/{DORA}/*", "shared/*o*", "%%%",
            "shared/%client1%", f"shared/{ALICE}/Box", f"shared/{ALICE}/%ox/%", "shared/*/*/*"]


def of_world(world, pattern):
    """The pattern with the world's separator; owners in it as they are named there."""
    for owner in MAILBOXES:
        if world.form.separator != "/":
            pattern = pattern.replace(owner, owner.replace(world.form.separator, "^"))
    return pattern.replace("/", world.form.separator)


def test_list_shows_what_is_granted(world, login):
    me, model = login(world), Model(world)
    for opened in (False, True):
        for pattern in PATTERNS:
            pattern = of_world(world, pattern)
            assert shown(me, pattern) == model.list(pattern), pattern
        for owner, box in [(ALICE, "Box"), (BOB, "Work/Secret")]:
            me.ok("EXAMINE", quote(world.name(box, owner)))


def test_what_list_shows_can_be_opened_and_nothing_else(world, login):
    me = login(world)
    for name, flags, _ in me.list('""', '"*"'):
        status = me.command("STATUS", quote(utf7(name)), "(MESSAGES)")[0]
        readable = "\\Noselect" not in flags and not name.startswith(
            world.name("INBOX", DORA))  # of whose mailboxes it may know, not read them
        assert (status == "OK") == readable, name


def test_lsub_shows_what_is_subscribed(world, login):
    me = login(world)
    names = [world.name(box, owner) for owner, box in
             [(ALICE, "INBOX"), (ALICE, "Box/Sub"), (ALICE, "Deep/a/b/c"), (BOB, "Work/Secret")]]
    for name in names:
        me.ok("SUBSCRIBE", quote(name))
    for _ in range(2):
        found = me.lsub('""', quote(of_world(world, "shared/*")))
        assert [name for name, _, _ in found] == sorted(
            names, key=lambda name: name.split(world.form.separator))
        above = me.lsub('""', quote(of_world(world, "shared/%")))
        assert {name: "\\Noselect" in flags for name, flags, _ in above} == {
            world.name("INBOX", ALICE): False, world.name("INBOX", BOB): True}
        me.close()
        me = login(world)  # another reads the file before any mailbox was opened
    for name in names:
        me.ok("UNSUBSCRIBE", quote(name))
    assert me.lsub('""', quote(of_world(world, "shared/*"))) == []


def test_list_opens_no_owners_mailboxes(world, login):
    """The owners' mailboxes are out of the way, and LIST does not miss them."""
    me, model = login(world), Model(world)
    home = world.homing.vmail / "client1.com"
    away = home.with_name("away")
    home.rename(away)
    try:
        (home / "reader").mkdir(parents=True)
        shutil.rmtree(home / "reader")
        (home).rmdir()
        home.mkdir()
        (home / "reader").symlink_to(away / "reader")
        assert shown(me, of_world(world, "shared/*")) == model.list(of_world(world, "shared/*"))
    finally:
        shutil.rmtree(home)
        away.rename(home)


def test_a_change_of_grants_is_seen_by_the_next_list(world, login):
    me, owner = login(world), login(world, "erik@client1.com")
    name = world.name("Box", "erik@client1.com")
    assert name not in shown(me, "*")
    owner.ok("SETACL", "Box", ME, "l")
    assert name in shown(me, "*")
    owner.ok("SETACL", "Box", ME, "r")
    assert name not in shown(me, "*")
    owner.ok("SETACL", "Box", ME, "lr")
    owner.ok("RENAME", "Box", "Renamed")
    assert world.name("Renamed", "erik@client1.com") in shown(me, "*")
    assert name not in shown(me, "*")
    owner.ok("RENAME", "Renamed", "Box")
    owner.ok("DELETEACL", "Box", ME)
    assert world.name("INBOX", "erik@client1.com") not in shown(me, "*")


def test_groups_domains_and_everybody_are_listed_for_those_they_mean(world, login):
    frida = login(world, "frida@client2.com")
    box = world.name("Own", "frida@client2.com")
    me, peer, other = login(world), login(world, PEER), login(world, CARL)
    world.homing.ctl("group", "add", "readers@client2.com", ME)
    world.homing.readable()
    seen = lambda: [box in shown(session, "*") for session in (me, peer, other)]  # noqa: E731
    assert seen() == [False, False, False]
    frida.ok("SETACL", "Own", '"$readers"', "lr")
    assert seen() == [True, False, False]
    frida.ok("SETACL", "Own", "anyone@client1.com", "lr")
    assert seen() == [True, True, False]
    world.homing.ctl("group", "delete", "readers@client2.com")
    world.homing.readable()
    frida.ok("DELETEACL", "Own", "anyone@client1.com")
    assert seen() == [False, False, False]
    grant(world, "frida@client2.com", "Own", "anyone", "l")
    assert seen() == [True, True, True]
    revoke(world, "frida@client2.com", "Own", "anyone")
    assert seen() == [False, False, False]


def test_names_with_every_character_are_listed_and_opened(world, login):
    owner, me = login(world, "hugo@client2.com"), login(world)
    # a name that has the separator in it is another name
    names = [name for name in AWKWARD if world.form.separator not in name]
    deep = "/".join(f"d{i}" for i in range(30)).replace("/", world.form.separator)
    for name in [*names, deep]:
        owner.ok("CREATE", quote(utf7(name)))
        owner.ok("SETACL", quote(utf7(name)), ME, "lr")
    try:
        prefix = world.name("INBOX", "hugo@client2.com") + world.form.separator
        found = [name for name, flags, _ in me.list('""', quote(prefix + "*"))
                 if "\\Noselect" not in flags]
        assert sorted(found) == sorted(prefix + utf7(name) for name in [*names, deep])
        for name in found:
            me.ok("EXAMINE", quote(name))
            me.ok("SUBSCRIBE", quote(name))
        for _ in range(2):
            assert {name for name, _, _ in me.lsub('""', '"*"')} == set(found)
            me = login(world)
        for name in found:
            me.ok("UNSUBSCRIBE", quote(name))
        assert me.lsub('""', '"*"') == []
    finally:
        for name in [*names, deep]:
            owner.ok("DELETE", quote(utf7(name)))


# Mailboxes that are gone


def test_a_mailbox_that_is_gone_is_listed_until_it_is_used(start_world):
    world = start_world()
    me, name = Session(world.ours, ME), world.name("Alone", ALICE)
    mail = world.homing.vmail / "client1.com" / "alice" / "Mail"
    shutil.rmtree(mail / ".Alone")
    assert name in shown(me, "*")
    assert me.command("EXAMINE", quote(name))[0] == "NO"
    assert name not in shown(me, "*")
    # the name is free, and nobody has rights on what is made of it
    owner = Session(world.ours, ALICE)
    owner.ok("CREATE", "Alone")
    assert me.command("EXAMINE", quote(name))[0] == "NO"
    assert name not in shown(me, "*")
    me.close()
    owner.close()


def test_nothing_is_forgotten_while_the_owners_storage_is_away(start_world):
    world = start_world()
    me, name = Session(world.ours, ME), world.name("Alone", ALICE)
    mail = world.homing.vmail / "client1.com" / "alice" / "Mail"
    mail.rename(mail.with_name("away"))
    assert me.command("EXAMINE", quote(name))[0] == "NO"
    assert name in shown(me, "*")
    shutil.rmtree(mail, ignore_errors=True)
    mail.with_name("away").rename(mail)
    me.ok("EXAMINE", quote(name))
    me.close()


# Whole accounts, and administrators


def test_of_a_whole_account_the_real_mailboxes_are_listed(world, login):
    me, owner = login(world), login(world, "erik@client1.com")
    owner.ok("SELECT", "INBOX")  # which makes it
    name = lambda box: world.name(box, "erik@client1.com")  # noqa: E731
    grant(world, "erik@client1.com", "*", ME, "lr")
    try:
        everything = {name("INBOX"): (True, True), name("Box"): (True, False)}
        mine = lambda pattern: {key: value for key, value in  # noqa: E731
                                shown(me, of_world(world, pattern)).items()
                                if key.startswith(name("INBOX"))}
        assert mine("*") == everything
        sep = world.form.separator
        owner.ok("CREATE", f"New{sep}Deep")
        assert mine("shared/*")[name("New/Deep")] == (True, False)
        assert mine("shared/%") == {name("INBOX"): (True, True)}
        assert set(mine("shared/%/%")) == {name("Box"), name("New")}
        owner.ok("SETACL", f"New{sep}Deep", ME, '""')  # instead of the account's
        assert name("New/Deep") not in mine("*")
        assert is_sorted([key for key, _, _ in me.list('""', quote(of_world(world, "shared/*")))],
                         sep)
        me.ok("SUBSCRIBE", quote(name("Box")))
        assert [key for key, _, _ in me.lsub('""', '"*"')] == [name("Box")]
        me.ok("UNSUBSCRIBE", quote(name("Box")))
        owner.ok("DELETE", f"New{sep}Deep")
        owner.command("DELETE", "New")
        assert mine("*") == everything
    finally:
        revoke(world, "erik@client1.com", "*", ME)
    assert not any(key.startswith(name("INBOX")) for key in shown(me, "*"))


def test_an_administrator_lists_whom_a_pattern_names(world, login):
    master = login(world, "postmaster@client2.com")
    login(world, "frida@client2.com").ok("SELECT", "INBOX")  # which makes it
    assert shown(master, "*") == {}
    frida = world.name("INBOX", "frida@client2.com")
    sep = world.form.separator
    assert shown(master, f"{frida}{sep}*") == {f"{frida}{sep}Own": (True, False)}
    assert shown(master, frida) == {frida: (True, True)}
    assert shown(master, f"{frida}{sep}Own") == {f"{frida}{sep}Own": (True, False)}
    dora = world.name("INBOX", DORA)
    assert set(shown(master, f"{dora}{sep}%")) == {f"{dora}{sep}Mixed"}
    # outside of the domain there is nothing to see
    assert shown(master, world.name("INBOX", ALICE) + f"{sep}*") == {}
    assert shown(master, "*") == {}


# Owners' names


def test_an_owner_may_be_named_by_an_alias_or_without_the_own_domain(world, login):
    me, sep = login(world), world.form.separator
    full = world.name("INBOX", ALICE)
    for typed in ("alice", "liz", "liz@client1.com", "ALICE@client1.com"):
        top = full.replace(world.name("INBOX", ALICE)[len("shared") + 1:],
                           typed if sep == "/" else typed.replace(sep, "^"))
        for opened in (False, True):
            expected = {name.replace(full, top): value
                        for name, value in shown(me, f"{full}{sep}*").items()}
            assert shown(me, f"{top}{sep}*") == expected and len(expected) == 4
            me.ok("EXAMINE", quote(f"{top}{sep}Box"))
    # carl is of another domain
    assert me.command("EXAMINE", quote(f"shared{sep}carl"))[0] == "NO"
    assert shown(me, f"shared{sep}carl{sep}*") == {}


@pytest.mark.parametrize("prefix23,prefix24,tops", [
    ("shared/%%d/%%n/", "shared/$domain/$username/",
     {ALICE: "shared/client1.com/alice", CARL: "shared/company.com/carl"}),
    ("shared/%%n/", "shared/$username/",
     {ALICE: "shared/alice", CARL: "shared/carl@company.com"}),
])
def test_other_forms_of_the_prefix(start_world, prefix23, prefix24, tops):
    world = start_world(prefix=prefix24 if dovecot.NEW else prefix23)
    me = Session(world.ours, ME)
    found = shown(me, "*")
    assert found[tops[ALICE]] == (True, True) and found[tops[CARL]] == (True, False)
    assert f"{tops[ALICE]}/Box/Sub" in found
    for name, (there, _) in found.items():
        if there and "dora" not in name:
            me.ok("EXAMINE", quote(name))
            me.ok("SUBSCRIBE", quote(name))
    assert shown(me, "*") == found
    assert [name for name, _, _ in me.lsub('""', '"*"')] == [
        name for name in found if found[name][0] and "dora" not in name]
    if "client1.com/" in tops[ALICE]:  # a domain stands above its accounts
        assert shown(me, "shared/%")["shared/client1.com"] == (False, True)
    me.close()


@pytest.fixture
def start_world(place, start):
    def run(form="maildir", **options):
        world = World(place, FORMATS[form], **options)
        start(world.ours)
        world.fill(stock=False)
        return world

    return run


# The second name, `~owner/Box`


def test_tilde_lists_what_its_patterns_name(tilde, login):
    me, sep = login(tilde), tilde.form.separator
    model = Model(tilde, prefix="~")
    for pattern in ["~*", "~%", f"~%{sep}%", f"~%{sep}*"]:
        assert shown(me, pattern, "~") == model.list(pattern), pattern
    alice = tilde.name("INBOX", ALICE, "~")
    for _ in range(2):
        for pattern in [f"{alice}{sep}*", f"{alice}{sep}%", f"{alice}{sep}Deep{sep}%"]:
            assert shown(me, pattern, "~") == model.list(pattern), pattern
        assert {n for n, _, _ in me.list(quote(f"{alice}{sep}"), '"%"')} == set(
            model.list(f"{alice}{sep}%"))
    assert shown(me, "*", "~") == {}
    assert shown(me, "*") == Model(tilde).list("*")
    nobody = tilde.name("INBOX", "nobody@client1.com", "~")
    assert shown(me, f"{nobody}{sep}*", "~") == {}


def test_tilde_without_a_domain_is_ones_own(tilde, login):
    me, sep = login(tilde), tilde.form.separator
    me.ok("EXAMINE", quote(f"~alice{sep}Box"))
    assert {name for name, _, _ in me.list('""', quote(f"~alice{sep}%"))} == {
        f"~alice{sep}Alone", f"~alice{sep}Box", f"~alice{sep}Deep"}
    assert me.command("EXAMINE", "~carl")[0] == "NO"
    peer = login(tilde, CARL)
    assert peer.command("EXAMINE", quote(f"~alice{sep}Box"))[0] == "NO"


def test_tilde_is_subscribed_by_the_first_name(tilde, login):
    me, sep = login(tilde), tilde.form.separator
    me.ok("SUBSCRIBE", quote(tilde.name("Box/Sub", ALICE, "~")))
    me.ok("SUBSCRIBE", quote(f"~alice{sep}Alone"))
    names = [tilde.name("Alone", ALICE), tilde.name("Box/Sub", ALICE)]
    assert [name for name, _, _ in me.lsub('""', '"*"')] == names
    assert [name for name, _, _ in me.lsub('""', '"~*"')] == [
        tilde.name("Alone", ALICE, "~"), tilde.name("Box/Sub", ALICE, "~")]
    me = login(tilde)
    me.ok("UNSUBSCRIBE", quote(f"~alice{sep}Alone"))
    me.ok("UNSUBSCRIBE", quote(tilde.name("Box/Sub", ALICE, "~")))
    assert me.lsub('""', '"*"') == []


# Subscriptions, further


def test_what_is_shared_no_more_can_be_unsubscribed(world, login):
    me, owner = login(world), login(world, "erik@client1.com")
    name = world.name("Box", "erik@client1.com")
    owner.ok("SETACL", "Box", ME, "lr")
    me.ok("SUBSCRIBE", quote(name))
    owner.ok("DELETEACL", "Box", ME)
    for session in (me, login(world)):
        assert [n for n, _, _ in session.lsub('""', '"*"')] == [name]
        (n, flags, _), = session.list("(SUBSCRIBED)", '""', '"*"')
        assert n == name and "\\NonExistent" in flags
    assert me.command("SUBSCRIBE", quote(name))[0] == "NO"
    login(world).ok("UNSUBSCRIBE", quote(name))
    time.sleep(1.1)  # Dovecot compares seconds
    assert me.lsub('""', '"*"') == []


def test_with_subscriptions_of_its_own_the_namespace_asks_the_owners(start_world):
    world = start_world(subscriptions="yes")
    me, owner = Session(world.ours, ME), Session(world.ours, ALICE)
    owner.ok("SUBSCRIBE", "Box")
    me.ok("SUBSCRIBE", quote(world.name("Alone", ALICE)))
    names = [world.name("Alone", ALICE), world.name("Box", ALICE)]
    for session in (me, Session(world.ours, ME)):
        assert [n for n, _, _ in session.lsub('""', '"*"')] == names
        subscribed = {n for n, flags, _ in session.list('""', '"*"', "RETURN", "(SUBSCRIBED)")
                      if "\\Subscribed" in flags}
        assert subscribed == set(names)
        session.close()
    assert {n for n, _, _ in owner.lsub('""', '"*"')} == {"Box", "Alone"}
    owner.close()


# NOTIFY and IDLE


def wait_for(session, pattern, seconds=10):
    """Lines that come by themselves, until one of them is it."""
    session.client.sock.settimeout(seconds)
    found = []
    while True:
        line = session.client.readline().decode().strip()
        assert line, found
        found.append(line)
        if re.search(pattern, line):
            return found


def send(session, text):
    session.client.send((text + "\r\n").encode())


@pytest.mark.parametrize("which", ["mailboxes {}", "subscribed", "subtree {}"])
def test_notify_tells_of_a_shared_mailbox(world, login, which):
    me, owner = login(world), login(world, ALICE)
    name = world.name("Box", ALICE)
    me.ok("SUBSCRIBE", quote(name))
    me = login(world)  # one that has opened nothing yet
    me.ok("LIST", '""', '"*"')
    send(me, "n1 NOTIFY SET STATUS (" + which.format(name)
         + " (MessageNew MessageExpunge)) (selected (MessageNew MessageExpunge))")
    first = wait_for(me, "^n1 ")
    assert first[-1].startswith("n1 OK"), first
    assert any("STATUS" in line and name in line for line in first), first
    owner.client.append("Box", "", None, b"Subject: new\r\n\r\nText.\r\n")
    wait_for(me, rf"\* STATUS .*{re.escape(name)}.*MESSAGES")
    me.ok("UNSUBSCRIBE", quote(name))


def test_idle_tells_of_a_shared_mailbox(world, login):
    me, owner = login(world), login(world, ALICE)
    me.ok("SELECT", quote(world.name("Box", ALICE)))
    send(me, "i1 IDLE")
    wait_for(me, r"^\+ ")
    owner.client.append("Box", "", None, b"Subject: new\r\n\r\nText.\r\n")
    wait_for(me, r"^\* \d+ EXISTS", 35)
    send(me, "DONE")
    wait_for(me, "^i1 OK")
