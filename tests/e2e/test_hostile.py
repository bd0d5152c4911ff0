"""Names that an attacker types: no forged field, no forged log line, no crash, no login."""

import re

import pytest

from homing import ACCOUNTS, CLIENT1_IP, COMPANY_IP

PASSWORD = ACCOUNTS["info@client2.com"]
NAMES = [
    b"info\tuser=info@client2.com",
    b"info@client2.com\tnopassword=y",
    b"info@client2.com\nOK\t2\tuser=info@client1.com",
    b"info@client2.com\r\nauth: Info: passdb(info@client1.com): logged in",
    b"info\x01tuser=info@client2.com",
    b"info\x01\x01@client2.com",
    b"info@client2.com\x7f",
    b"info@client2.com\x1b[2J",
    b"\xff\xfe@client2.com",
    b"info\xc0\xaf@client2.com",
    b"info@client2.com\xe2\x80\xae",
    b"info@client2.com'--",
    b"' OR 1=1 --@client2.com",
    b'"info"@client2.com',
    b'"info@client2.com',
    b"info@@client2.com",
    b"info@client2.com@client1.com",
    b"@client2.com",
    b"info@",
    b"@",
    b"%",
    b"%%%%%%%%",
    b"info%",
    b"%client2.com",
    b"../info@client2.com",
    b"..@client2.com",
    b".@client2.com",
    b"info/../../x@client2.com",
    b"info @client2.com",
    b" info@client2.com",
    b"info@client2.com ",
    b"info@.client2.com",
    b"info@client2..com",
    b"info@[127.0.0.22",
    b"%{home}@client2.com",
    b"%u@client2.com",
    b"$(id)@client2.com",
    b"#info@client2.com",
    b"a" * 600 + b"@client2.com",
    b"info@" + b"a." * 300 + b"com",
    b"%".join([b"a"] * 60) + b"@company.com",
    b"x" * 9000,
]
# None with a NUL: OpenSSL refuses one in a handshake, and Dovecot's protocol would cut it there.
SERVER_NAMES = ["client2.com\tuser=root", "client2.com\nOK", "*.client2.com", "*", ".", "..",
                "client2.com\x01.elsewhere.example", "a" * 5000, "%{user}", "\xff.client2.com", ""]


@pytest.mark.parametrize("block", ["story_server", "own_server"])
def test_hostile_name_opens_nothing_and_forges_nothing(request, block):
    server = request.getfixturevalue(block)
    start = len(server.log())
    for name in NAMES:
        with server.auth() as client:
            reply = client.plain(name, PASSWORD, ip=COMPANY_IP)
            assert not reply.ok, (name, reply)
            assert "nopassword" not in reply.fields and "nopassword" not in reply.flags
            # The connection is in step: the next request gets its own answer.
            assert client.plain("info%client2.com", PASSWORD).user == "info@client2.com"
    new = server.log()[start:]
    for line in new.splitlines():
        assert re.match(r"(\w{3} \d\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d) ", line), line
    # Dovecot's own lines (of the protocol in debug lines, of refused characters) let some through.
    said = "\n".join(line for line in new.splitlines()
                     if "Debug: " not in line and "auth_username_chars" not in line)
    assert said and "\x1b" not in said and "\x7f" not in said
    assert not re.search(r"^\S+ \S+ \S+ auth: Info: passdb\(info@client1.com\): logged in", new,
                         re.M)


@pytest.mark.parametrize("block", ["story_server", "own_server"])
def test_hostile_tls_name_selects_no_domain(request, block):
    server = request.getfixturevalue(block)
    for server_name in SERVER_NAMES:
        with server.auth() as client:
            reply = client.plain("info", ACCOUNTS["info@client1.com"], ip=CLIENT1_IP,
                                 server_name=server_name.encode("latin-1"))
            assert reply.ok and reply.user == "info@client1.com", (server_name, reply)


def test_hostile_name_in_userdb_lookups(own_server):
    for name in NAMES:
        if len(name) > 8000:
            continue  # longer than the protocol's line
        with own_server.userdb() as users:
            found = users.lookup(name)
            assert found in (None, "failed"), (name, found)
            assert users.lookup("info@client2.com")[0] == "info@client2.com"


def test_null_bytes_in_the_response_are_separators_only(own_server):
    with own_server.auth() as client:
        for response in (b"", b"\0", b"\0\0", b"\0\0\0\0", b"info@client2.com\0",
                         b"\0info@client2.com\0" + PASSWORD.encode() + b"\0more",
                         b"\0info\0@client2.com\0" + PASSWORD.encode()):
            reply = client.answer(client.start("PLAIN", response, ip=COMPANY_IP))
            assert isinstance(reply, bytes) or not reply.ok, response
