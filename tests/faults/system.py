"""A mail system to break: Dovecot, Postfix and homing-policyd, with the directory, the mail and Postfix's
queue each on a small file system of its own; somebody who starts the daemon again, as systemd does; and
people who go on sending mail and logging in."""

import contextlib
import imaplib
import json
import os
import re
import signal
import smtplib
import socket
import struct
import subprocess
import threading
import time
import uuid
from pathlib import Path

import dovecot
from homing import HOMINGCTL
from postfix import Mail

# What is typed, and whose it is.
MAIL = [
    ("info%client1.com", "info@client1.com"),
    ("info%client2.com@company.com", "info@client2.com"),
    ("sales@company.com", "info@company.com"),
    ("info@mail.client2.com", "info@client2.com"),
    ("postmaster", "postmaster@company.com"),
]
NOBODY = "nobody@client1.com"
# The name, the local address, and whose it is. All accounts have the same password.
LOGINS = [
    ("info", "company", "info@company.com"),
    ("info", "client1", "info@client1.com"),
    ("info%client2.com", "company", "info@client2.com"),
    ("info", "other", "info@company.com"),
    ("info@mail.client2.com", "client1", "info@client2.com"),
    ("sales", "company", "info@company.com"),
]
PASSWORD = "secret"
SHIM = Path(HOMINGCTL).resolve().parents[2] / "tests" / "libfault-shim.so"


def mount(folder, megabytes, mode="755"):
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode={mode}", "tmpfs", folder],
                   check=True)


def fill(folder):
    """Until not one byte more fits. unlink() it."""
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    return ballast


def children(pid):
    """All processes below this one: {pid: command line}."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rsplit(") ", 1)[1].split()[1])
        except OSError:
            pass  # it is gone
    found, grown = {pid}, True
    while grown:
        grown = {child for child, parent in parents.items() if parent in found} - found
        found |= grown
    lines = {}
    for child in found - {pid}:
        try:
            lines[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            pass
    return lines


def limit(pid, **values):
    """prlimit, as the process's own user: root may lack the capability. Soft limits."""
    status = Path(f"/proc/{pid}/status").read_text()
    uid, gid = (int(re.search(rf"^{kind}:\s+(\d+)", status, re.M)[1]) for kind in ("Uid", "Gid"))
    words = [f"--{name}={value}:" for name, value in values.items()]
    subprocess.run(["prlimit", "--pid", str(pid), *words], user=uid, group=gid, extra_groups=[],
                   check=True, capture_output=True)


class Supervisor(threading.Thread):
    """What the units have systemd do: Restart=always, RestartSec=200ms, the sockets kept open."""

    def __init__(self, daemon, notified):
        super().__init__(daemon=True)
        self.daemon_process, self.ended, self.starts = daemon, False, 0
        self.paused = threading.Lock()  # held while a test starts or stops it itself
        self.notified = notified

    def run(self):
        while not self.ended:
            with self.paused:
                process = self.daemon_process.process
                if process and process.poll() is not None and not self.ended:
                    with open(self.daemon_process.log_path, "a") as log:
                        log.write(f"supervisor: homing-policyd ended, status={process.returncode}; "
                                  "starting it again\n")
                    time.sleep(0.2)
                    self.daemon_process.start(wait=False)
                    self.starts += 1
            with contextlib.suppress(BlockingIOError):
                self.notified.recv(4096)  # nobody waits for it here
            time.sleep(0.02)
        self.notified.close()


def text_of(problem):
    word = problem.args[0] if problem.args else problem
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)


class Traffic:
    """Mail by SMTP and logins by IMAP, until the end."""

    def __init__(self, system):
        self.system, self.end = system, False
        self.name = uuid.uuid4().hex[:12]
        self.accepted, self.unsure, self.sent = {}, {}, 0  # {token: account}
        self.logins = 0  # that opened what they should
        self.delayed = []  # refused for now, or not at all: allowed while something is broken
        self.denied = []  # told that the password is wrong, which it is not
        self.wrong = []  # never allowed
        self.threads = [threading.Thread(target=self.run, args=(work, number)) for work, number in (
            (self.send, 0), (self.send, 1), (self.log_in, 0), (self.log_in, 1))]

    def run(self, work, number):
        count = number
        while not self.end:
            try:
                work(count, f"fault{self.name}x{number}x{count}")
            except (OSError, EOFError, smtplib.SMTPException, imaplib.IMAP4.error) as problem:
                self.delayed.append((work.__name__, repr(problem)))
                time.sleep(0.1)
            except Exception as problem:  # a mistake of this file must fail the test
                self.wrong.append(repr(problem))
            count += 2
            time.sleep(0.03)

    def send(self, count, token):
        typed, account = MAIL[count // 2 % len(MAIL)]
        with self.system.smtp() as client:
            client.ehlo()
            code, text = client.docmd("MAIL FROM:<someone@elsewhere.example>")
            if code != 250:
                self.delayed.append(("MAIL FROM", code, text))
                if code >= 500:
                    self.wrong.append(("MAIL FROM", code, text))
                return
            code, text = client.docmd(f"RCPT TO:<{NOBODY}>")
            if code == 250 or (code >= 500 and code != 550):
                self.wrong.append((NOBODY, code, text))
            code, text = client.docmd(f"RCPT TO:<{typed}>")
            if code >= 500:
                self.wrong.append((typed, code, text))
            if code != 250:
                self.delayed.append((typed, code, text))
                return
            self.unsure[token] = account  # until it is answered
            code, text = client.data(
                f"Message-ID: <{token}@test>\r\nSubject: {token}\r\n\r\nA message.\r\n".encode())
            if code == 250:
                self.accepted[token] = account
                self.sent += 1
            else:
                self.delayed.append((typed, code, text))
                if code >= 500:
                    self.wrong.append((typed, code, text))

    def log_in(self, count, token):
        name, at, account = LOGINS[count // 2 % len(LOGINS)]
        password = "wrong" if count % 14 == 0 else PASSWORD
        try:
            owner = self.system.dovecot.imap_owner(name, password, ip=getattr(self.system, at))
        except imaplib.IMAP4.error as problem:
            said = text_of(problem)
            if password == PASSWORD:
                self.delayed.append((name, at, said))
                if "AUTHENTICATIONFAILED" in said:  # the mail program would ask for another password
                    self.denied.append((name, at, said))
            return
        if password != PASSWORD or owner not in (account, None):
            self.wrong.append((name, at, password, owner))
        elif owner is None:
            self.delayed.append((name, at, "no mailbox"))
        else:
            self.logins += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.end = True
        for thread in self.threads:
            thread.join()

    def wait(self, seconds=15):
        """Until some mail was taken and some logins worked, again."""
        sent, logins, end = self.sent, self.logins, time.monotonic() + seconds
        while self.sent < sent + 3 or self.logins < logins + 4:
            assert time.monotonic() < end, f"no service after {seconds} seconds: {self.delayed[-8:]}"
            time.sleep(0.05)


class System(Mail):
    """Mail, on file systems of its own. With Traffic it goes through a fault:

        with system.fault(told=[(system.policyd, "text of the line", 3)]):
            break it, and end the fault
    """

    def __init__(self, folder, shimmed=False):
        """Shimmed: Dovecot's processes and the daemon have another clock and a slow disk, as set_shim() says."""
        self.control = folder / "shim" if shimmed else None
        if shimmed:
            self.set_shim()
        self.mounts = []
        for name, size in (("directory", 128), ("directory/vmail", 24), ("postfix/queue", 24)):
            mount(folder / name, size)
            self.mounts.append(folder / name)
        (folder / "postfix").chmod(0o755)
        # A real daemon's log is not in Postfix's queue.
        (folder / "postfix" / "queue" / "homing").mkdir()
        (folder / "postfix" / "queue" / "homing" / "log").symlink_to(folder / "policyd.log")
        super().__init__(folder, main=(
            # Postfix's own patience, shortened: an hour of a broken disk should not be tried here.
            "\nservice_throttle_time = 1s\ntransport_retry_time = 1s\nqueue_minfree = 0\n"
            "smtpd_timeout = 30s\nsmtpd_policy_service_timeout = 10s\n"), policyd={
                "inherit": True, "workers": 2,
                "environment": {"NOTIFY_SOCKET": str(folder / "notify"), **self.shim_environment()}})
        self.directory, self.mail, self.queue = self.mounts
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.setblocking(False)
        self.notified.bind(str(folder / "notify"))
        (folder / "notify").chmod(0o666)

    def set_shim(self, clock_offset=0, disk_delay=0):
        """Seconds, and milliseconds."""
        self.control.touch(0o644)
        with open(self.control, "r+b") as file:
            file.write(struct.pack("=qq", clock_offset, disk_delay))

    def shim_environment(self):
        if not self.control:
            return {}
        return {"LD_PRELOAD": str(SHIM), "HOMING_TEST_SHIM": str(self.control)}

    def account(self, name, password=PASSWORD):
        """With a hash that costs nothing: what is tried here is not the hash."""
        self.homing.ctl("account", "import", "-",
                        text=json.dumps({"account": name, "password": "{PLAIN}" + password}))
        self.homing.readable()
        dovecot.make_mailbox(self.homing.vmail, name)
        self.passwords[name] = password

    def dovecot_settings(self):
        addresses = ", ".join([*dovecot.IPS, self.company, self.client1, self.other])
        settings = {**super().dovecot_settings(), "listen": addresses, "auth_debug": None, "log_debug": None}
        if self.control:
            words = [f"{name}={value}" for name, value in self.shim_environment().items()]
            settings["auth_cache_size"] = "1M"
            if not dovecot.NEW:
                settings["import_environment"] = " ".join(words)
        return settings

    def dovecot_services(self):
        lines = [f"  {name} = {value}" for name, value in self.shim_environment().items()]
        environment = ["import_environment {", *lines, "}"] if lines and dovecot.NEW else []
        return super().dovecot_services() + "\n".join(environment) + "\n"

    def start(self):
        super().start()
        self.supervisor = Supervisor(self.policyd, self.notified)
        self.supervisor.start()
        for account in self.passwords:  # numbers the message that says whose it is before others come
            assert self.dovecot.imap_owner(account, PASSWORD) == account
        return self

    def stop(self):
        supervisor = getattr(self, "supervisor", None)
        if supervisor:
            supervisor.ended = True
            supervisor.join()
        super().stop()
        for folder in reversed(self.mounts):
            subprocess.run(["umount", "-l", folder], check=False, capture_output=True)

    def begin(self):
        self.marks = {part: len(part.log()) for part in (self.dovecot, self.policyd, self.postfix)}

    def new_log(self, part):
        return part.log()[self.marks[part]:]

    def said(self, part, pattern):
        return [line for line in self.new_log(part).splitlines() if re.search(pattern, line)]

    def assert_told(self, part, pattern, at_most=4):
        """The log names the fault, and is not flooded by it."""
        lines = self.said(part, pattern)
        assert lines, f"not in the log: {pattern}"
        assert len(lines) <= at_most, lines
        print("log:", lines[0])
        return lines

    def assert_no_errors(self, but="nothing else"):
        """Of Homing's; what Dovecot says of processes that were killed is its own."""
        lines = self.said(self.policyd, "(error|warning): ") + [
            line for line in self.said(self.dovecot, "(Error|Fatal|Panic): ")
            if str(self.homing.path) in line or "homing(" in line]
        lines = [line for line in lines if not re.search(but, line)]
        assert lines == [], lines[:8]

    def stop_part(self, part):
        with self.supervisor.paused:
            part.stop()
            if part is self.policyd:
                part.process = None  # nobody is to start it again

    def start_part(self, part):
        with self.supervisor.paused:
            part.start()

    def processes(self, name):
        """Dovecot's, by their name, as `dovecot/auth`."""
        return [pid for pid, line in children(self.dovecot.process.pid).items()
                if line.split(" [")[0].strip() == name]

    def wait_for_process(self, name, seconds=10):
        end = time.monotonic() + seconds
        while not self.processes(name):
            assert time.monotonic() < end, children(self.dovecot.process.pid)
            time.sleep(0.05)
        return self.processes(name)[0]

    def logs(self):
        """What is not of every day."""
        every = r" Info: |: policy: reject: .*550 5.1.1|postfix/(qmgr|smtpd|cleanup|lmtp)\[\d+\]: (?!warning|error|fatal)"
        parts = []
        for name, part in (("Postfix", self.postfix), ("homing-policyd", self.policyd),
                           ("Dovecot", self.dovecot)):
            lines = [line for line in self.new_log(part).splitlines() if not re.search(every, line)]
            parts += [f"--- {name}: {len(lines)} lines", *lines[:12], *(["…"] + lines[-4:])[:max(0, len(lines) - 12)]]
        return "\n".join(parts)

    def copies(self):
        """{token: {account: how often}} of all mailboxes."""
        found = {}
        vmail = self.homing.vmail
        for path in vmail.rglob("*"):
            if path.parent.name not in ("new", "cur"):
                continue
            match = re.search(r"^Subject: (fault\w+)", path.read_text(errors="replace"), re.M)
            if match:
                domain, local = path.relative_to(vmail).parts[:2]
                where = found.setdefault(match[1], {})
                where[f"{local}@{domain}"] = where.get(f"{local}@{domain}", 0) + 1
        return found

    def drain(self, seconds=60):
        end = time.monotonic() + seconds
        while self.postfix.queued():
            assert time.monotonic() < end, f"still queued: {self.postfix.queued()}\n{self.logs()}"
            self.postfix.flush()
            time.sleep(0.5)

    def traffic(self):
        return Traffic(self)

    def recovered(self, traffic, seconds=15):
        """While the traffic goes on: nobody does anything, and it works again."""
        traffic.wait(seconds)

    def tries(self, token):
        """How often Postfix may have delivered the message, not knowing how its delivery had ended before: LMTP
        leaves no other way where a side is stopped between a message's end and the answer. Each time that it
        takes one up it also tries a new connection where one that it had kept open is no more."""
        taken = re.findall(rf"cleanup\[\d+\]: (\w+): message-id=<{token}@test>", self.new_log(self.postfix))
        return 2 * len(self.said(self.postfix, rf": {taken[0]}: .*queue active")) if len(taken) == 1 else 1

    def check(self, traffic, doubles=False):
        """When the traffic has ended: all that was accepted is where it belongs."""
        assert traffic.wrong == [], traffic.wrong[:5]
        # Dovecot's login processes say so when the authentication dies while they wait for it.
        cut_off = self.said(self.dovecot, "auth process communication failure")
        assert len(traffic.denied) <= len(cut_off), (traffic.denied, cut_off)
        assert traffic.accepted and traffic.logins
        self.drain()
        copies = self.copies()
        lost = {token: account for token, account in traffic.accepted.items() if token not in copies}
        assert not lost, f"{len(lost)} of {len(traffic.accepted)} lost: {list(lost.items())[:5]}"
        strange = {}
        for token, where in copies.items():
            account = traffic.unsure.get(token)
            most = self.tries(token) if doubles and list(where) == [account] and where[account] > 1 else 1
            if token.startswith("fault" + traffic.name) and not (
                    list(where) == [account] and where[account] <= most):
                strange[token] = where
        assert not strange, list(strange.items())[:5]
        assert "status=bounced" not in self.new_log(self.postfix)
        assert self.sink.recipients() == []
        print(f"{len(traffic.accepted)} messages, {traffic.logins} logins, {len(traffic.delayed)} "
              f"delayed: {sorted({str(d)[:100] for d in traffic.delayed})[:4]}")


def kill(pid):
    os.kill(pid, signal.SIGKILL)
