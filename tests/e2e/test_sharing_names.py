"""A mailbox name with every awkward character can be shared, listed, opened and renamed by whom it is
shared with, whatever the format and the separator."""

import json

import pytest

import sharing
from sharing import quote, utf7

OWNER, GUEST = "owner@client1.com", "guest@company.com"
NAMES = [
    "per%cent", "%", "st*ar", "*", "amp&er&sand", "&", "ti~lde", "~", "~user@domain", 'quo"te', '"',
    "back\\slash", "\\", "(paren)", "{3}", "[bracket]", "^caret", "#hash", "$dollar", "!bang", "-minus",
    "+plus", "a,b;c:d", "what?", "i=j", "pipe|`tick`", "two  spaces", " leading", "trailing ",
    "\u00fcml\u00e4ut", "\u65e5\u672c\u8a9e", "\U0001f600 smile", "e\u0301 decomposed", "\u00e9",
    "shared", "owner@client1.com", "INBOX2", "nil", "NIL", "x" * 200,
    "\u00fc" * 60, "user@domain", "anyone", "public:x",
]
DEEP = "/".join(f"level{n}" for n in range(30))
LONG = "/".join(["y" * 120, "z" * 120])


@pytest.fixture(scope="module", params=[("maildir", "/"), ("sdbox", "/"), ("maildir", "."),
                                        ("sdbox", ".")], ids=lambda p: "".join(p))
def world(request, top):
    driver, separator = request.param
    folder = top / f"names-{driver}{'dot' if separator == '.' else ''}"
    world = sharing.World(folder, driver=driver, separator=separator)
    for name in (OWNER, GUEST):
        world.account(name)
    with world.server:
        yield world


def typed(world, name, owner=None):
    return quote(utf7(world.name(name, owner)))


def can_be_made(world, owner, name):
    """Not every format takes every name; that is Dovecot's to say."""
    status, text, _ = owner.command("CREATE", typed(world, name))
    assert status in ("OK", "NO"), (name, text)
    return status == "OK"


def test_every_name_can_be_shared_listed_opened_and_renamed(world):
    made, refused = [], []
    with world.session(OWNER) as owner, world.session(GUEST) as guest:
        for name in [*NAMES, DEEP, LONG]:
            if not can_be_made(world, owner, name):
                refused.append(name)
                continue
            made.append(name)
            assert owner.append(utf7(world.name(name)))[0] == "OK", name
            owner.ok("SETACL", typed(world, name), GUEST, "lrwstipekx")
            shown = utf7(world.name(name, OWNER))
            assert shown in guest.names("*"), name
            assert guest.rights(shown) is not None, name
            status, text, answers = guest.select(shown)
            assert status == "OK" and answers["EXISTS"] == [b"1"], (name, text)
            guest.ok("UNSELECT")
            guest.client.state = "AUTH"
            assert set(owner.acl(utf7(world.name(name)))) >= {GUEST}, name
        # names that some format does not take: `.` or `/` at odds with the folders, INBOX twice
        assert len(refused) <= 6, refused
        assert {"per%cent", "st*ar", "amp&er&sand", 'quo"te', "back\\slash", "\u65e5\u672c\u8a9e", DEEP,
                LONG} <= set(made), refused
        listed = guest.names("*")
        assert len(listed) == len(set(listed))
    rename_all(world, made)


def rename_all(world, names):
    """By the guest, who needs `k` where the new name is: below a mailbox of the owner's."""
    with world.session(OWNER) as owner, world.session(GUEST) as guest:
        owner.ok("CREATE", quote("Target"))
        owner.ok("SETACL", quote("Target"), GUEST, "k")
        for name in names:
            new = f"Target/{name}"
            status, text, _ = guest.command("RENAME", typed(world, name, OWNER),
                                            typed(world, new, OWNER))
            assert status == "OK", (name, text)
            assert utf7(world.name(new, OWNER)) in guest.names("*"), name
            assert utf7(world.name(name, OWNER)) not in guest.names("*"), name
            assert guest.select(utf7(world.name(new, OWNER)))[0] == "OK", name
            guest.ok("UNSELECT")
            guest.client.state = "AUTH"


def test_homingctl_names_them_as_the_owner_sees_them(world):
    """The listing names what can be named, and what it names can be granted and revoked."""
    made = set()
    with world.session(OWNER) as owner:
        for name in (f"Listed/{name}" for name in [*NAMES, DEEP]):
            if can_be_made(world, owner, name):
                owner.ok("SETACL", typed(world, name), GUEST, "lr")
                made.add(name.replace(world.separator, "/"))

    def listed():
        rows = json.loads(world.ctl("share", "list", OWNER, "--json").stdout)
        return {row["mailbox"] for row in rows if row["mailbox"].startswith("Listed")}

    mailboxes = listed()
    assert {"Listed/per%cent", f"Listed/{DEEP}"} <= mailboxes
    named = {mailbox for mailbox in mailboxes if "\\x2f" not in mailbox}
    assert named <= made, named - made
    assert len(made - named) <= 8, made - named
    for mailbox in sorted(named):
        world.homing.ctl("share", "revoke", OWNER, mailbox, GUEST)
    sharing.usable(world.homing)
    assert listed() == mailboxes - named
    assert world.homing.ctl("share", "verify").stdout == ""
