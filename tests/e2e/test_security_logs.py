"""Nothing that a stranger sends begins a line of a log, or hides in one: login names, TLS server names,
recipients, HELO, what a policy request and a map's key say, what Dovecot answers the daemon.
SECURITY.md has the boundaries; test_security.py has mailbox names and identifiers."""

import base64
import os
import re
import socket
import ssl
import threading

import pytest

import dovecot
import homing
from policyd import MapClient, PolicyClient, Policyd, netstring

FORGED = "auth: Info: forged"
# One byte or character of each kind that ends a line, steers a terminal or turns text around.
KINDS = {
    "LF": b"\n", "CR": b"\r", "CRLF": b"\r\n", "NUL": b"\0", "ESC": b"\x1b[2J", "BEL": b"\a", "DEL": b"\x7f",
    "TAB": b"\t", "SOH": b"\x01", "NEL": b"\xc2\x85", "CSI": b"\xc2\x9b2J", "LS": b"\xe2\x80\xa8",
    "PS": b"\xe2\x80\xa9", "RLO": b"\xe2\x80\xae", "RLI": b"\xe2\x81\xa7", "LRM": b"\xe2\x80\x8e",
    "ALM": b"\xd8\x9c", "8-bit": b"\xff\xfe", "cut": b"\xe2\x80", "overlong": b"\xc0\x8a",
    "surrogate": b"\xed\xa0\x80", "format": b"%s%n%u%{password}",
}
EVIL = {kind: b"x" + data + FORGED.encode() for kind, data in KINDS.items()}
STAMPED = re.compile(r"(\w{3} \d\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d) ")
UNCLEAN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufffd]")


def lines_of(text):
    return re.split("[\r\n]", text.rstrip("\n"))


def said_by_us(log):
    """What the module says. Dovecot puts the name in front, without line ends, and the rest as it is."""
    return [line.rpartition("unknown user: ")[2] for line in lines_of(log) if "unknown user: " in line]


@pytest.fixture(scope="module", params=["route", "accounts"])
def server(request, top, tls):
    """With any character in a login name, as accounts with names outside ASCII need it. Without Dovecot's
    debug lines, which show its protocol as it is."""
    made = homing.tell_story(top / f"security-{request.param}", passwords=True)
    blocks = [getattr(dovecot, request.param)(made.path)]
    passwords = dovecot.passwd_file(homing.passwords_file(made.folder))
    server = dovecot.Dovecot(made.folder / "server", [*blocks, passwords],
                             [*blocks, dovecot.static_userdb(made.vmail)], tls=tls,
                             settings={"auth_username_chars": '""', "auth_debug": None, "log_debug": None})
    with server:
        yield server
        assert server.alive()


def settled(server):
    with server.auth() as client:
        client.plain("last@elsewhere.example", "x", ip=homing.COMPANY_IP)
    end = "last@elsewhere.example"
    for _ in range(100):
        if server.log().count(end):
            break
        threading.Event().wait(0.05)
    return server.log()


def sane(server, since):
    log = settled(server)[since:]
    for line in lines_of(log):
        assert STAMPED.match(line), line
    assert not re.search(rf"^(\S+ ){{2,4}}{FORGED}", log, re.M), log
    return log


def test_a_login_name_begins_no_line(server):
    """All at once: refusals take their time."""
    since = len(server.log())
    names = [name for evil in EVIL.values()
             for name in (evil, evil + b"@client2.com", b"info@" + evil, b"info%" + evil)]
    with server.auth() as client:
        asked = {client.start("PLAIN", b"\0" + name + b"\0wrong", ip=homing.COMPANY_IP) for name in names}
        while asked:
            words = client.receive()
            assert words[0] in (b"FAIL", b"CONT"), words
            asked.remove(int(words[1]))
    with server.userdb() as users:
        for name in names:
            assert b"\0" in name or users.lookup(name) in (None, "failed")
        assert users.lookup("info@client2.com")[0] == "info@client2.com"
    said = said_by_us(sane(server, since))
    assert len(said) >= len(EVIL)
    for line in said:
        assert not UNCLEAN.search(line), line


def test_a_login_name_over_imap_and_pop3_begins_no_line(server):
    since = len(server.log())
    for evil in (EVIL[kind] for kind in ("LF", "CR", "ESC", "NEL", "RLO", "8-bit")):
        client = socket.create_connection((dovecot.IPS[0], server.ports["imap"]), 20)
        lines = client.makefile("rb")
        lines.readline()
        client.sendall(b"a LOGIN {%d+}\r\n%s wrong\r\n" % (len(evil), evil))
        assert re.match(rb"a (NO|BAD) |\* BAD ", lines.readline())
        client.close()
        with socket.create_connection((dovecot.IPS[0], server.ports["pop3"]), 20) as client:
            lines = client.makefile("rb")
            lines.readline()
            client.sendall(b"AUTH PLAIN " + base64.b64encode(b"\0" + evil + b"\0wrong") + b"\r\n")
            assert lines.readline().startswith(b"-ERR")
    sane(server, since)


def test_a_tls_server_name_begins_no_line(server, tls):
    """Python's ssl would refuse such names: put into the bytes of its own hello."""
    since = len(server.log())
    for evil in EVIL.values():
        mark = b"m" * len(evil)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = tls.context()
        context.check_hostname = False
        hello = context.wrap_bio(incoming, outgoing, server_hostname=mark.decode())
        with pytest.raises(ssl.SSLWantReadError):
            hello.do_handshake()
        sent = outgoing.read()
        assert sent.count(mark) == 1
        with socket.create_connection((dovecot.IPS[0], server.ports["imaps"]), 20) as client:
            client.sendall(sent.replace(mark, evil))
            client.recv(1)
        with server.auth() as client:
            reply = client.plain("info", "of client1", ip=homing.CLIENT1_IP, server_name=evil)
            assert reply.ok == (reply.user is not None) and reply.user in (None, "info@client1.com")
    sane(server, since)


def test_a_recipient_of_lmtp_begins_no_line(server):
    since = len(server.log())
    for evil in EVIL.values():
        with socket.create_connection((dovecot.IPS[0], server.ports["lmtp"]), 20) as client:
            lines = client.makefile("rb")
            lines.readline()
            for command in (b"LHLO x", b"MAIL FROM:<a@elsewhere.example>", b"RCPT TO:<" + evil + b"@client2.com>",
                            b'RCPT TO:<"' + evil + b'"@client2.com>'):
                client.sendall(command + b"\r\n")
                while lines.readline()[3:4] == b"-":
                    pass
    sane(server, since)


# The daemon


@pytest.fixture(scope="module")
def daemon(top):
    made = homing.tell_story(top / "security-daemon")
    with Policyd(made.folder / "policyd", made.path, verbose=True) as daemon:
        yield daemon


FIELDS = ["recipient", "sender", "helo_name", "client_name", "client_address", "queue_id", "instance",
          "protocol_name", "sasl_username"]


@pytest.mark.parametrize("field", FIELDS)
def test_no_attribute_of_a_policy_request_begins_a_line_or_an_answer(daemon, field):
    asked = 0
    since = len(daemon.log())
    for kind, evil in EVIL.items():
        with PolicyClient(daemon.policy) as client:
            values = {field: evil, **({"recipient": evil + b"@company.com"} if field == "recipient" else {})}
            try:
                action = client.ask(values.pop("recipient", "nobody@company.com"), **values)
            except ConnectionError:
                assert kind in ("NUL", "LF", "CRLF")  # no request at all
                continue
            asked += 1
            assert not UNCLEAN.search(action), action
            assert re.match(r"(550|501|554|DUNNO)", action), action
            assert client.ask("info@company.com") == "DUNNO"  # in step
    daemon.wait_for_log(r"(.*policy: .*\n){%d}" % asked)
    clean(daemon, since)


def clean(daemon, since):
    for line in lines_of(daemon.log()[since:]):
        assert line.startswith("homing-policyd: ") and not UNCLEAN.search(line), line


@pytest.mark.parametrize("name", ["alias", "domain", "mailbox", "sender-login", "transport", None])
def test_no_key_of_a_map_begins_a_line_or_an_answer(daemon, name):
    since = len(daemon.log())
    for evil in EVIL.values():
        with MapClient(daemon.map) as client:
            for key in (evil, evil + b"@company.com", b"info+" + evil + b"@company.com"):
                status, value = client.ask(name if name else evil, key)
                assert status in ("OK", "NOTFOUND", "PERM") and not re.search("[\x00-\x1f\x7f]", value), value
            assert client.ask("mailbox", "info@company.com") == ("OK", "info@company.com")
    clean(daemon, since)


def test_what_is_no_request_begins_no_line(daemon):
    since = len(daemon.log())
    for evil in EVIL.values():
        for address, data in ((daemon.policy, evil + b"\n\n"), (daemon.map, evil), (daemon.map, netstring(evil)),
                              (daemon.metrics_tcp, b"GET /" + evil + b" HTTP/1.1\r\n\r\n")):
            with PolicyClient(address) as client:
                client.send(data)
                client.finish_sending()
                try:
                    while True:
                        client.receive()
                except ConnectionError:
                    pass
                assert FORGED.encode() not in client.unread
    clean(daemon, since)


@pytest.mark.parametrize("answer", [b"USER\t%d\t%s", b"USER\t%d\tname\thome=%s", b"FAIL\t%d\treason=%s",
                                    b"NOTFOUND\t%d\t%s"])
def test_no_answer_of_dovecots_begins_a_line(place, answer):
    """Dovecot is trusted; a field of an account in somebody's database need not be."""
    made = homing.Homing(place / "dove")
    config = homing.story(made.vmail)
    config["domains"]["dove.example"] = {"accounts": "dovecot"}
    made.apply(config)
    path = place / "auth-userdb"
    evils = [EVIL[kind] for kind in ("CR", "NUL", "ESC", "NEL", "RLO", "8-bit")]

    def serve(listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                lines = client.makefile("rb")
                client.sendall(b"VERSION\t1\t1\nSPID\t1\n")
                for line in lines:
                    words = line.rstrip(b"\n").split(b"\t")
                    if words[0] == b"USER":
                        evil = evils[int(words[1]) % len(evils)]
                        client.sendall(answer % (int(words[1]), evil) + b"\n")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        os.chmod(path, 0o666)
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        with Policyd(place / "policyd", made.path, userdb=path, verbose=True) as daemon:
            with PolicyClient(daemon.policy) as client:
                for turn in range(len(evils)):
                    action = client.ask(f"a{turn}@dove.example")
                    assert re.match("DUNNO$|550 5.1.1 |451 4.3.0 ", action) and not UNCLEAN.search(action)
            clean(daemon, 0)
        listener.shutdown(socket.SHUT_RDWR)
