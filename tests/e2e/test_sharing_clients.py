"""Mail programs that people have, on shared mailboxes: mbsync (isync), mutt, and Roundcube with its
acl plugin. The first two work beside Dovecot's own backend too, and must do the same there."""

import os
import re
import subprocess

import pytest

import dovecot
import roundcube
import sharing
from sharing import PASSWORD, quote
from terminal import Terminal

OWNER, GUEST, PEER = "owner@client1.com", "guest@client1.com", "peer@client2.com"
WORLDS = [("homing", "maildir", "/"), ("homing", "sdbox", "."), ("vfile", "maildir", "/")]
# mailbox: the guest's rights
BOXES = {"Read": "lr", "Read/Write": "lrwstei", "Post": "lrsi", "Secret": ""}


def message(subject):
    return (f"From: {OWNER}\r\nTo: {GUEST}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@client1.com>\r\n"
            f"Date: Wed, 25 Nov 2026 04:17:40 +0000\r\n\r\nThe text of {subject}.\r\n").encode()


class Office:
    """An owner's mailboxes with three messages each, and what the owner sees of them."""

    def __init__(self, folder, backend, driver, separator):
        self.folder, self.separator = folder, separator
        self.world = sharing.World(folder / "world", backend, driver, separator)
        sharing.add_accounts(self.world.homing, {
            OWNER: (), PEER: (), GUEST: ["staff@client1.com"]})
        self.world.server.start()
        self.owner = self.world.session(OWNER)
        self.number = 0

    def fill(self):
        """The mailboxes afresh, for each test; returns a folder for what a program keeps."""
        for box in sorted(BOXES, reverse=True):
            self.owner.command("DELETE", quote(self.world.name(box)))
        for box in BOXES:
            self.owner.ok("CREATE", quote(self.world.name(box)))
            for subject in ("one", "two", "three"):
                assert self.owner.append(self.world.name(box), message(subject))[0] == "OK"
        # then, because a new mailbox has its parent's grants
        for box, rights in BOXES.items():
            if rights:
                self.grant(box, rights)
        self.owner.ok("LIST", '""', '"*"')  # when vfile writes its dictionary
        self.number += 1
        folder = self.folder / f"client{self.number}"
        folder.mkdir()
        return folder

    def close(self):
        self.owner.close()
        self.world.server.stop()
        bad = [line for line in self.world.server.errors() if "Panic" in line or "Fatal" in line]
        assert not bad, bad

    def grant(self, box, rights):
        self.owner.ok("SETACL", quote(self.world.name(box)), GUEST, rights)

    def shared(self, box):
        return self.world.name(box, OWNER)

    def messages(self, box):
        """{subject: flags} as the owner sees them, without \\Recent."""
        self.owner.select(self.world.name(box), "EXAMINE")
        answers = self.owner.command("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[2]
        self.owner.ok("UNSELECT")
        self.owner.client.state = "AUTH"
        found = {}
        for answer in answers.get("FETCH", []):
            if isinstance(answer, tuple):
                flags = re.search(rb"FLAGS \((.*?)\)", answer[0]).group(1).decode().split()
                subject = re.search(rb"Subject: (\S+)", answer[1]).group(1).decode()
                found[subject] = set(flags) - {"\\Recent"}
        return found


@pytest.fixture(scope="module", params=WORLDS, ids=lambda world: "".join(world))
def office(request, top):
    folder = top / ("clients-" + "-".join(request.param[:2]))
    office = Office(folder, *request.param)
    yield office
    office.close()


class Mbsync:
    """A channel between the shared mailboxes and a Maildir."""

    def __init__(self, office, user=GUEST):
        self.office, self.folder = office, office.fill()
        self.near = self.folder / "mail"
        self.near.mkdir()
        # TLSType came with 1.5
        version = subprocess.run(["mbsync", "--version"], capture_output=True, text=True).stdout
        tls = "SSLType" if re.search(r" 1\.[0-4]", version) else "TLSType"
        (self.folder / "mbsyncrc").write_text(f"""
IMAPAccount server
Host {dovecot.IPS[0]}
Port {office.world.server.ports["imap"]}
User {user}
Pass {PASSWORD}
{tls} None
AuthMechs PLAIN LOGIN

IMAPStore far
Account server

MaildirStore near
Path {self.near}/
Inbox {self.near}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns "shared/*"
Create Near
Expunge Both
Sync All
SyncState *
""")

    def run(self, *arguments):
        return subprocess.run(["mbsync", "-c", self.folder / "mbsyncrc", *arguments, "all"],
                              capture_output=True, text=True, timeout=60,
                              env={**os.environ, "HOME": str(self.folder)})

    def ok(self, *arguments):
        done = self.run(*arguments)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done

    def box(self, name):
        """Its Maildir; mbsync has `/` between the parts of names."""
        return self.near / self.office.shared(name).replace(self.office.separator, "/")

    def copies(self, name):
        """{subject: path}"""
        paths = [path for folder in ("new", "cur") for path in (self.box(name) / folder).iterdir()]
        return {re.search(r"Subject: (\S+)", path.read_text()).group(1): path for path in paths}

    def mark(self, name, subject, flags):
        path = self.copies(name)[subject]
        path.rename(self.box(name) / "cur" / (path.name.split(":2,")[0] + ":2," + flags))

    def put(self, name, subject):
        (self.box(name) / "cur" / f"1795580000.{subject}.host:2,S").write_bytes(
            message(subject).replace(b"\r\n", b"\n"))


def test_mbsync_lists_what_is_shared_and_copies_it(office):
    mbsync = Mbsync(office)
    listed = mbsync.ok("--list").stdout.split()
    assert sorted(listed) == sorted(office.shared(box).replace(office.separator, "/")
                                    for box in ("Read", "Read/Write", "Post"))
    mbsync.ok()
    for box in ("Read", "Read/Write", "Post"):
        copies = mbsync.copies(box)
        assert set(copies) == {"one", "two", "three"}, box
        assert "The text of two." in copies["two"].read_text()
    assert not mbsync.box("Secret").exists()


def test_mbsync_takes_changes_both_ways(office):
    mbsync = Mbsync(office)
    mbsync.ok()
    mbsync.mark("Read/Write", "one", "FS")
    mbsync.mark("Read/Write", "two", "T")
    mbsync.put("Read/Write", "four")
    office.owner.append(office.world.name("Read/Write"), message("five"), "\\Answered")
    mbsync.ok()
    assert office.messages("Read/Write") == {
        "one": {"\\Flagged", "\\Seen"}, "three": set(), "four": {"\\Seen"}, "five": {"\\Answered"}}
    copies = mbsync.copies("Read/Write")
    assert set(copies) == {"one", "three", "four", "five"}
    assert copies["five"].name.endswith(":2,R")
    before = office.messages("Read/Write")
    mbsync.ok()
    assert office.messages("Read/Write") == before and set(mbsync.copies("Read/Write")) == set(copies)


def test_mbsync_changes_nothing_without_the_rights(office):
    mbsync = Mbsync(office)
    mbsync.ok()
    before = office.messages("Read")
    mbsync.mark("Read", "one", "FS")
    mbsync.mark("Read", "two", "T")
    mbsync.put("Read", "four")
    done = mbsync.run()
    assert "refuses to store" in done.stderr, (done.stdout, done.stderr)
    assert office.messages("Read") == before
    # and goes on copying what comes
    office.owner.append(office.world.name("Read"), message("five"))
    mbsync.run()
    assert "five" in mbsync.copies("Read")


def test_mbsync_puts_messages_where_it_may_insert_and_not_delete(office):
    mbsync = Mbsync(office)
    mbsync.ok()
    mbsync.mark("Post", "one", "S")
    mbsync.mark("Post", "two", "FT")
    mbsync.put("Post", "four")
    mbsync.run()
    assert office.messages("Post") == {"one": {"\\Seen"}, "two": set(), "three": set(),
                                       "four": {"\\Seen"}}


def test_mbsync_keeps_its_copies_of_what_is_shared_no_longer(office):
    if office.world.backend == "vfile":
        pytest.skip("stock takes half a minute, and a new process, to see a change")
    mbsync = Mbsync(office)
    mbsync.ok()
    office.owner.ok("DELETEACL", quote(office.world.name("Read/Write")), GUEST)
    mbsync.mark("Read/Write", "one", "T")
    done = mbsync.run()
    assert "Read/Write" in done.stderr and done.returncode != 0, (done.stdout, done.stderr)
    assert office.messages("Read/Write") == {"one": set(), "two": set(), "three": set()}
    assert "two" in mbsync.copies("Read/Write")


class Mutt(Terminal):
    """On the guest's INBOX. Its log has every IMAP command."""

    def __init__(self, office, user=GUEST):
        self.office, self.folder = office, office.fill()
        # By itself mutt takes `.` for a separator of mailboxes too: no mailbox of an address there.
        (self.folder / "muttrc").write_text(f"""
set imap_user="{user}" imap_pass="{PASSWORD}" imap_authenticators="login"
set folder="imap://{dovecot.IPS[0]}:{office.world.server.ports["imap"]}/" spoolfile="+INBOX"
set imap_delim_chars="{office.separator}" imap_list_subscribed=no header_cache=""
set record="" mbox="" postponed="" ssl_starttls=no ssl_force_tls=no
set confirmappend=no confirmcreate=no delete=yes quit=yes move=no wait_key=no mark_old=no
set sort=mailbox-order sort_browser=alpha timeout=1 sleep_time=0
""")
        super().__init__(["mutt", "-n", "-F", str(self.folder / "muttrc"), "-d", "2"],
                         {"HOME": str(self.folder), "TERM": "vt100", "LC_ALL": "C.UTF-8",
                          "PATH": os.environ["PATH"]})
        self.wait_for("INBOX [Msgs")

    def log(self):
        return (self.folder / ".muttdebug0").read_text(errors="replace")

    def open(self, box):
        self.press(f"c={self.office.shared(box)}\n")
        self.wait_for("Msgs:3")

    def quit(self):
        self.press("q")
        assert self.wait() == 0


def test_mutt_finds_what_is_shared_in_its_list_of_folders(office):
    with Mutt(office) as mutt:
        mutt.press("c?")
        mutt.wait_for("File mask")
        shared, owner = office.shared("INBOX").split(office.separator)
        assert f"{shared}{office.separator}" in mutt.shown
        mutt.press(f"/{shared}\n\n")
        mutt.wait_for(owner)
        mutt.press(f"/{owner[:5]}\n\n")
        shown = mutt.wait_for("Read")
        mutt.wait_for("Post")
        assert "Secret" not in shown
        mutt.press("/Post\n\n")
        mutt.wait_for("Msgs:3")
        mutt.quit()
    assert f'SELECT "{office.shared("Post")}"' in mutt.log()


def test_mutt_synchronises_a_shared_mailbox(office):
    with Mutt(office) as mutt:
        mutt.open("Read/Write")
        mutt.press("T~s one\n;F")
        mutt.wait_for("Flag:1")
        mutt.press("D~s two\n")
        mutt.wait_for("Del:1")
        mutt.press("$")
        mutt.wait_for("2 kept, 1 deleted")
        mutt.press(f"C={office.shared('Post')}\n")
        mutt.wait_for("message 1 to")  # "Copying" may be written over "Copy to mailbox"
        mutt.quit()
    assert office.messages("Read/Write") == {"one": {"\\Flagged"}, "three": set()}
    assert set(office.messages("Post")) == {"one", "two", "three"}
    with office.world.session(OWNER) as owner:
        owner.select(office.world.name("Post"))
        assert len(owner.ok("FETCH", "1:*", "(UID)")["FETCH"]) == 4


def test_mutt_opens_a_mailbox_read_only_where_it_may_only_read(office):
    with Mutt(office) as mutt:
        mutt.open("Read")
        mutt.press("d")
        mutt.wait_for("Mailbox is read-only")
        mutt.press("\n")
        mutt.wait_for("The text of")
        mutt.press("q")
        mutt.press(f"C={office.shared('Read')}\n")
        mutt.wait_for("Permission denied")
        mutt.quit()
    assert office.messages("Read") == {"one": set(), "two": set(), "three": set()}


def test_mutt_cannot_open_what_is_not_shared(office):
    with Mutt(office) as mutt:
        mutt.press(f"c={office.shared('Secret')}\n")
        mutt.wait_for("Mailbox doesn't exist")
        mutt.quit()


@pytest.fixture(scope="module")
def webmail(top):
    office = Office(top / "clients-webmail", "homing", "maildir", "/")
    office.world.homing.ctl("alias", "add", "visitor@client1.com", GUEST)
    sharing.usable(office.world.homing)
    with roundcube.Roundcube(office.folder / "roundcube",
                             office.world.server.ports["imap"]) as webmail:
        webmail.office = office
        yield webmail
    office.close()


def test_roundcube_shares_a_mailbox_and_takes_it_back(webmail):
    office = webmail.office
    office.fill()
    browser = webmail.login(OWNER, PASSWORD)
    assert browser.my_rights("Secret") == ["Full control"]
    assert browser.acl_table("Secret") == {}
    since = len(webmail.commands())
    for user, rights in ((GUEST, "lrs"), (PEER, "lrswite")):
        assert browser.save_acl("Secret", user, rights)[1] == "confirmation"
    assert browser.acl_table("Secret") == {GUEST: "lrs", PEER: "eilrstw"}
    assert office.world.session(GUEST).rights(office.shared("Secret")) == "lrs"
    assert browser.save_acl("Secret", GUEST, "lrswi", old="guest_client1_com")[1] == "confirmation"
    assert browser.acl_table("Secret") == {GUEST: "ilrsw", PEER: "eilrstw"}
    assert browser.delete_acl("Secret", GUEST, PEER)[1] == "confirmation"
    assert browser.acl_table("Secret") == {}
    assert office.world.session(GUEST).rights(office.shared("Secret")) is None
    wanted = ("GETACL", "SETACL", "DELETEACL", "MYRIGHTS")
    sent = [line for line in webmail.commands()[since:] if line.startswith(wanted)]
    show = ["MYRIGHTS Secret", "GETACL Secret"]
    assert sent == [f"SETACL Secret {GUEST} lrs", f"SETACL Secret {PEER} lrswite", *show,
                    f"SETACL Secret {GUEST} lrswi", *show,
                    f"DELETEACL Secret {GUEST}", f"DELETEACL Secret {PEER}", *show]


# what is typed: what the table shows after it; None: refused
TYPED = {
    "guest": GUEST,
    "visitor@client1.com": GUEST,  # an alias
    "guest@CLIENT1.com": GUEST,
    "peer@mail.client2.com": PEER,  # an alias of the domain
    "$staff": "$staff@client1.com",
    "$staff@client1.com": "$staff@client1.com",
    "anyone@client1.com": "anyone@client1.com",
    f"-{GUEST}": f"-{GUEST}",
    "nobody": None,
    "nobody@client1.com": None,
    "$nobody": None,
    "somebody@elsewhere.example": None,
    "anyone": None,
    "anonymous": None,
}


def test_roundcube_takes_each_kind_of_identifier(webmail):
    webmail.office.fill()
    browser = webmail.login(OWNER, PASSWORD)
    for typed, shown in TYPED.items():
        kind = browser.save_acl("Secret", typed, "lrs")[1]
        assert kind == ("confirmation" if shown else "error"), typed
        assert browser.acl_table("Secret") == ({shown: "lrs"} if shown else {}), typed
        if shown:  # and takes back what it shows, as the button sends it
            assert browser.delete_acl("Secret", shown)[1] == "confirmation", typed
    assert browser.acl_table("Secret") == {}


def test_roundcube_shows_shared_folders_with_their_rights(webmail):
    office = webmail.office
    office.fill()
    browser = webmail.login(GUEST, PASSWORD)
    folders = browser.folders()
    for box in ("Read", "Read/Write", "Post"):
        assert office.shared(box) in folders
    assert office.shared("Secret") not in folders
    assert set(browser.subjects(office.shared("Read"))) == {"one", "two", "three"}
    assert browser.my_rights(office.shared("Read")) == ["Lookup", "Read messages"]
    assert browser.acl_table(office.shared("Read")) is None
    assert browser.save_acl(office.shared("Read"), PEER, "lr")[1] == "error"
    assert office.owner.acl("Read").keys() == {OWNER, GUEST}


def test_roundcube_manages_anothers_mailbox_with_the_right_to(webmail):
    office = webmail.office
    office.fill()
    office.grant("Secret", "lra")
    browser = webmail.login(GUEST, PASSWORD)
    box = office.shared("Secret")
    # bare names are of the user's domain for Roundcube, which is the owner's here
    assert browser.save_acl(box, "$staff", "lrs")[1] == "confirmation"
    assert browser.save_acl(box, PEER, "lr")[1] == "confirmation"
    assert office.owner.acl("Secret")["$staff@client1.com"] == "lrs"
    assert office.owner.acl("Secret")[PEER] == "lr"
    table = browser.acl_table(box)
    assert table["$staff@client1.com"] == "lrs" and table[PEER] == "lr"
    assert browser.delete_acl(box, PEER)[1] == "confirmation"
    assert PEER not in office.owner.acl("Secret")


def test_roundcube_with_a_login_in_percent_form(webmail):
    webmail.office.fill()
    browser = webmail.login("owner%client1.com", PASSWORD)
    assert browser.save_acl("Secret", "guest", "lrs")[1] == "confirmation"
    assert webmail.office.owner.acl("Secret")[GUEST] == "lrs"


@pytest.mark.parametrize("box", ["Box", "with space", 'q"uote', "back\\slash", "per%cent", "a&-b"])
def test_roundcubes_imap_class_understands_every_answer(webmail, box):
    """LISTRIGHTS too, which its plugin has no use for."""
    owner = webmail.office.owner
    owner.command("DELETE", quote(box))
    owner.ok("CREATE", quote(box))
    calls = webmail.call(OWNER, PASSWORD, ["setACL", box, GUEST, "lrs"],
                         ["setACL", box, "$staff", ["l", "r"]], ["getACL", box],
                         ["listRights", box, GUEST], ["myRights", box],
                         ["deleteACL", box, "$staff@client1.com"], ["getACL", box],
                         ["setACL", box, "nobody@client1.com", "lrs"])
    answers = [answer for answer, _ in calls]
    assert answers[:2] == [True, True], calls
    assert {who: "".join(sorted(set(rights) - set("cd"))) for who, rights in answers[2].items()} == {
        OWNER: "aeiklprstwx", GUEST: "lrs", "$staff@client1.com": "lr"}
    assert "".join(sorted("".join(answers[3]["optional"]))) >= "a", calls
    assert set("lrswipktexa") <= set(answers[4])
    assert answers[5] is True
    assert set(answers[6]) == {OWNER, GUEST}
    assert answers[7] is False and "nobody@client1.com" in calls[7][1]
