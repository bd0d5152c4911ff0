"""A private Postfix of whichever version this system has, with Dovecot and homing-policyd beside it.

    with Mail(folder) as mail:                  # the story's three domains, everything running
        mail.send("info%client2.com@company.com")
        assert mail.owner() == "info@client2.com"

Its configuration is what `homingctl config postfix` prints, pasted as it is. Postfix listens on the
standard ports, so every instance has loopback addresses of its own: 127.0.N.21 belongs to
company.com, .22 to client1.com, .23 to nobody, .24 is a server elsewhere. That needs a network
namespace (packaging/with-modules --net)."""

import os
import re
import shutil
import smtplib
import ssl
import subprocess
import time
import uuid
from pathlib import Path

import dovecot
from homing import Homing
from policyd import RELEASE, Policyd

POSTFIX_UID, POSTFIX_GID = None, None
TRUSTED = "127.0.0.9"  # a client in mynetworks; all others are strangers
STRANGER = "127.0.0.8"


def installed_version():
    text = subprocess.run(["postconf", "-dh", "mail_version"], capture_output=True, text=True)
    return tuple(int(part) for part in re.findall(r"\d+", text.stdout)[:3])


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n"
                           f"{done.stdout}{done.stderr}")
    return done.stdout


def net_number(counter=[0]):
    """N of 127.0.N.0/24: one for each instance of each pytest process."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 14
    counter[0] = counter[0] % 15 + 1
    return 20 + worker * 16 + counter[0]


class Postfix:
    """One instance below one folder. `main` and `master` are lines for main.cf and master.cf, behind
    the few that make it private."""

    def __init__(self, folder, addresses, tls=None, main="", master="", chroot=True):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config, self.queue = self.folder / "etc", self.folder / "queue"
        self.data, self.log_path = self.folder / "data", self.folder / "mail.log"
        self.addresses, self.tls = addresses, tls
        self.main, self.master, self.chroot = main, master, chroot
        self.running = False
        self.prepare()

    def prepare(self):
        """The folders, so that Dovecot and the daemon can put their sockets there."""
        self.config.mkdir(exist_ok=True)
        for name in ("dynamicmaps.cf", "dynamicmaps.cf.d", "postfix-files", "postfix-files.d"):
            if Path("/etc/postfix", name).is_dir():
                shutil.copytree(Path("/etc/postfix", name), self.config / name, dirs_exist_ok=True)
            elif Path("/etc/postfix", name).exists():
                shutil.copy(Path("/etc/postfix", name), self.config / name)
        for path in (self.queue, self.queue / "private", self.data):
            path.mkdir(exist_ok=True)
        shutil.chown(self.data, "postfix")
        shutil.chown(self.queue / "private", "postfix")
        (self.queue / "private").chmod(0o700)
        homing = self.queue / "homing"
        homing.mkdir(exist_ok=True)
        homing.chmod(0o755)

    def base(self):
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": self.queue,
            "data_directory": self.data,
            "maillog_file": self.log_path,
            "maillog_file_prefixes": self.folder,
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "inet_interfaces": ", ".join(self.addresses),
            "myhostname": "mx.company.com",
            "mydestination": "localhost",
            "mynetworks": f"{TRUSTED}/32",
            "alias_maps": "",
            "alias_database": "",
            "smtp_host_lookup": "native",
            "minimal_backoff_time": "1s",
            "maximal_backoff_time": "2s",
            "queue_run_delay": "1s",
            "smtpd_error_sleep_time": "0",
            "smtpd_soft_error_limit": "1000",
            "smtpd_hard_error_limit": "1000",
            "smtpd_junk_command_limit": "1000",
            "smtpd_client_connection_rate_limit": "0",
            "smtpd_client_connection_count_limit": "0",
            "ipc_idle": "30s",
        }
        if self.tls:
            settings["smtpd_tls_cert_file"] = self.tls.cert
            settings["smtpd_tls_key_file"] = self.tls.key
            settings["smtpd_tls_security_level"] = "may"
        return "".join(f"{name} = {value}\n" for name, value in settings.items())

    def write(self):
        (self.config / "main.cf").write_text(self.base() + "\n" + self.main)
        jail = "y" if self.chroot else "n"
        services = [
            ("smtp", "inet", "n", "-", jail, "-", "-", "smtpd"),
            ("pickup", "unix", "n", "-", jail, "60", "1", "pickup"),
            ("cleanup", "unix", "n", "-", jail, "-", "0", "cleanup"),
            ("qmgr", "unix", "n", "-", "n", "300", "1", "qmgr"),
            ("tlsmgr", "unix", "-", "-", jail, "1000?", "1", "tlsmgr"),
            ("rewrite", "unix", "-", "-", jail, "-", "-", "trivial-rewrite"),
            ("bounce", "unix", "-", "-", jail, "-", "0", "bounce"),
            ("defer", "unix", "-", "-", jail, "-", "0", "bounce"),
            ("trace", "unix", "-", "-", jail, "-", "0", "bounce"),
            ("verify", "unix", "-", "-", jail, "-", "1", "verify"),
            ("proxymap", "unix", "-", "-", "n", "-", "-", "proxymap"),
            ("smtp", "unix", "-", "-", jail, "-", "-", "smtp"),
            ("relay", "unix", "-", "-", jail, "-", "-", "smtp"),
            ("error", "unix", "-", "-", jail, "-", "-", "error"),
            ("retry", "unix", "-", "-", jail, "-", "-", "error"),
            ("discard", "unix", "-", "-", jail, "-", "-", "discard"),
            ("local", "unix", "-", "n", "n", "-", "-", "local"),
            ("virtual", "unix", "-", "n", "n", "-", "-", "virtual"),
            ("lmtp", "unix", "-", "-", jail, "-", "-", "lmtp"),
            ("anvil", "unix", "-", "-", jail, "-", "1", "anvil"),
            ("scache", "unix", "-", "-", jail, "-", "1", "scache"),
            ("postlog", "unix-dgram", "n", "-", "n", "-", "1", "postlogd"),
        ]
        lines = ["  ".join(service) for service in services]
        (self.config / "master.cf").write_text("\n".join(lines) + "\n\n" + self.master)

    def start(self):
        # Chrooted processes look up services and names there, as Debian's own script has it.
        for name in ("services", "resolv.conf", "hosts", "nsswitch.conf", "localtime"):
            if Path("/etc", name).exists():
                (self.queue / "etc").mkdir(exist_ok=True)
                shutil.copy(Path("/etc", name), self.queue / "etc" / name)
        self.write()
        run("postfix", "-c", self.config, "start", env={**os.environ, "MAIL_CONFIG": ""})
        self.running = True
        deadline = time.monotonic() + 20
        while True:
            try:
                with smtplib.SMTP(self.addresses[0], 25, timeout=10):
                    return self
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"Postfix does not answer:\n{self.log()}") from None
                time.sleep(0.05)

    def stop(self):
        if self.running:
            self.running = False
            subprocess.run(["postfix", "-c", str(self.config), "stop"], capture_output=True,
                           stdin=subprocess.DEVNULL, timeout=60)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def problems(self):
        """Lines of the log that an administrator would have to look into."""
        return [line for line in self.log().splitlines()
                if re.search(r"(warning|error|fatal|panic): ", line)]

    def queued(self):
        """Names of the files in the queues."""
        return [path.name for queue in ("maildrop", "incoming", "active", "deferred", "hold",
                                        "corrupt")
                for path in (self.queue / queue).rglob("*") if path.is_file()]

    def flush(self):
        subprocess.run(["postqueue", "-c", str(self.config), "-f"], capture_output=True, check=False,
                       stdin=subprocess.DEVNULL, timeout=60)

    def postmap(self, table, key):
        """What a client of the map gets: the value, or None."""
        done = subprocess.run(["postmap", "-c", str(self.config), "-q", key, table],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
                              cwd=self.queue)
        if done.returncode > 1 or done.stderr:
            raise RuntimeError(f"postmap -q {key} {table}: {done.stderr}")
        return done.stdout.rstrip("\n") if done.returncode == 0 else None

    def wait_until_empty(self, seconds=30):
        deadline = time.monotonic() + seconds
        while self.queued():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the queue still has {self.queued()}:\n{self.log()[-3000:]}")
            time.sleep(0.05)


class Sink:
    """A mail server elsewhere (Postfix's smtp-sink), which keeps what it gets."""

    def __init__(self, folder, address, port=2525):
        self.folder, self.address, self.port = Path(folder), address, port
        self.process = None

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            ["smtp-sink", "-u", "root", "-d", str(self.folder / "m."), "-8",
             f"inet:{self.address}:{self.port}", "100"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(10)

    def recipients(self, token=""):
        """Of the messages with this text in them."""
        found = []
        for path in sorted(self.folder.glob("m.*")):
            text = path.read_text(errors="replace")
            if token in text:
                found += re.findall(r"^X-Rcpt-Args: <(.*)>", text, re.M)
        return found


def as_bytes(address):
    return address if isinstance(address, bytes) else address.encode()


class Mail:
    """Everything: a directory, Dovecot (LMTP, IMAP, SASL), the daemon, Postfix, a sink."""

    def __init__(self, folder, config=None, names=(), policyd=(), own_passwords=True, tls=None,
                 chroot=True, userdb=False, main="", homing=None):
        """`config(mail)` gives homing.json, `names` the lines for homingctl, as "alias add A B"."""
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self.net = f"127.0.{net_number()}"
        self.company, self.client1, self.other, self.elsewhere = (
            f"{self.net}.{last}" for last in (21, 22, 23, 24))
        self.tls, self.chroot, self.more_main = tls, chroot, main
        self.passwords = {}
        self.homing = homing or Homing(self.folder / "directory")
        self.tokens = []
        self.homing.apply((config or story)(self))
        for words in names:
            self.homing.ctl(*words.split())
        self.policyd_options = dict(policyd)
        self.userdb = userdb

    def account(self, name, password="secret"):
        self.homing.account(name, password)
        self.passwords[name] = password

    def fill(self):
        for name in ACCOUNTS:
            self.account(name)
        self.homing.ctl("alias", "add", "sales@company.com", "info@company.com")
        self.homing.ctl("alias", "add", "verkauf@client2.com", "info@client2.com")
        self.homing.readable()

    # Running

    def snippet(self, *more):
        environment = {**os.environ, "MAIL_CONFIG": str(self.postfix.config)}
        return run(*self.homing.command().split(), "config", "postfix", *more, env=environment)

    def start(self):
        for last in (21, 22, 23, 24):
            subprocess.run(["ip", "addr", "add", f"{self.net}.{last}/8", "dev", "lo"],
                           capture_output=True, check=False)
        for address in (STRANGER, TRUSTED):
            subprocess.run(["ip", "addr", "add", f"{address}/8", "dev", "lo"], capture_output=True,
                           check=False)
        self.postfix = Postfix(self.folder / "postfix", [self.company, self.client1, self.other],
                               self.tls, chroot=self.chroot)
        self.postfix.write()
        sink = f"relayhost = [{self.elsewhere}]:2525\n"
        self.postfix.main = self.snippet() + sink + self.more_main
        self.postfix.master = self.snippet("--master")
        self.sink = Sink(self.folder / "sink", self.elsewhere)
        self.dovecot = dovecot.Dovecot(
            self.folder / "dovecot", [dovecot.accounts(self.homing.path), *self.more_passdbs()],
            [dovecot.accounts(self.homing.path), *self.more_userdbs()], tls=self.tls,
            raw=self.dovecot_services(), settings=self.dovecot_settings())
        options = {"socket_mode": "0660", "socket_group": "postfix", "user": "dovecot",
                   "max_connections": 2000}
        if self.userdb:
            options["userdb"] = self.dovecot.base / "auth-userdb"
        self.policyd = Policyd(self.postfix.queue / "homing", self.homing.path, program=RELEASE,
                               **{**options, **self.policyd_options})
        try:
            self.sink.start()
            self.dovecot.start()
            self.homing.readable()
            for service, _ in self.policyd.inherited:
                if service != "metrics":
                    getattr(self.policyd, service).chmod(0o666)
            self.policyd.start()
            self.postfix.start()
        except BaseException:
            self.stop()
            raise
        return self

    def ctl(self, *words, **more):
        done = self.homing.ctl(*words, **more)
        self.homing.readable()
        return done

    def more_passdbs(self):
        return []

    def more_userdbs(self):
        return []

    def dovecot_settings(self):
        return {"lmtp_save_to_detail_mailbox": "yes", "lda_mailbox_autocreate": "yes",
                "recipient_delimiter": '"+-"'}

    def dovecot_services(self):
        """What `homingctl config postfix` says that Dovecot needs, with this queue's path."""
        private = self.postfix.queue / "private"
        return f"""
service lmtp {{
  unix_listener {private}/dovecot-lmtp {{
    mode = 0600
    user = postfix
    group = postfix
  }}
}}
service auth {{
  unix_listener {private}/auth {{
    mode = 0660
    user = postfix
    group = postfix
  }}
  unix_listener auth-userdb {{
    mode = 0666
  }}
}}
"""

    def stop(self):
        for part in (self.postfix, self.policyd, self.dovecot, self.sink):
            try:
                if part is not self.policyd or (part.process and part.process.poll() is None):
                    part.stop()
            except Exception as problem:  # the others must be stopped too
                print(f"stopping {part}: {problem}")
        for last in (21, 22, 23, 24):
            subprocess.run(["ip", "addr", "del", f"{self.net}.{last}/8", "dev", "lo"],
                           capture_output=True, check=False)

    def __enter__(self):
        self.fill()
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    def logs(self):
        return (f"--- Postfix\n{self.postfix.log()[-5000:]}\n--- homing-policyd\n"
                f"{self.policyd.log()[-2000:]}\n--- Dovecot\n{self.dovecot.log()[-1000:]}")

    # Sending

    def smtp(self, ip=None, client=STRANGER, port=25, login=None, password="secret"):
        connection = smtplib.SMTP(ip or self.company, port, local_hostname="client.example",
                                  timeout=60, source_address=(client, 0))
        if login is not None:
            context = self.tls.context()
            context.check_hostname = False
            connection.starttls(context=context)
            connection.ehlo()
            connection.login(login, password)
        return connection

    def try_recipient(self, recipient, sender="someone@elsewhere.example", connection=None,
                      options=(), **how):
        """The reply to RCPT, as (code, text)."""
        own = connection is None
        connection = connection or self.smtp(**how)
        try:
            connection.ehlo_or_helo_if_needed()
            code, text = connection.docmd(f"MAIL FROM:<{sender}>" + "".join(f" {o}" for o in options))
            if code == 250:
                connection.send(b"RCPT TO:<%s>\r\n" % as_bytes(recipient))
                code, text = connection.getreply()
            connection.docmd("RSET")
            return code, text.decode(errors="replace")
        finally:
            if own:
                connection.close()

    def send(self, *recipients, sender="someone@elsewhere.example", connection=None, options=(),
             **how):
        """Sends one message; what each RCPT was answered, {recipient: (code, text)}. The message is
        found again by the token that stands in its subject: self.token."""
        self.token = uuid.uuid4().hex
        own = connection is None
        connection = connection or self.smtp(**how)
        answers = {}
        try:
            connection.ehlo_or_helo_if_needed()
            code, text = connection.docmd(f"MAIL FROM:<{sender}>" + "".join(f" {o}" for o in options))
            if code != 250:
                raise smtplib.SMTPSenderRefused(code, text, sender)
            for recipient in recipients:
                connection.send(b"RCPT TO:<%s>\r\n" % as_bytes(recipient))
                code, text = connection.getreply()
                answers[recipient] = code, text.decode(errors="replace")
            if any(code == 250 for code, _ in answers.values()):
                code, text = connection.data(
                    f"From: <{sender}>\r\nSubject: {self.token}\r\n\r\nA message.\r\n".encode())
                if code != 250:
                    raise smtplib.SMTPDataError(code, text)
            else:
                connection.docmd("RSET")
            return answers
        finally:
            if own:
                connection.close()

    # Looking

    def finished(self, seconds=30):
        self.postfix.wait_until_empty(seconds)

    def owners(self, token=None):
        """In whose mailboxes the message is, by IMAP: {account: [mailbox, ...]}."""
        token = token or self.token
        self.finished()
        found = {}
        for account, password in self.passwords.items():
            client = self.dovecot.imap(account, password)
            try:
                for line in client.list()[1]:
                    if line is None:
                        continue
                    box = line.decode().rsplit(' "." ' if ' "." ' in line.decode() else ' "/" ')[-1]
                    if client.select(box, readonly=True)[0] != "OK":
                        continue
                    numbers = client.search(None, "SUBJECT", f'"{token}"')[1][0].split()
                    if numbers:
                        found.setdefault(account, []).extend([box.strip('"')] * len(numbers))
            finally:
                client.logout()
        return found

    def owner(self, token=None):
        """The one account that has it, else a description of what is there instead."""
        found = self.owners(token)
        if len(found) == 1 and len(next(iter(found.values()))) == 1:
            return next(iter(found))
        return found


ACCOUNTS = ["info@company.com", "info@client1.com", "info@client2.com", "postmaster@company.com"]


def story(mail):
    """The three domains on this instance's addresses."""
    return {
        "main_domain": "company.com",
        "account_defaults": {"home": f"{mail.homing.vmail}/%{{domain}}/%{{local}}",
                             "uid": dovecot.MAIL_UID, "gid": dovecot.MAIL_UID},
        "domains": {
            "company.com": {"addresses": [mail.company, "2001:db8::1"]},
            "client1.com": {"addresses": [mail.client1]},
            "client2.com": {"aliases": ["mail.client2.com"], "server_names": ["*.client2.com"]},
        },
        "router": [
            {"match": "spamtrap@*", "to": "discard:"},
            {"match": "closed@client1.com", "to": "error:5.1.6 this address has moved"},
            {"match": "later@client1.com", "to": "error:4.2.1 come back tomorrow"},
            {"match": "old.example", "to": "company.com"},
        ],
    }
