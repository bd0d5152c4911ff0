"""What comes from strangers stays what it is: in logs, in answers, in what others run as root.
SECURITY.md has the boundaries, and names the test of each."""

import re
import socket

import pytest

import dovecot
import sharing

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
