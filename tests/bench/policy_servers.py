"""The servers that tests/bench/policy compares: how each is started, and where it listens.

Each has `policy` and perhaps `map`, its addresses by "UNIX" and "TCP"; `load`, what bench-policy-load
has to be told about the accounts; and says what its processes used of a processor. As a program of its
own this file is one of them, a responder in Python: policy_servers.py SOCKET PORT."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
KINDS = ("UNIX", "TCP")


def account(number, domains):
    return f"user{number}@d{number % domains}.example"


def children(pid):
    """Of all threads; with CONFIG_PROC_CHILDREN, which every distribution has."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(word) for word in (task / "children").read_text().split()]
    return found


def tree(pid):
    found = [pid]
    with contextlib.suppress(OSError):
        for child in children(pid):
            found += tree(child)
    return found


def status(pid, name):
    """A number of /proc/PID/status, as VmRSS."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{name}:\s+(\d+)", text, re.M)[1])


class Server:
    name, what = "?", "?"
    slow = False  # measured in fewer rounds
    program = None
    accounts, domains = 10, 2
    various = False

    def __init__(self, place, ports):
        self.place = Path(place) / re.sub(r"\W+", "-", self.name)
        self.place.mkdir()
        self.place.chmod(0o777)
        self.processes = []
        port = next(ports)
        self.policy = {"UNIX": str(self.place / "policy.socket"), "TCP": f"127.0.0.1:{port}"}
        self.map = {}
        self.ports = ports

    @classmethod
    def missing(cls):
        """What has to be installed, or None."""
        return None if cls.program is None or shutil.which(cls.program) else cls.program

    def spawn(self, *command, **more):
        with open(self.place / "log", "ab") as log:
            self.processes.append(subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                **more))

    def commands(self):
        raise NotImplementedError

    def start(self):
        for command in self.commands():
            self.spawn(*command)
        for address in [*self.policy.values(), *self.map.values()]:
            self.wait(address)
        return self

    def wait(self, address):
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                if address.startswith("/"):
                    with socket.socket(socket.AF_UNIX) as probe:
                        probe.connect(address)
                        return
                host, port = address.split(":")
                with socket.create_connection((host, int(port)), 5):
                    return
            if time.monotonic() > deadline or any(p.poll() for p in self.processes):
                raise SystemExit(f"{self.name} does not listen at {address}:\n{self.log()}")
            time.sleep(0.05)

    def log(self):
        return (self.place / "log").read_text(errors="replace")[-3000:]

    def masters(self):
        """Processes that all others of it come from."""
        return [process.pid for process in self.processes]

    def stop(self):
        for pid in self.masters():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def load(self):
        return ["-a", self.accounts, "-d", self.domains, *(["-u"] if self.various else [])]

    def nanoseconds(self):
        """Of a processor, that all its threads have used up to now."""
        used = 0
        for master in self.masters():
            for pid in tree(master):
                for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                    with contextlib.suppress(OSError):
                        used += int(stat.read_text().split()[0])
        return used


class Null(Server):
    name, what = "null", "on raw epoll, a constant: the limit"

    def __init__(self, place, ports):
        super().__init__(place, ports)
        self.map = {"UNIX": str(self.place / "map.socket"), "TCP": f"127.0.0.1:{next(ports)}"}

    def commands(self):
        words = [f"policy={self.policy[kind]}" for kind in KINDS]
        words += [f"map={self.map[kind]}=OK {account(123456, 1000)}" for kind in KINDS]
        yield [os.environ["HOMING_BENCH_NULL"], *words]


class Policyd(Server):
    """One worker, as an administrator starts it, but for its user and its sockets' mode."""

    def __init__(self, place, ports, directory, accounts, domains):
        self.name = f"homing-policyd, {power(accounts)}"
        self.what = f"one worker, {power(accounts)} accounts"
        super().__init__(place, ports)
        self.directory, self.accounts, self.domains = directory, accounts, domains
        self.map = {"UNIX": str(self.place / "map.socket"), "TCP": f"127.0.0.1:{next(ports)}"}

    def commands(self):
        def endpoint(address):
            return ("unix:" if address.startswith("/") else "inet:") + address

        words = [word for kind in KINDS for word in ("--policy", endpoint(self.policy[kind]),
                                                     "--map", endpoint(self.map[kind]))]
        yield [os.environ["HOMING_POLICYD"], "--foreground", "--directory", self.directory,
               "--workers", "1", "--user", "dovecot", "--userdb", "none", "--socket-mode", "0666",
               "--socket-group", "0", *words]

    def memory(self):
        """KiB: what it has for itself, and with the pages of files that it shares."""
        pid = self.processes[0].pid
        return status(pid, "RssAnon"), status(pid, "VmRSS")


class Postfwd(Server):
    name = "postfwd"
    what = "a rule for each of ten accounts; each mail from another sender and client"
    program, slow, various = "postfwd", True, True

    def commands(self):
        rules = self.place / "rules"
        rules.write_text("".join(
            f"id=A{i}; recipient=={account(i, self.domains)}; action=DUNNO\n"
            for i in range(self.accounts)) + "id=NONE; action=550 5.1.1 no such account here\n")
        host, port = self.policy["TCP"].split(":")
        for number, where in enumerate((["--proto", "unix", "--port", self.policy["UNIX"]],
                                        ["--interface", host, "--port", port])):
            yield ["postfwd", "--file", rules, "--nodns", "--summary", "0", "--user", "postfix",
                   "--group", "postfix", "--umask", "0111", "--pidfile",
                   self.place / f"pid{number}", "--cache_proto", "unix", "--cache_port",
                   self.place / f"cache{number}.socket", *where]

    def masters(self):
        """It always becomes a daemon."""
        return [int(path.read_text()) for path in self.place.glob("pid?")]


class Postgrey(Server):
    name, what = "postgrey", "greylisting, every triplet known"
    program, slow = "postgrey", True

    def commands(self):
        for kind, where in (("UNIX", "--unix"), ("TCP", "--inet")):
            database = self.place / f"db-{kind}"
            database.mkdir()
            shutil.chown(database, "postgrey")
            yield ["postgrey", f"{where}={self.policy[kind]}", "--dbdir", database, "--delay=1",
                   "--quiet"]


class QuotaStatus(Server):
    name, what = "quota-status", "Dovecot's, a static userdb, no mail"
    program, slow = "dovecot", True

    @classmethod
    def missing(cls):
        if super().missing() or not Path("/usr/lib/dovecot/quota-status").exists():
            return "dovecot"
        version = subprocess.run(["dovecot", "--version"], capture_output=True, text=True).stdout
        return None if version.startswith("2.3") else "dovecot 2.3 (its configuration is for that)"

    def commands(self):
        port = self.policy["TCP"].split(":")[1]
        config = self.place / "dovecot.conf"
        config.write_text(textwrap.dedent(f"""\
            base_dir = {self.place}/run
            state_dir = {self.place}/state
            log_path = {self.place}/dovecot.log
            protocols =
            listen = 127.0.0.1
            ssl = no
            first_valid_uid = 1
            mail_location = maildir:~/Maildir
            mail_plugins = quota
            userdb {{
              driver = static
              args = uid=5000 gid=5000 home={self.place}/mail/%d/%n allow_all_users=yes
            }}
            passdb {{
              driver = static
              args = nopassword=y
            }}
            plugin {{
              quota = maildir:User quota
              quota_rule = *:storage=1G
              quota_status_success = DUNNO
              quota_status_nouser = "550 5.1.1 no such account here"
            }}
            service quota-status {{
              executable = quota-status -p postfix
              client_limit = 1
              process_limit = 400
              service_count = 0
              unix_listener {self.policy["UNIX"]} {{
                mode = 0666
              }}
              inet_listener {{
                port = {port}
              }}
            }}
            service auth {{
              unix_listener auth-userdb {{
                mode = 0666
              }}
            }}
            """))
        (self.place / "state").mkdir()
        mail = self.place / "mail"
        for i in range(self.accounts):
            home = mail / f"d{i % self.domains}.example" / f"user{i}"
            home.mkdir(parents=True)
        subprocess.run(["chown", "-R", "5000:5000", str(mail)], check=True)
        yield ["dovecot", "-F", "-c", config]


class Asyncio(Server):
    name, what = "Python", "asyncio streams, a set of ten accounts"
    slow = True

    def commands(self):
        yield [sys.executable, __file__, self.policy["UNIX"], self.policy["TCP"].split(":")[1]]


def power(number):
    return str(number) if number < 1000 else f"10^{len(str(number)) - 1}"


def write_accounts(place, accounts, domains):
    """homing.json and the lines for `homingctl account import`."""
    (place / "homing.json").write_text(json.dumps({
        "main_domain": "d0.example",
        "account_defaults": {"home": "/var/vmail/%{domain}/%{local}", "uid": "vmail",
                             "gid": "vmail"},
        "domains": {f"d{i}.example": {} for i in range(domains)}}))
    with (place / "accounts").open("w") as lines:
        for i in range(accounts):
            lines.write(f'{{"account":"{account(i, domains)}"}}\n')


ACCOUNTS = {account(i, 2).encode() for i in range(10)}


async def respond(reader, writer):
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            request = await reader.readuntil(b"\n\n")
            values = dict(line.split(b"=", 1) for line in request.splitlines() if line)
            known = values.get(b"recipient") in ACCOUNTS
            writer.write(b"action=DUNNO\n\n" if known else
                         b"action=550 5.1.1 no such account here\n\n")
            await writer.drain()
    writer.close()


async def main(path, port):
    servers = [await asyncio.start_unix_server(respond, path, backlog=512),
               await asyncio.start_server(respond, "127.0.0.1", int(port), backlog=512)]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
