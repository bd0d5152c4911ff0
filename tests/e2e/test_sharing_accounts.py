"""What becomes of grants when accounts are renamed and deleted, when delivery makes mailboxes, and what a
session that waits is told."""

import json
import shutil

import pytest

import sharing
from sharing import quote


class Place:
    """A world, and fresh accounts in it."""

    def __init__(self, world):
        self.world, self.count = world, 0

    def account(self, name, domain="client1.com"):
        self.count += 1
        return self.world.account(f"{name}{self.count}@{domain}")

    def share(self, owner, box, guest, rights="lrwstipekx"):
        with self.world.session(owner) as session:
            session.ok("CREATE", quote(box))
            session.append(box)
            session.ok("SETACL", quote(box), guest, rights)

    def grants(self, *arguments):
        rows = json.loads(self.world.ctl("share", "list", *arguments, "--json").stdout)
        return {(row["owner"], row["mailbox"], row["who"]) for row in rows}


@pytest.fixture(scope="module")
def place_(top):
    world = sharing.World(top / "accounts", settings={
        "lda_mailbox_autocreate": "yes", "lmtp_save_to_detail_mailbox": "yes"})
    with world.server:
        yield Place(world)


def test_a_renamed_account_keeps_what_it_gave_and_received(place_):
    world = place_.world
    owner, guest = place_.account("owner"), place_.account("guest", "company.com")
    place_.share(owner, "Box", guest)
    place_.share(guest, "Other", owner)
    with world.session(guest) as session:
        assert world.name("Box", owner) in session.names("*")
        world.ctl("account", "rename", owner, "new-" + owner)
        # a session that is running sees it at the next command
        names = session.names("*")
        assert world.name("Box", "new-" + owner) in names and world.name("Box", owner) not in names
        assert session.rights(world.name("Box", owner)) is None
        assert session.rights(world.name("Box", "new-" + owner)) == "".join(sorted("lrwstipekxcd"))
    assert place_.grants("new-" + owner) == {("new-" + owner, "Box", guest)}
    assert place_.grants(guest) == {(guest, "Other", "new-" + owner)}


def test_a_deleted_account_takes_its_grants_along_and_leaves_none_to_its_heir(place_):
    world = place_.world
    owner, guest = place_.account("owner"), place_.account("guest", "company.com")
    place_.share(owner, "Box", guest)
    place_.share(guest, "Other", owner)
    watcher = place_.account("watcher")
    place_.share(owner, "Watched", watcher)
    with world.session(watcher) as session:
        assert world.name("Watched", owner) in session.names("*")
        world.ctl("account", "delete", owner)
        assert world.name("Watched", owner) not in session.names("*")
        assert session.rights(world.name("Watched", owner)) is None
    assert not place_.grants(guest)
    # the mail is still on disk: whoever gets the name gets no grants with it
    world.account(owner)
    assert not place_.grants(owner)
    with world.session(guest) as session:
        assert session.rights(world.name("Box", owner)) is None
    with world.session(owner) as session:
        assert session.names(world.name("*", guest)) == []
    assert world.homing.ctl("share", "verify").stdout == ""


def test_mailboxes_that_delivery_makes_have_their_parents_grants(place_):
    world = place_.world
    owner, guest = place_.account("owner"), place_.account("guest", "company.com")
    with world.session(owner) as session:
        session.ok("CREATE", "Lists")
        session.ok("SETACL", "Lists", guest, "lr")
    local, domain = owner.split("@")
    world.server.deliver(f"{local}+Lists/dovecot@{domain}", "made by delivery")
    world.server.deliver(f"{local}+Alone@{domain}", "made by delivery")
    with world.session(guest) as session:
        names = session.names("*")
        assert world.name("Lists/dovecot", owner) in names
        assert world.name("Alone", owner) not in names
        status, _, answers = session.select(world.name("Lists/dovecot", owner))
        assert status == "OK" and answers["EXISTS"] == [b"1"]


def test_delivery_makes_no_old_rights_live_again(place_):
    world = place_.world
    owner, guest = place_.account("owner"), place_.account("guest", "company.com")
    place_.share(owner, "Gone", guest)
    # somebody takes the folder away without Dovecot
    root = world.root(owner)
    shutil.rmtree(root / ".Gone")
    local, domain = owner.split("@")
    world.server.deliver(f"{local}+Gone@{domain}", "for the owner's eyes")
    with world.session(guest) as session:
        assert session.rights(world.name("Gone", owner)) is None
    assert not place_.grants(owner)


@pytest.mark.parametrize("command", ["IDLE", "NOTIFY"])
def test_a_waiting_session_is_told_of_mail_in_a_shared_mailbox(place_, command):
    world = place_.world
    owner, guest = place_.account("owner"), place_.account("guest", "company.com")
    place_.share(owner, "Box", guest, "lr")
    with world.session(guest) as session:
        client = session.client
        shared = world.name("Box", owner)
        if command == "IDLE":
            session.select(shared)
            client.send(b"x1 IDLE\r\n")
            assert client.readline().startswith(b"+")
        else:
            session.ok("NOTIFY", "SET", f"(mailboxes {quote(shared)} (MessageNew MessageExpunge))")
        with world.session(owner) as other:
            other.append("Box")
        client.sock.settimeout(20)
        line = client.readline()
        wanted = b"* 2 EXISTS" if command == "IDLE" else b"* STATUS "
        while not line.startswith(wanted):
            line = client.readline()
        if command == "NOTIFY":
            assert shared.encode() in line


def test_dsync_takes_grants_to_another_server(place_, top, start):
    """doveadm backup of an account into an empty one of another server with Homing."""
    world = place_.world
    owner, guest = place_.account("owner"), place_.account("guest", "company.com")
    place_.share(owner, "Box", guest, "lrs")
    other = sharing.World(top / "dsync")
    start(other.server)
    for name in (owner, guest):
        other.account(name)
    done = world.server.doveadm("backup", "-u", owner, "env", "-i", "PATH=/usr/bin:/bin", "doveadm",
                                "-c", str(other.server.config), "dsync-server", "-u", owner)
    assert done.returncode == 0, done.stderr
    with other.session(owner) as session:
        assert "Box" in session.names("*")
        print(session.acl("Box"))
        assert session.acl("Box")[guest] == "lrs"
    with other.session(guest) as session:
        assert session.select(other.name("Box", owner))[0] == "OK"


def test_rights_of_a_session_end_with_its_groups_deletion(place_):
    world = place_.world
    owner, guest = place_.account("owner"), place_.account("guest")
    world.ctl("group", "add", "crew@client1.com", guest)
    place_.share(owner, "Box", "$crew", "lr")
    with world.session(guest) as session:
        assert session.select(world.name("Box", owner))[0] == "OK"
        world.ctl("group", "delete", "crew@client1.com")
        assert session.select(world.name("Box", owner))[0] == "NO"
        assert session.command("STATUS", quote(world.name("Box", owner)), "(MESSAGES)")[0] == "NO"
        assert world.name("Box", owner) not in session.names("*")
    assert not place_.grants(owner)
