"""What comes from strangers stays what it is: in logs, in answers, in what others run as root.
SECURITY.md has the boundaries, and names the test of each."""

import os
import poplib
import re
import smtplib
import socket
import subprocess
from pathlib import Path

import pytest

import dovecot
import sharing
from homing import ACCOUNTS, HOMINGCTL, tell_story
from postfix import Mail
from test_refusals import WRONG

FORGED = "imap(root): Error: forged"
# Line ends, what steers terminals, what turns text around, and bytes that are no UTF-8.
EVIL = (b"x\r\n* OK forged\r\n" + FORGED.encode() + b"\n\x1b[2J\x7f\xc2\x85\xe2\x80\xa8"
        b"\xe2\x80\xae\xe2\x81\xa6\xff")
# At the start of each line that Dovecot writes.
STAMPED = re.compile(r"(\w{3} \d\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d) ")


def is_clean(text):
    """None of EVIL is in it but as what can be printed."""
    return not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufffd]", text)


def literal(data):
    return b"{%d+}\r\n%s" % (len(data), data)


class RawImap:
    """Lines as they come: imaplib would take what is forged for an answer."""

    def __init__(self, server, user):
        self.socket = socket.create_connection((dovecot.IPS[0], server.ports["imap"]), 20)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        answers = self.command(f'LOGIN {user} "{sharing.PASSWORD}"'.encode())
        assert answers[-1].startswith(b"t OK"), answers

    def command(self, command):
        """The lines of its answers, and no other ones: those until NOOP's."""
        self.socket.sendall(b"t " + command + b"\r\nn NOOP\r\n")
        lines = []
        while not (lines and lines[-1].startswith(b"n ")):
            lines.append(self.file.readline())
            assert lines[-1].endswith(b"\r\n"), lines
        return lines[:-1]

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture(scope="module")
def shared(top):
    world = sharing.World(top / "security-sharing")
    world.account("info@client1.com")
    world.account("bob@client1.com")
    with world.server:
        yield world


@pytest.mark.parametrize("command, front", [
    (b"SETACL Box %s lr", b""), (b"SETACL Box %s lr", b"-"), (b"SETACL Box %s lr", b"$"),
    (b"SETACL Box %s lr", b"anyone@"), (b"SETACL Box bob %s", b""), (b"DELETEACL Box %s", b""),
])
def test_an_identifier_begins_no_line_of_imap_or_of_the_log(shared, command, front):
    """An IMAP literal may hold line ends; SETACL's answers and the log repeat the identifier."""
    client = RawImap(shared.server, "info@client1.com")
    client.command(b"CREATE Box")
    since = len(shared.server.log())
    for evil in (EVIL, EVIL * 100):
        lines = client.command(command % literal(front + evil))
        assert len(lines) == 1 and re.match(rb"t (NO|BAD) ", lines[0]), lines
        assert is_clean(lines[0].decode(errors="replace").removesuffix("\r\n")), lines
    client.close()
    log = shared.server.log()[since:]
    assert is_clean(log), repr(log)
    for line in log.splitlines():
        assert STAMPED.match(line) and not line.split(" ", 3)[-1].startswith(FORGED), line


# Folders of users, in which root works for an administrator

OWNER, EVE = "sales@client1.com", "eve@company.com"
OWNER_UID, OTHER_UID = 5001, 5002


@pytest.fixture
def owners(place):
    """A directory in which the owner shares the INBOX, and the folders of two users."""
    homing = sharing.directory(place / "own")
    sharing.add_accounts(homing, [OWNER, EVE])
    homing.ctl("share", "grant", OWNER, "INBOX", EVE, "lr")
    for name, uid in (("owner", OWNER_UID), ("other", OTHER_UID)):
        maildir = place / name / "Maildir"
        for folder in ("cur", "new", "tmp"):
            (maildir / folder).mkdir(parents=True)
        for path in [place / name, maildir, *maildir.iterdir()]:
            os.chown(path, uid, uid)
    return homing


def listed(place, folder):
    path = place / "list"
    path.write_text(f"{OWNER}\t{folder}\n")
    return str(path)


def acl_files(place):
    return [str(path.relative_to(place)) for path in place.rglob("dovecot-acl")]


@pytest.mark.parametrize("command", ["export-vfile", "import-vfile"])
def test_no_link_of_a_user_leads_root_into_the_mail_of_another(owners, place, command):
    """Who gets the list's folder to be somebody else's would share their mail with whom one likes."""
    link = place / "owner" / "mail"
    link.symlink_to(place / "other")
    os.chown(link, OWNER_UID, OWNER_UID, follow_symlinks=False)
    for folder in (link / "Maildir", link / "Maildir/"):
        done = owners.ctl("share", command, listed(place, folder), check=False)
        assert done.returncode == 74 and "a symbolic link on the way is a user's own" in done.stderr
    assert acl_files(place) == []
    link.unlink()
    (place / "owner" / "Maildir").rename(place / "owner" / "away")
    (place / "owner" / "Maildir").symlink_to(place / "other" / "Maildir")
    os.chown(place / "owner" / "Maildir", OWNER_UID, OWNER_UID, follow_symlinks=False)
    done = owners.ctl("share", command, listed(place, place / "owner" / "Maildir"), check=False)
    assert done.returncode == 74 and acl_files(place) == []


def test_links_of_root_lead_to_the_mail_and_files_belong_to_its_owner(owners, place):
    (place / "first").symlink_to("owner/../second")
    (place / "second").symlink_to(place)
    (place / "loop").symlink_to("loop")
    owners.ctl("share", "export-vfile", listed(place, f"{place}/first/./owner//Maildir/"))
    assert acl_files(place) == ["owner/Maildir/dovecot-acl"]
    status = (place / "owner/Maildir/dovecot-acl").stat()
    assert (status.st_uid, status.st_gid) == (OWNER_UID, OWNER_UID)
    assert owners.ctl("share", "import-vfile", listed(place, place / "loop"), check=False).returncode == 74
    assert owners.ctl("share", "import-vfile", listed(place, place / "none"), check=False).returncode == 66


def test_root_writes_with_no_right_that_the_folders_owner_has_not(owners, place):
    """Neither its own nor that of the groups that it happens to be in."""
    maildir, group = place / "owner" / "Maildir", 6001
    folder = maildir / ".Box"
    (folder / "cur").mkdir(parents=True)
    os.chown(folder, 0, group)
    folder.chmod(0o775)
    owners.ctl("share", "grant", OWNER, "Box", EVE, "lr")
    arguments = ("share", "export-vfile", listed(place, maildir))
    done = subprocess.run(["setpriv", "--groups", f"0,{group}", HOMINGCTL, "--directory", owners.path,
                           *arguments], capture_output=True, text=True)
    assert done.returncode != 0 and ".Box/dovecot-acl" in done.stderr and "Permission denied" in done.stderr, done
    assert not (folder / "dovecot-acl").exists()


def test_a_file_of_a_user_takes_no_more_than_its_share_of_memory(owners, place):
    """They can be of any size and kind."""
    maildir = place / "owner" / "Maildir"
    for name, size in (("dovecot-acl", 2 << 20), ("dovecot-acl-list", 20 << 20)):
        with open(maildir / name, "wb") as file:
            file.truncate(size)
    done = owners.ctl("share", "import-vfile", listed(place, maildir), check=False)
    assert done.returncode == 65 and done.stderr.count("File too large") == 2, done.stderr
    for name in ("dovecot-acl", "dovecot-acl-list"):
        (maildir / name).unlink()
        os.mkfifo(maildir / name)
    done = owners.ctl("share", "import-vfile", listed(place, maildir), check=False)
    assert "0 grants in 0 files" in done.stdout


# What an administrator's shell is given

TOP = Path(__file__).resolve().parents[2]


def completed(line, path):
    """What TAB makes of the line."""
    script = ('source "$1"; COMP_LINE=$2 COMP_POINT=${#2}; _homingctl; '
              '[ ${#COMPREPLY[@]} = 0 ] || printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", script, "bash", str(TOP / "packaging/homingctl.bash-completion"), line],
                          capture_output=True, text=True, env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}"})
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("command", ["account show", "group add", "alias delete", "share grant",
                                     "account add x@y --group"])
def test_completion_runs_nothing_that_is_in_a_name(place, command):
    names = ["a$(touch owned)", "a`touch owned`", "a;touch owned", "a'b", "a{b}", "a*", "a b"]
    listing = place / "homingctl"
    listing.write_text("#!/bin/sh\ncat <<'END'\n" + "".join(f"{name}@x.example\n" for name in names) + "END\n")
    listing.chmod(0o755)
    offered = completed(f"homingctl {command} a", place)
    assert len(offered) == len(names)
    said = subprocess.run(["bash", "-c", "printf '%s\\n' " + " ".join(offered)], cwd=place,
                          capture_output=True, text=True).stdout
    assert said.splitlines() == [f"{name}@x.example" for name in names]
    assert not (place / "owned").exists() and not Path("owned").exists()


def test_completion_offers_the_names_of_the_directory(place):
    homing = sharing.directory(place / "own")
    sharing.add_accounts(homing, [OWNER, "o'brien@client1.com"])
    path, directory = Path(HOMINGCTL).parent, homing.path
    assert completed(f"homingctl -d {directory} account show o", path) == ["o\\'brien@client1.com"]
    assert completed(f"homingctl -d {directory} account show sales@c", path) == [OWNER.partition("@")[2]]


MAIN_CF = """compatibility_level = 3.6
queue_directory = {place}/q
mail_owner = postfix
mydestination = $myhostname, x'$$(>owned)'`>owned`y"z, localhost
smtpd_relay_restrictions = check_client_access hash:/a'$$(>owned);>owned
   defer_unauth_destination
virtual_alias_maps = hash:/x';>owned;'
header_checks = regexp:{{{{/^a'$$(>owned)/ REJECT}}}}
transport_maps = hash:/a\\'b
"""
MASTER_CF = """smtp inet n - y - - smtpd
10.0.0.9:25';>owned;' inet n - y - - smtpd
    -o smtpd_relay_restrictions=permit,reject'x;>owned -o smtpd_sasl_auth_enable=yes
"""


def test_no_setting_of_postfix_runs_in_the_script_that_is_printed(place):
    (place / "main.cf").write_text(MAIN_CF.format(place=place))
    (place / "master.cf").write_text(MASTER_CF)
    homing = sharing.directory(place / "own")
    script = subprocess.run([*homing.command().split(), "config", "postfix", "--commands"], text=True, check=True,
                            capture_output=True, env={**os.environ, "MAIL_CONFIG": str(place)}).stdout
    (place / "postconf").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (place / "postconf").chmod(0o755)
    said = {}
    for word in ("on", "off"):
        said[word] = subprocess.run(["sh", "-c", script, "sh", word], text=True, capture_output=True, check=True,
                                    cwd=place, env={"PATH": f"{place}:{os.environ['PATH']}"}).stdout.splitlines()
    assert not (place / "owned").exists()
    assert "virtual_alias_maps = hash:/x';>owned;'" in said["off"]
    assert "10.0.0.9:25';>owned;'/inet/smtpd_relay_restrictions=permit,reject'x;>owned" in said["off"]
    assert any(line.endswith(r"hash:/a\'b") for line in said["on"]), said["on"]


# Dovecot


def workers_of(server):
    """User ids of the processes that verify passwords."""
    found = []
    for pid in set(re.findall(r" auth-worker\((\d+)\): ", server.log())):
        status = Path("/proc", pid, "status").read_text()
        assert re.search(rf"^PPid:\s+{server.process.pid}$", status, re.M), status
        found.append(int(re.search(r"^Uid:\s+(\d+)", status, re.M)[1]))
    return found


def test_passwords_are_verified_without_root_as_config_dovecot_offers(place, start):
    made = tell_story(place / "own", passwords=True)
    printed = made.ctl("config", "dovecot", "--dovecot-version", "2.4" if dovecot.NEW else "2.3").stdout
    user = re.search(r"^service auth-worker {(?:\n  .*)*\n  #(user = .*)$", printed, re.M)[1]
    blocks = [dovecot.accounts(made.path)]
    server = start(dovecot.Dovecot(place / "server", blocks, blocks,
                                   raw=f"service auth-worker {{\n  {user}\n}}\n"))
    assert server.imap_owner("info@client2.com", ACCOUNTS["info@client2.com"]) == "info@client2.com"
    assert workers_of(server) and 0 not in workers_of(server)


@pytest.fixture(scope="module")
def mail(top, tls):
    with Mail(top / "security-mail", tls=tls) as mail:
        yield mail


def said_by_pop3(server, login, password):
    client = poplib.POP3(dovecot.IPS[0], server.ports["pop3"], timeout=20)
    client.user(login)
    try:
        client.pass_(password)
    except poplib.error_proto as refused:
        return str(refused)
    finally:
        client.close()


def said_by_smtp(mail, login, password):
    try:
        mail.smtp(mail.company, port=587, login=login, password=password)
    except smtplib.SMTPAuthenticationError as refused:
        return refused.smtp_code, refused.smtp_error


def test_every_protocol_refuses_all_wrong_logins_in_the_same_words(mail):
    """IMAP is in test_refusals.py. ManageSieve has no more than the auth process says to it."""
    wrong = [(login, password) for login, password in WRONG if password]
    assert {said_by_pop3(mail.dovecot, *each) for each in wrong} == {"b'-ERR [AUTH] Authentication failed.'"}
    texts = {said_by_smtp(mail, *each) for each in wrong}
    assert len(texts) == 1 and None not in texts and next(iter(texts))[0] == 535, texts
    for service in ("imap", "pop3", "smtp", "submission", "sieve"):
        with mail.dovecot.auth() as client:
            seen = {client.plain(*each, ip=mail.company, service=service).visible() for each in wrong}
        assert len(seen) == 1, seen


def test_a_recipient_that_does_not_exist_is_told_to_strangers_and_nothing_else(mail):
    """By design, before the message is sent. What mailbox, alias or list there is, is not told."""
    assert mail.try_recipient("nobody@company.com")[0] == 550
    answers = {mail.try_recipient(name)
               for name in ("info@company.com", "sales@company.com", "info%client2.com@company.com")}
    assert answers == {(250, "2.1.5 Ok")}
    with mail.smtp() as client:
        client.ehlo_or_helo_if_needed()
        assert client.docmd("EXPN sales@company.com")[0] in (500, 502)
