"""Dovecot's auth protocols, spoken directly: a client and a master.

A login program of Dovecot speaks the first: lines of fields separated by tabs, in which tab,
newline, return, NUL and \\001 are escaped. It lets a test name any local address and TLS name
without a socket on that address.
"""

import base64
import hashlib
import hmac
import os
import re
import socket

ESCAPES = {b"\x01": b"\x011", b"\t": b"\x01t", b"\r": b"\x01r", b"\n": b"\x01n", b"\x00": b"\x010"}
UNESCAPES = {b"1": b"\x01", b"t": b"\t", b"r": b"\r", b"n": b"\n", b"0": b"\x00"}


def escape(value):
    value = value.encode() if isinstance(value, str) else value
    return re.sub(rb"[\x00\x01\t\r\n]", lambda found: ESCAPES[found.group()], value)


def unescape(value):
    return re.sub(rb"\x01(.)", lambda found: UNESCAPES.get(found.group(1), b""), value, flags=re.S)


class Reply:
    """OK or FAIL with its fields."""

    def __init__(self, words):
        self.status = words[0].decode()
        self.fields, self.flags = {}, set()
        for word in words[2:]:
            key, equals, value = word.partition(b"=")
            if equals:
                self.fields[key.decode()] = unescape(value).decode(errors="surrogateescape")
            else:
                self.flags.add(key.decode())
        self.ok = self.status == "OK"
        self.user = self.fields.get("user") if self.ok else None  # a refusal repeats the name
        self.temporary = "temp" in self.flags or self.fields.get("code") == "temp_fail"

    def visible(self):
        """What a mail client could learn: everything but the name it sent itself."""
        return (self.status, tuple(sorted(self.flags)),
                tuple(sorted((k, v) for k, v in self.fields.items() if k != "user")))

    def __repr__(self):
        return f"{self.status} {self.fields} {sorted(self.flags)}"


class Lines:
    def __init__(self, path, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def send(self, *words):
        self.socket.sendall(b"\t".join(w.encode() if isinstance(w, str) else w for w in words)
                            + b"\n")

    def receive(self):
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the auth process closed the connection")
        return line[:-1].split(b"\t")

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class AuthClient(Lines):
    def __init__(self, path, timeout=30):
        super().__init__(path, timeout)
        self.number = 0
        self.send("VERSION\t1\t1\nCPID\t" + str(os.getpid() * 1000 + id(self) // 16 % 1000))
        while self.receive()[0] != b"DONE":
            pass

    def start(self, mechanism, response=None, ip=None, server_name=None, service="imap",
              parameters=()):
        self.number += 1
        words = [b"AUTH", str(self.number).encode(), mechanism.encode(),
                 b"service=" + service.encode(), b"secured", b"nologin", b"no-penalty"]
        if ip:
            words += [b"lip=" + ip.encode(), b"rip=127.0.0.99"]
        if server_name is not None:
            words += [b"local_name=" + escape(server_name)]
        words += list(parameters)
        if response is not None:
            words += [b"resp=" + base64.b64encode(response)]
        self.send(*words)
        return self.number

    def answer(self, number):
        """A Reply, or the bytes of a challenge."""
        while True:
            words = self.receive()
            if len(words) > 1 and words[1] == str(number).encode():
                if words[0] == b"CONT":
                    return base64.b64decode(words[2] if len(words) > 2 else b"")
                return Reply(words)

    def proceed(self, number, response):
        self.send("CONT", str(number), base64.b64encode(response))
        return self.answer(number)

    def plain(self, login, password, authorize="", **keywords):
        parts = [p.encode() if isinstance(p, str) else p for p in (authorize, login, password)]
        return self.answer(self.start("PLAIN", b"\0".join(parts), **keywords))

    def login(self, login, password, **keywords):
        number = self.start("LOGIN", **keywords)
        assert isinstance(self.answer(number), bytes)
        reply = self.proceed(number, login.encode())
        return reply if isinstance(reply, Reply) else self.proceed(number, password.encode())

    def cram_md5(self, login, password, **keywords):
        number = self.start("CRAM-MD5", **keywords)
        challenge = self.answer(number)
        digest = hmac.new(password.encode(), challenge, hashlib.md5).hexdigest()
        return self.proceed(number, f"{login} {digest}".encode())

    def scram_sha_256(self, login, password, **keywords):
        nonce = base64.b64encode(os.urandom(18)).decode()
        bare = "n=" + login.replace("=", "=3D").replace(",", "=2C") + ",r=" + nonce
        number = self.start("SCRAM-SHA-256", ("n,," + bare).encode(), **keywords)
        first = self.answer(number)
        if isinstance(first, Reply):
            return first
        fields = dict(part.split("=", 1) for part in first.decode().split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]),
                                     int(fields["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = "c=biws,r=" + fields["r"]
        message = ",".join([bare, first.decode(), without_proof]).encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        reply = self.proceed(number, (without_proof + ",p=" + base64.b64encode(proof).decode())
                             .encode())
        # The server's signature comes as one more challenge; an empty answer ends it.
        return reply if isinstance(reply, Reply) else self.proceed(number, b"")

    def external(self, name, **keywords):
        """As a client with a valid certificate of that name would."""
        number = self.start("EXTERNAL", b"", parameters=[
            b"valid-client-cert", b"cert_username=" + escape(name)], **keywords)
        reply = self.answer(number)
        return reply if isinstance(reply, Reply) else self.proceed(number, b"")


class MasterClient(Lines):
    """Userdb lookups, as lmtp and doveadm make them."""

    def __init__(self, path, timeout=30):
        super().__init__(path, timeout)
        self.number = 0
        self.send("VERSION\t1\t0")
        while self.receive()[0] != b"SPID":
            pass

    def lookup(self, name, service="lmtp", ip=None, server_name=None):
        """(user, fields); None if there is no such user; "failed"."""
        self.number += 1
        words = [b"USER", str(self.number).encode(), escape(name), b"service=" + service.encode()]
        if ip:
            words += [b"lip=" + ip.encode()]
        if server_name:
            words += [b"local_name=" + escape(server_name)]
        self.send(*words)
        words = self.receive()
        while len(words) < 2 or words[1] != str(self.number).encode():
            words = self.receive()
        if words[0] == b"USER":
            fields = dict((word.partition(b"=")[0].decode(), unescape(word.partition(b"=")[2])
                           .decode()) for word in words[3:])
            return unescape(words[2]).decode(), fields
        return None if words[0] == b"NOTFOUND" else "failed"
