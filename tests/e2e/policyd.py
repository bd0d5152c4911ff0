"""A private homing-policyd, and small clients that speak its two protocols.

    with Policyd(folder, directory) as daemon:
        with PolicyClient(daemon.policy) as client:
            assert client.ask("info@company.com") == "DUNNO"

An address is the path of a UNIX socket, or (host, port)."""

import contextlib
import fcntl
import os
import random
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

PROGRAM = os.environ.get("HOMING_POLICYD") or str(
    Path(os.environ.get("HOMINGCTL", "homingctl")).resolve().parent
    / "../../policy-daemon/homing-policyd")
# Beside Postfix the daemon as packages have it runs, with its sandbox, which a build with sanitizers
# leaves out.
RELEASE = os.environ.get("HOMING_POLICYD_RELEASE") or PROGRAM
# With sanitizers or under valgrind: slower, larger, and without Landlock.
SANITIZED = bool(os.environ.get("HOMING_SANITIZED")) or any(
    name in subprocess.run(["ldd", PROGRAM], capture_output=True, text=True).stdout
    for name in ("libasan", "libtsan"))


def free_port():
    """Below the ports that the system gives to clients, so that none of them is in the way, and in the range of
    this pytest process (dovecot.free_ports), but behind the few that its Dovecots take."""
    first = 10100 + 1500 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 14)
    while True:
        port = random.randrange(first + 600, first + 1500)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def connect(address, timeout=20):
    if isinstance(address, tuple):
        return socket.create_connection(address, timeout)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(timeout)
    try:
        client.connect(str(address))
    except OSError:
        client.close()
        raise
    return client


def listen(address, backlog=512):
    """As systemd does for a socket unit."""
    if isinstance(address, tuple):
        return socket.create_server(address, backlog=backlog)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(address))
    server.listen(backlog)
    return server


def option(name, value):
    name = "--" + name.replace("_", "-")
    if value is True:
        return [name]
    if value is False or value is None:
        return []
    values = value if isinstance(value, (list, tuple)) else [value]
    return [word for each in values for word in (name, str(each))]


class Policyd:
    """The daemon in the foreground, on UNIX and TCP sockets of its own. Options become those of the
    command: workers=2, dry_run=True, trusted=["192.0.2.0/24"]. With inherit=True the listening sockets
    are made here and handed over, as systemd does, and outlive the daemon."""

    def __init__(self, folder, directory, *, inherit=False, environment=None, program=PROGRAM,
                 **options):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.directory = Path(directory)
        self.environment = environment or {}
        self.program = program
        # homing.readable() lets Dovecot's group read the directory.
        self.options = {"user": "dovecot", "socket_mode": "0666", "socket_group": "0", **options}
        self.process = None
        self.policy, self.map = self.folder / "policy", self.folder / "map"
        self.policy_tcp, self.map_tcp = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
        self.metrics_tcp = ("127.0.0.1", free_port())
        self.log_path = self.folder / "log"
        self.inherited = [
            (service, listen(address)) for service, address in (
                ("policy", self.policy), ("policy", self.policy_tcp), ("map", self.map),
                ("map", self.map_tcp), ("metrics", self.metrics_tcp))] if inherit else []

    def endpoints(self):
        if self.inherited:
            return []
        words = ["--metrics", "inet:%s:%d" % self.metrics_tcp]
        for service in ("policy", "map"):
            host, port = getattr(self, service + "_tcp")
            words += [f"--{service}", f"unix:{getattr(self, service)}",
                      f"--{service}", f"inet:{host}:{port}"]
        return words

    def command(self):
        words = [self.program, "--foreground", "--directory", str(self.directory), *self.endpoints()]
        for name, value in self.options.items():
            words += option(name, value)
        return words

    def start(self, wait=True):
        command, keep = self.command(), []
        environment = dict(os.environ, **self.environment)
        if self.inherited:
            # The sockets must be 3, 4, … and LISTEN_PID the daemon's own.
            keep = [fcntl.fcntl(sock, fcntl.F_DUPFD, 100) for _, sock in self.inherited]
            moves = " ".join(f"{3 + i}<&{fd} {fd}<&-" for i, fd in enumerate(keep))
            command = ["bash", "-c", f'exec {moves}; LISTEN_PID=$$ exec "$0" "$@"', *command]
            environment.update(LISTEN_FDS=str(len(keep)),
                               LISTEN_FDNAMES=":".join(name for name, _ in self.inherited))
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=environment, pass_fds=keep)
        for fd in keep:
            os.close(fd)
        if wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self, seconds=20):
        end = time.monotonic() + seconds
        while True:
            try:
                self.metrics_text()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError("homing-policyd does not answer: exit status "
                                       f"{self.process.poll()}\n{self.log()}") from None
                time.sleep(0.02)

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, seconds=20):
        """SIGTERM; the exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_for_log(self, pattern, seconds=10):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.log()):
            assert time.monotonic() < end, f"not logged: {pattern}\n{self.log()[-4000:]}"
            time.sleep(0.05)

    def rss(self):
        """Kilobytes of memory in use."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def metrics_text(self):
        url = "http://%s:%d/metrics" % self.metrics_tcp
        try:
            with urllib.request.urlopen(url, timeout=10) as reply:
                return reply.read().decode()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{url}: {error}") from error

    def metrics(self):
        """{'name{label="value"}': number}, and an error for a line that is none."""
        return parse_metrics(self.metrics_text())

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        status = self.stop() if self.alive() else self.process.poll()
        for _, server in self.inherited:
            server.close()
        if kind is not None:
            print(f"--- homing-policyd's log, its end\n{self.log()[-6000:]}")
            return
        assert "Sanitizer" not in self.log() and "runtime error" not in self.log(), self.log()
        assert status in (0, -signal.SIGKILL), f"exit status {status}\n{self.log()[-6000:]}"


SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*\})? '
                    r'([-+0-9.eE]+|[+-]Inf|NaN)')


def parse_metrics(text):
    """The exposition format 0.0.4, strictly: each sample belongs to a TYPE before it."""
    samples, types = {}, {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, f"twice: {line}"
            types[name] = kind
        elif not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match, f"no sample: {line!r}"
            name = match[1]
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            assert types.get(name) or types.get(family) == "histogram", f"no TYPE: {line}"
            key = name + (match[2] or "")
            assert key not in samples, f"twice: {line}"
            samples[key] = float(match[3])
    return samples


def attributes(recipient, **others):
    """What Postfix 3.7's smtpd sends at RCPT."""
    values = {
        "request": "smtpd_access_policy", "protocol_state": "RCPT", "protocol_name": "ESMTP",
        "client_address": "192.0.2.77", "client_name": "mail.example", "client_port": "49152",
        "reverse_client_name": "mail.example", "server_address": "127.0.0.21",
        "server_port": "25", "helo_name": "mail.example", "sender": "someone@elsewhere.example",
        "recipient": recipient, "recipient_count": "0", "queue_id": "",
        "instance": "5a1f.65603d0e.4a8e0.0", "size": "0", "etrn_domain": "", "stress": "",
        "sasl_method": "", "sasl_username": "", "sasl_sender": "", "ccert_subject": "",
        "ccert_issuer": "", "ccert_fingerprint": "", "ccert_pubkey_fingerprint": "",
        "encryption_protocol": "", "encryption_cipher": "", "encryption_keysize": "0",
        "policy_context": "", "compatibility_level": "3.6", "mail_version": "3.7.11",
    }
    values.update(others)
    return values


def encode(values):
    if isinstance(values, dict):
        values = values.items()
    return b"".join(as_bytes(name) + b"=" + as_bytes(value) + b"\n"
                    for name, value in values) + b"\n"


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def netstring(content):
    content = as_bytes(content)
    return b"%d:%s," % (len(content), content)


class Client:
    """One connection. ConnectionError: the daemon closed it."""

    def __init__(self, address, timeout=20):
        self.address, self.timeout = address, timeout
        self.connect()

    def connect(self):
        self.socket = connect(self.address, self.timeout)
        self.unread = b""

    def send(self, data):
        self.socket.sendall(data)

    def finish_sending(self):
        with contextlib.suppress(OSError):  # the daemon was faster
            self.socket.shutdown(socket.SHUT_WR)

    def receive(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError("the daemon closed the connection")
        self.unread += data

    def closed(self):
        """Waits until the daemon closes; nothing more may come."""
        if self.unread:
            return False
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def ask(self, *question, **more):
        self.send(self.request(*question, **more))
        return self.reply()

    def ask_surely(self, *question, tries=200, **more):
        """As Postfix: a connection that breaks is made again."""
        for attempt in range(tries):
            try:
                return self.ask(*question, **more)
            except (ConnectionError, FileNotFoundError):
                if attempt == tries - 1:
                    raise
                self.close()
                with contextlib.suppress(ConnectionError, FileNotFoundError):
                    self.connect()
                time.sleep(0.02 if attempt else 0)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class PolicyClient(Client):
    """ask("info@company.com", sasl_username="x") is the action."""

    @staticmethod
    def request(recipient, **others):
        return encode(attributes(recipient, **others))

    def reply(self):
        while b"\n\n" not in self.unread:
            self.receive()
        reply, self.unread = self.unread.split(b"\n\n", 1)
        assert reply.startswith(b"action=") and b"\n" not in reply, reply
        return reply[7:].decode()


class MapClient(Client):
    """ask("alias", "sales@company.com") is ("OK", "info@company.com")."""

    @staticmethod
    def request(name, key):
        return netstring(as_bytes(name) + b" " + as_bytes(key))

    def reply(self):
        while b":" not in self.unread:
            self.receive()
        length, rest = self.unread.split(b":", 1)
        while len(rest) < int(length) + 1:
            self.receive()
            rest = self.unread.split(b":", 1)[1]
        content, end = rest[:int(length)], rest[int(length):int(length) + 1]
        assert end == b",", self.unread[:200]
        self.unread = rest[int(length) + 1:]
        status, value = content.split(b" ", 1)
        return status.decode(), value.decode()
