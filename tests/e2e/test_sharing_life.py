"""Where grants go when mailboxes are renamed, deleted and made again, by whoever may do it: they follow, or
vanish. Accounts, delivery and dsync are in test_sharing_accounts."""

import json
import time

import pytest

import dovecot
import sharing
from sharing import quote

OWNER, GUEST, OTHER = "owner@client1.com", "guest@company.com", "other@client2.com"
FORMATS = [("maildir", "/"), ("sdbox", "/"), ("maildir", "."), ("sdbox", ".")]


class Life:
    """One world, and mailboxes of the owner's that no other test has."""

    def __init__(self, world):
        self.world, self.count = world, 0

    def box(self, word="Box"):
        self.count += 1
        return f"{word}{self.count}"

    def name(self, mailbox, owner=None):
        return self.world.name(mailbox, owner)

    def grants(self):
        """{mailbox: {who: rights}} as homingctl reads them, and no fault in the file."""
        assert self.world.homing.ctl("share", "verify").stdout == ""
        found = {}
        for row in json.loads(self.world.ctl("share", "list", OWNER, "--json").stdout):
            given = found.setdefault(row["mailbox"], {})
            for half, sign in (("rights", ""), ("negative", "-")):
                if row[half] is not None:
                    given[sign + row["who"]] = row[half]
        return found


@pytest.fixture(scope="module", params=FORMATS, ids=lambda p: "".join(p))
def life(request, top):
    driver, separator = request.param
    world = sharing.World(top / f"life-{driver}{'dot' if separator == '.' else ''}", driver=driver,
                          separator=separator)
    for name in (OWNER, GUEST, OTHER):
        world.account(name)
    with world.server:
        yield Life(world)
    log = world.server.log()
    assert "Panic" not in log and "killed with signal" not in log


@pytest.fixture
def sessions(life):
    with life.world.session(OWNER) as owner, life.world.session(GUEST) as guest, \
            life.world.session(OTHER) as other:
        yield owner, guest, other


def create(life, session, name, who=None, rights=""):
    session.ok("CREATE", quote(life.name(name)))
    if who:
        session.ok("SETACL", quote(life.name(name)), who, rights)
    return name


def seen(life, session, mailbox):
    """The rights without `c` and `d`; None where it is not for this user. What is listed and what opens
    must agree with them."""
    name = life.name(mailbox, OWNER)
    rights = session.rights(name)
    letters = set(rights or "") - set("cd")
    assert (name in session.names("*")) == ("l" in letters), (mailbox, rights)
    assert (session.select(name)[0] == "OK") == ("r" in letters), (mailbox, rights)
    session.client.state = "AUTH"
    return None if rights is None else "".join(letter for letter in "lrwstipekxa" if letter in letters)


def gone(life, session, mailbox):
    """Where a grant on the whole account says what may be done with any name."""
    name = life.name(mailbox, OWNER)
    return name not in session.names("*") and session.select(name)[0] == "NO"


# Renaming


def family(life, owner, guest, other):
    """A mailbox with grants, a child and a grandchild with others, and a neighbour whose name begins as its."""
    top = create(life, owner, life.box(), guest.user, "lr")
    create(life, owner, f"{top}/Child", guest.user, "lrs")
    create(life, owner, f"{top}/Child/Grand", guest.user, "lrw")
    owner.ok("SETACL", quote(life.name(f"{top}/Child/Grand")), "-" + other.user, "r")
    create(life, owner, f"{top}x", guest.user, "lri")
    # the child has its parent's as well, and the guest's own is replaced
    return top


def check_family(life, guest, top, neighbour):
    assert seen(life, guest, top) == "lr"
    assert seen(life, guest, f"{top}/Child") == "lrs"
    assert seen(life, guest, f"{top}/Child/Grand") == "lrw"
    assert seen(life, guest, neighbour) == "lri"
    grants = life.grants()
    assert grants[f"{top}/Child/Grand"] == {GUEST: "lrw", f"-{OTHER}": "r"}


@pytest.mark.parametrize("new", ["{box}new", "Into{box}/Under", "Into{box}/A/B/C"])
def test_a_renamed_mailbox_takes_every_grant_of_it_and_below_it_along(life, sessions, new):
    owner, guest, other = sessions
    top = family(life, owner, guest, other)
    before = life.grants()
    new = new.format(box=top)
    if "/" in new:
        # the new parent's grants are not given to what comes from elsewhere
        create(life, owner, new.split("/")[0], other.user, "lr")
    assert seen(life, guest, top) == "lr"  # the session has seen the old name
    owner.ok("RENAME", quote(life.name(top)), quote(life.name(new)))
    check_family(life, guest, new, f"{top}x")
    for old in (top, f"{top}/Child", f"{top}/Child/Grand"):
        assert seen(life, guest, old) is None
    assert seen(life, other, new) is None
    after = life.grants()
    assert {name: grants for name, grants in after.items() if name.startswith(f"{new}")} == {
        new + name[len(top):]: grants for name, grants in before.items()
        if name == top or name.startswith(f"{top}/")}
    # what is made under the old names has nothing of it
    for name in (top, f"{top}/Child"):
        create(life, owner, name)
        assert seen(life, guest, name) is None
    # and back, over what is no longer there
    owner.ok("DELETE", quote(life.name(f"{top}/Child")))
    owner.ok("DELETE", quote(life.name(top)))
    owner.ok("RENAME", quote(life.name(new)), quote(life.name(top)))
    check_family(life, guest, top, f"{top}x")


def test_a_child_leaves_its_parent_with_its_own_grants_alone(life, sessions):
    owner, guest, other = sessions
    top = create(life, owner, life.box(), guest.user, "lr")
    create(life, owner, f"{top}/Child", other.user, "lrs")
    owner.ok("DELETEACL", quote(life.name(f"{top}/Child")), guest.user)
    new = life.box("Free")
    owner.ok("RENAME", quote(life.name(f"{top}/Child")), quote(life.name(new)))
    assert (seen(life, guest, new), seen(life, other, new)) == (None, "lrs")
    assert (seen(life, guest, top), seen(life, other, top)) == ("lr", None)


def test_two_mailboxes_change_places(life, sessions):
    owner, guest, other = sessions
    one = create(life, owner, life.box("One"), guest.user, "lr")
    two = create(life, owner, life.box("Two"), other.user, "lrw")
    third = life.box("Third")
    for old, new in ((one, third), (two, one), (third, two)):
        owner.ok("RENAME", quote(life.name(old)), quote(life.name(new)))
    assert (seen(life, guest, one), seen(life, other, one)) == (None, "lrw")
    assert (seen(life, guest, two), seen(life, other, two)) == ("lr", None)


def test_a_rename_that_is_refused_moves_no_grant(life, sessions):
    owner, guest, other = sessions
    one = create(life, owner, life.box(), guest.user, "lr")
    two = create(life, owner, life.box(), other.user, "lrw")
    owner.append("INBOX")  # so that it is there: sdbox renames to one that is not
    before = life.grants()
    owner.no("RENAME", quote(life.name(one)), quote(life.name(two)))
    owner.no("RENAME", quote(life.name(one)), quote(life.name(f"{one}/Below")))
    owner.no("RENAME", quote(life.name(one)), "INBOX")
    owner.no("RENAME", quote(life.name("NotThere")), quote(life.name(life.box())))
    guest.no("RENAME", quote(life.name(one, OWNER)), quote(life.name(life.box(), OWNER)))
    guest.no("RENAME", quote(life.name(one, OWNER)), quote(life.name(life.box())))
    assert life.grants() == before
    assert (seen(life, guest, one), seen(life, other, two)) == ("lr", "lrw")


def test_a_guest_renames_with_x_and_k_on_the_new_parent(life, sessions):
    owner, guest, other = sessions
    box = create(life, owner, life.box(), guest.user, "lrx")
    create(life, owner, f"{box}/Child", guest.user, "lr")
    owner.ok("SETACL", quote(life.name(box)), other.user, "lrs")
    target = create(life, owner, life.box("Target"), guest.user, "l")
    owner.ok("SETACL", quote(life.name(target)), other.user, "lr")

    def rename(to):
        return guest.command("RENAME", quote(life.name(box, OWNER)), quote(life.name(to, OWNER)))[0]

    assert rename(f"{target}/Moved") == "NO"
    owner.ok("SETACL", quote(life.name(target)), guest.user, "lk")
    owner.ok("SETACL", quote(life.name(box)), guest.user, "lr")
    assert rename(f"{target}/Moved") == "NO"
    owner.ok("SETACL", quote(life.name(box)), guest.user, "lrx")
    assert rename(f"{target}/Moved") == "OK"
    assert seen(life, guest, f"{target}/Moved") == "lrx"
    assert seen(life, other, f"{target}/Moved") == "lrs"
    assert seen(life, guest, f"{target}/Moved/Child") == "lr"
    assert seen(life, guest, box) is None
    # to where none is given: beside the INBOX
    assert guest.command("RENAME", quote(life.name(f"{target}/Moved", OWNER)),
                         quote(life.name(box, OWNER)))[0] == "NO"


def test_the_inboxs_grants_stay_with_its_messages(life, sessions):
    """Where the format renames an INBOX, there is a new one that nobody else may see."""
    owner, guest, _ = sessions
    owner.append("INBOX")
    owner.ok("SETACL", "INBOX", guest.user, "lrs")
    new = life.box("WasInbox")
    status, text, _ = owner.command("RENAME", "INBOX", quote(life.name(new)))
    if status == "NO":
        assert "INBOX" in text
        assert guest.rights(life.name("INBOX", OWNER)) == "lrs"
        owner.ok("DELETEACL", "INBOX", guest.user)
        return
    assert seen(life, guest, new) == "lrs"
    assert guest.rights(life.name("INBOX", OWNER)) is None
    assert owner.acl("INBOX").keys() <= {OWNER, "owner"}
    assert life.grants()[new] == {GUEST: "lrs"}


# Deletion


def test_deleted_and_made_again_it_has_no_old_rights(life, sessions):
    owner, guest, other = sessions
    box = create(life, owner, life.box(), guest.user, "lrx")
    owner.ok("SETACL", quote(life.name(box)), "-" + other.user, "l")
    assert seen(life, guest, box) == "lrx"
    owner.ok("DELETE", quote(life.name(box)))
    assert seen(life, guest, box) is None
    assert box not in life.grants()
    create(life, owner, box)
    assert seen(life, guest, box) is None
    assert box not in life.grants()


def test_a_child_outlives_its_parent_with_its_grants(life, sessions):
    owner, guest, _ = sessions
    box = create(life, owner, life.box(), guest.user, "lr")
    create(life, owner, f"{box}/Child", guest.user, "lrs")
    owner.ok("DELETE", quote(life.name(box)))
    assert box not in life.grants()
    assert seen(life, guest, f"{box}/Child") == "lrs"
    # without a grant of its own no parent is there to open, or to have rights on
    assert guest.select(life.name(box, OWNER))[0] == "NO"
    create(life, owner, box)
    assert seen(life, guest, box) is None


def test_a_guest_deletes_with_x_and_takes_all_grants_away(life, sessions):
    owner, guest, other = sessions
    box = create(life, owner, life.box(), guest.user, "lr")
    owner.ok("SETACL", quote(life.name(box)), other.user, "lr")
    guest.no("DELETE", quote(life.name(box, OWNER)))
    assert seen(life, other, box) == "lr"
    owner.ok("SETACL", quote(life.name(box)), guest.user, "lrx")
    guest.ok("DELETE", quote(life.name(box, OWNER)))
    assert seen(life, other, box) is None
    create(life, owner, box)
    assert seen(life, other, box) is None and box not in life.grants()


def test_a_deletion_that_is_refused_takes_no_grant(life, sessions):
    owner, guest, _ = sessions
    owner.ok("SETACL", "INBOX", guest.user, "lr")
    owner.no("DELETE", "INBOX")
    owner.no("DELETE", quote(life.name("NotThere")))
    assert life.grants()["INBOX"] == {GUEST: "lr"}
    owner.ok("DELETEACL", "INBOX", guest.user)


def test_what_was_deleted_while_it_was_open_gives_nothing_back(life, sessions):
    """A session that has it open goes on to nothing, and the new one is not for it."""
    owner, guest, _ = sessions
    box = create(life, owner, life.box(), guest.user, "lrwstipe")
    owner.append(life.name(box))
    assert guest.select(life.name(box, OWNER))[0] == "OK"
    owner.ok("DELETE", quote(life.name(box)))
    # Within one second Dovecot itself can take the new index for the old one.
    time.sleep(1.1)
    create(life, owner, box)
    owner.append(life.name(box), b"Subject: secret\r\n\r\nNot for guests.\r\n")
    for command in (("NOOP",), ("FETCH", "1:*", "(BODY.PEEK[])"), ("STORE", "1", "+FLAGS", "(\\Deleted)"),
                    ("EXPUNGE",)):
        try:
            _, _, answers = guest.command(*command)
        except guest.client.abort:
            break  # Dovecot ends the session: fine
        assert b"secret" not in repr(answers).encode(), answers
    if life.world.driver == "sdbox":
        # A session with the old index that looks at the new one ("indexid changed") has Dovecot begin the index
        # anew, without its messages: a fault of its own, with its own ACL backend as with ours.
        return
    with life.world.session(OWNER) as later:
        status, text, answers = later.select(life.name(box))
        assert status == "OK" and answers["EXISTS"] == [b"1"], text
        assert later.append(life.name(box))[0] == "OK"
    with life.world.session(GUEST) as again:
        assert seen(life, again, box) is None


@pytest.mark.parametrize("how", ["fetch", "copy", "search"])
def test_who_may_no_longer_read_reads_no_further_in_an_open_mailbox(life, sessions, how):
    """Dovecot asks once, when a mailbox is opened; files are opened later, and may be another mailbox's."""
    owner, guest, _ = sessions
    box, into = create(life, owner, life.box(), guest.user, "lrs"), life.box("Own")
    guest.ok("CREATE", quote(life.name(into)))
    for _ in range(2):
        owner.append(life.name(box), b"Subject: a\r\n\r\nNot for guests.\r\n")
    assert guest.select(life.name(box, OWNER))[0] == "OK"
    commands = {"fetch": ("FETCH", "{}", "(BODY.PEEK[])"), "copy": ("COPY", "{}", quote(life.name(into))),
                "search": ("SEARCH", "{}", "BODY", "guests")}[how]
    status, _, answers = guest.command(*(word.format(1) for word in commands))
    assert status == "OK" and (how != "fetch" or b"guests" in repr(answers).encode())
    owner.ok("DELETEACL", quote(life.name(box)), guest.user)
    try:
        status, text, answers = guest.command(*(word.format(2) for word in commands))
        assert status == "NO" and "guests" not in repr(answers) and answers.get("SEARCH", [b""]) == [b""], \
            (text, answers)
    except guest.client.abort:
        pass  # Dovecot's way of refusing a FETCH that it has begun to answer
    with life.world.session(GUEST) as later:
        assert later.select(life.name(into))[2]["EXISTS"] == [b"1" if how == "copy" else b"0"]


# doveadm


def test_doveadm_renames_and_deletes_as_the_owner_does(life, sessions):
    owner, guest, other = sessions
    top = family(life, owner, guest, other)
    new = life.box("Adm")

    def doveadm(*arguments):
        done = life.world.server.doveadm("mailbox", *arguments)
        assert done.returncode == 0, done.stderr

    doveadm("rename", "-u", OWNER, life.name(top), life.name(new))
    check_family(life, guest, new, f"{top}x")
    assert seen(life, guest, top) is None
    doveadm("delete", "-r", "-u", OWNER, life.name(new))
    for name in (new, f"{new}/Child", f"{new}/Child/Grand"):
        assert seen(life, guest, name) is None
    assert not [name for name in life.grants() if name.startswith(new)]
    doveadm("create", "-u", OWNER, life.name(new), life.name(f"{new}/Child"))
    assert seen(life, guest, f"{new}/Child") is None


def test_doveadm_in_the_name_of_a_guest_may_do_what_the_guest_may(life, sessions):
    owner, guest, _ = sessions
    box = create(life, owner, life.box(), guest.user, "lr")
    done = life.world.server.doveadm("mailbox", "delete", "-u", GUEST, life.name(box, OWNER))
    status = owner.command("STATUS", quote(life.name(box)), "(MESSAGES)")[0]
    # whatever Dovecot lets an administrator do, mailbox and grants stay or go together
    assert (done.returncode == 0) == (status == "NO"), done.stderr
    assert (box in life.grants()) == (status == "OK")


# Subscriptions


def test_a_subscription_of_a_shared_mailbox_follows_the_rights(life, sessions):
    owner, guest, other = sessions
    box = create(life, owner, life.box(), guest.user, "lr")
    name = life.name(box, OWNER)
    guest.ok("SUBSCRIBE", quote(name))
    assert name in guest.names("*", "LSUB")
    assert name not in owner.names("*", "LSUB") and life.name(box) not in owner.names("*", "LSUB")
    assert name not in other.names("*", "LSUB")
    with life.world.session(GUEST) as later:
        assert name in later.names("*", "LSUB")
    owner.ok("DELETEACL", quote(life.name(box)), guest.user)
    assert name not in guest.names("*", "LIST")
    hidden = name in guest.names("*", "LSUB")
    # as for a name that was subscribed and never was there for this user
    owner.ok("DELETE", quote(life.name(box)))
    assert (name in guest.names("*", "LSUB")) == hidden
    guest.ok("UNSUBSCRIBE", quote(name))
    assert name not in guest.names("*", "LSUB")


def test_a_subscription_can_be_taken_back_without_rights(life, sessions):
    owner, guest, _ = sessions
    box = create(life, owner, life.box(), guest.user, "lr")
    name = life.name(box, OWNER)
    guest.ok("SUBSCRIBE", quote(name))
    owner.ok("DELETEACL", quote(life.name(box)), guest.user)
    guest.ok("UNSUBSCRIBE", quote(name))
    owner.ok("SETACL", quote(life.name(box)), guest.user, "lr")
    assert name not in guest.names("*", "LSUB")


# Running sessions


def test_a_removed_member_has_nothing_at_the_next_command(life, sessions):
    owner, guest, _ = sessions
    group = f"{life.box('crew').lower()}@client1.com"
    life.world.ctl("group", "add", group, GUEST, OTHER)
    box = create(life, owner, life.box(), f"${group}", "lrwstipe")
    name = life.name(box, OWNER)
    owner.append(life.name(box))
    assert seen(life, guest, box) == "lrwstipe"
    assert guest.select(name)[0] == "OK"
    life.world.ctl("group", "remove", group, GUEST)
    # what it has open can be changed no more
    guest.command("STORE", "1", "+FLAGS", "(\\Flagged \\Deleted)")
    guest.command("EXPUNGE")
    assert guest.append(name)[0] == "NO"
    owner.select(life.name(box))
    assert owner.ok("FETCH", "1", "(FLAGS)")["FETCH"][0].find(b"Flagged") < 0
    assert seen(life, guest, box) is None
    with life.world.session(OTHER) as other:
        assert seen(life, other, box) == "lrwstipe"


@pytest.mark.parametrize("rights,allowed", [("lr", True), ("l", False), ("r", True), ("i", False)])
def test_a_change_of_rights_counts_at_the_next_command(life, sessions, rights, allowed):
    owner, guest, _ = sessions
    box = create(life, owner, life.box(), guest.user, "lrwstipekxa")
    name = life.name(box, OWNER)
    assert guest.select(name)[0] == "OK"
    owner.ok("SETACL", quote(life.name(box)), guest.user, rights)
    assert (guest.select(name)[0] == "OK") == allowed
    owner.ok("SETACL", quote(life.name(box)), guest.user, "lr")
    assert guest.select(name)[0] == "OK"


# Whole accounts


def test_a_whole_account_is_shared_with_what_is_made_later(life, sessions):
    owner, guest, _ = sessions
    box = create(life, owner, life.box())
    life.world.ctl("share", "grant", OWNER, "*", GUEST, "lr")
    try:
        later = create(life, owner, life.box("Later"))
        assert (seen(life, guest, box), seen(life, guest, later)) == ("lr", "lr")
        new = life.box("New")
        owner.ok("RENAME", quote(life.name(later)), quote(life.name(new)))
        assert seen(life, guest, new) == "lr" and gone(life, guest, later)
        owner.ok("DELETE", quote(life.name(new)))
        assert gone(life, guest, new)
        # its own grant goes with the mailbox; the account's counts for the new one
        owner.ok("SETACL", quote(life.name(box)), GUEST, "l")
        assert seen(life, guest, box) == "l"
        owner.ok("DELETE", quote(life.name(box)))
        create(life, owner, box)
        assert seen(life, guest, box) == "lr"
    finally:
        life.world.ctl("share", "revoke", OWNER, "*", GUEST)
    assert seen(life, guest, box) is None


# dsync


def test_dsync_to_another_format_leaves_the_grants_where_they_are(life, sessions):
    """The account is the same, so its grants are: the copy is another tree of the same names."""
    owner, guest, _ = sessions
    box = create(life, owner, life.box(), guest.user, "lr")
    owner.append(life.name(box))
    before = life.grants()
    other = "sdbox" if life.world.driver == "maildir" else "mdbox"
    copy = life.world.folder / f"copy{life.count}"
    copy.mkdir()
    sharing.os.chown(copy, sharing.UID, sharing.UID)
    done = life.world.server.doveadm("backup", "-u", OWNER, f"{other}:{copy}/mail")
    assert done.returncode in (0, 2), done.stderr
    assert life.grants() == before
    assert seen(life, guest, box) == "lr"
    if not dovecot.NEW:
        assert list(copy.rglob("dovecot*")), done.stderr
