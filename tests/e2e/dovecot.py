"""A private Dovecot of whichever version this system has, 2.3 or 2.4.

    server = Dovecot(folder, passdbs=[route(directory), static("pw")], userdbs=[...])
    with server:
        server.imap("info", "pw", ip="127.0.0.22")

Everything of it is below one folder; it listens on loopback addresses alone. The blocks of the
configuration are described once, and written as either version wants them.
"""

import imaplib
import os
import poplib
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import time
from pathlib import Path

from authclient import AuthClient, MasterClient

IPS = ["127.0.0.21", "127.0.0.22", "127.0.0.23"]
PROXIED_IP = "127.0.0.24"
MAIL_UID = "5000"
CHARS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890.-_@%+#*"


def installed_version():
    text = subprocess.run(["dovecot", "--version"], capture_output=True, text=True).stdout
    return tuple(int(part) for part in re.match(r"(\d+)\.(\d+)\.(\d+)", text).groups())


VERSION = installed_version()
NEW = VERSION >= (2, 4)
USER, NAME, DOMAIN = (
    ("%{user}", "%{user | username}", "%{user | domain}") if NEW else ("%u", "%n", "%d")
)


class Block:
    """One passdb or userdb. `old` is what 2.3's `args` says, `new` the lines of 2.4."""

    def __init__(self, driver, old="", new=(), results=None, fields=None, cache_key=None,
                 extra=None, settings=None):
        self.driver, self.old, self.new = driver, old, list(new)
        self.results, self.fields = results or {}, fields or {}
        self.cache_key, self.extra = cache_key, list(extra or [])
        self.settings = settings or {}  # of the whole server

    def render(self, kind, number):
        lines = [f"  driver = {self.driver}"]
        if NEW:
            head = f"{kind} block{number} {{"
            lines += [f"  {line}" for line in self.new]
            if self.fields:
                lines += ["  fields {"]
                lines += [f"    {key} = {value}" for key, value in self.fields.items()]
                lines += ["  }"]
        else:
            head = f"{kind} {{"
            args = self.old
            if self.driver == "static":
                args += " ".join(f"{key}={value}" for key, value in self.fields.items())
            elif self.fields:
                lines += ["  override_fields = "
                          + " ".join(f"{key}={value}" for key, value in self.fields.items())]
            if args:
                lines += [f"  args = {args}"]
        lines += [f"  {key} = {value}" for key, value in self.results.items()]
        lines += [f"  {line}" for line in self.extra]
        return "\n".join([head, *lines, "}"])


def homing(mode, directory, **results):
    return Block("homing", f"{mode} directory={directory}",
                 [f"homing_mode = {mode}", f"homing_directory = {directory}"], results)


def route(directory, **results):
    return homing("route", directory, **results)


def accounts(directory, **results):
    return homing("accounts", directory, **results)


def passwd_file(path, **results):
    return Block("passwd-file", f"username_format={USER} {path}",
                 [f"passwd_file_path = {path}", f"auth_username_format = {USER}"], results)


def static_passdb(password, **results):
    return Block("static", f"password={password}", [f"passdb_static_password = {password}"],
                 results)


def static_userdb(vmail):
    return Block("static", fields={
        "uid": MAIL_UID, "gid": MAIL_UID, "home": f"{vmail}/{DOMAIN}/{NAME}"})


def nobody(**results):
    """A passdb that knows no user."""
    return passwd_file("/dev/null", **results)


def pam(service, **results):
    return Block("pam", service, [f"passdb_pam_service_name = {service}"], results)


def sql(folder, kind, query):
    """SQLite: the database is sql.db in the folder."""
    config = Path(folder) / f"sql-{kind}.conf"
    name = "password_query" if kind == "passdb" else "user_query"
    old = query
    for new, short in (("%{user | username}", "%n"), ("%{user | domain}", "%d"),
                       ("%{user}", "%u")):
        old = old.replace(new, short)
    config.write_text(f"driver = sqlite\nconnect = {folder}/sql.db\n"
                      f"default_pass_scheme = PLAIN\n{name} = {old}\n")
    config.chmod(0o644)
    return Block("sql", str(config), [f"{kind}_sql_query = {query}"] + (
        ["passdb_default_password_scheme = PLAIN"] if kind == "passdb" else []),
        settings={"sql_driver": "sqlite", "sqlite_path": f"{folder}/sql.db"} if NEW else {})


def free_ports(count):
    """Ports that are free on every address that is used here. Each of several pytest processes
    (pytest-xdist) has a range of its own."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    found, port = [], 10100 + 1500 * (number % 14)
    while len(found) < count:
        port += 1
        try:
            for ip in [*IPS, PROXIED_IP]:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((ip, port))
        except OSError:
            continue
        found.append(port)
    return found


class Dovecot:
    PORTS = ["imap", "imaps", "pop3", "pop3s", "lmtp", "haproxy", "haproxys"]

    def __init__(self, folder, passdbs, userdbs, tls=None, settings=None, raw=""):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self.base = self.folder / "run"
        self.log_path = self.folder / "dovecot.log"
        self.config = self.folder / "dovecot.conf"
        self.passdbs, self.userdbs, self.tls, self.raw = passdbs, userdbs, tls, raw
        self.settings = settings or {}
        self.ports = dict(zip(self.PORTS, free_ports(len(self.PORTS))))
        self.process = None

    # The configuration

    def shared_settings(self):
        return {
            "instance_name": self.folder.name,
            "base_dir": self.base,
            "state_dir": self.folder / "state",
            "log_path": self.log_path,
            "protocols": "imap pop3 lmtp" if not NEW else None,
            "listen": ", ".join(IPS),
            "auth_mechanisms": "plain login",
            "auth_verbose": "yes",
            "auth_debug": "yes" if not NEW else None,
            "auth_failure_delay": "0",
            "first_valid_uid": "1",
            "mail_max_userip_connections": "0",
            "haproxy_trusted_networks": "127.0.0.0/8",
            "auth_username_chars": f'"{CHARS}"',
        }

    def version_settings(self):
        if NEW:
            # Debian's Dovecot takes any configuration version up to its own.
            return {
                "dovecot_config_version": "2.4.0",
                "dovecot_storage_version": "2.4.0",
                "mail_driver": "maildir",
                "mail_path": "~/Maildir",
                "auth_allow_cleartext": "yes",
                "log_debug": "category=auth",
            }
        return {
            "mail_location": "maildir:~/Maildir",
            "disable_plaintext_auth": "no",
        }

    def render(self):
        settings = {**self.version_settings(), **self.shared_settings()}
        for block in [*self.passdbs, *self.userdbs]:
            settings.update(block.settings)
        if self.tls:
            settings.update({
                "ssl": "yes",
                "ssl_server_cert_file" if NEW else "ssl_cert":
                    str(self.tls.cert) if NEW else f"<{self.tls.cert}",
                "ssl_server_key_file" if NEW else "ssl_key":
                    str(self.tls.key) if NEW else f"<{self.tls.key}",
            })
        else:
            settings["ssl"] = "no"
        settings.update(self.settings)
        lines = [f"{key} = {value}" for key, value in settings.items() if value is not None]
        if NEW:
            lines += ["protocols {", "  imap = yes", "  pop3 = yes", "  lmtp = yes", "}"]
        lines += [self.services()]
        lines += [block.render("passdb", n) for n, block in enumerate(self.passdbs)]
        lines += [block.render("userdb", n) for n, block in enumerate(self.userdbs)]
        return "\n".join([*lines, self.raw, ""])

    def services(self):
        port = self.ports
        address = "listen" if NEW else "address"

        def listener(name, number, *more):
            body = "".join(f"    {line}\n" for line in (f"port = {number}", *more))
            return f"  inet_listener {name} {{\n{body}  }}\n"

        proxied = (f"{address} = {PROXIED_IP}", "haproxy = yes")
        secure = "ssl = yes" if self.tls else None
        imap = listener("imap", port["imap"]) + listener("proxied", port["haproxy"], *proxied)
        pop3 = listener("pop3", port["pop3"])
        if secure:
            imap += listener("imaps", port["imaps"], secure)
            imap += listener("proxieds", port["haproxys"], *proxied, secure)
            pop3 += listener("pop3s", port["pop3s"], secure)
        else:
            imap += listener("imaps", 0)
            pop3 += listener("pop3s", 0)
        return f"""
service imap-login {{
{imap}  process_min_avail = 1
  client_limit = 1000
  process_limit = 4
  service_restart_request_count = unlimited
}}
service pop3-login {{
{pop3}}}
service lmtp {{
{listener("lmtp", port["lmtp"])}}}
service auth {{
  unix_listener auth-client {{
    mode = 0600
  }}
  unix_listener auth-userdb {{
    mode = 0600
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
""".replace("  service_restart_request_count = unlimited\n",
            "  restart_request_count = unlimited\n" if NEW else "  service_count = 0\n")

    # Running

    def start(self):
        (self.folder / "state").mkdir(exist_ok=True)
        self.config.write_text(self.render())
        self.process = subprocess.Popen(["dovecot", "-F", "-c", str(self.config)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + 20
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"dovecot did not start: {self.process.stdout.read()}\n"
                                   f"{self.log()}")
            try:
                with socket.create_connection((IPS[0], self.ports["imap"]), 1) as probe:
                    probe.settimeout(5)
                    if probe.recv(4) == b"* OK":
                        break
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError(f"dovecot is not ready after 20 seconds:\n{self.log()}")
            time.sleep(0.02)
        return self

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def errors(self, since=0):
        """Lines of the log, from that byte on, that an administrator is meant to see as errors."""
        text = self.log()[since:]
        return [line for line in text.splitlines()
                if re.search(r"(Error|Fatal|Panic|Warning): ", line)]

    def doveadm(self, *arguments, check=False):
        return subprocess.run(["doveadm", "-c", str(self.config), *arguments],
                              capture_output=True, text=True, check=check,
                              stdin=subprocess.DEVNULL, timeout=60)

    # Clients

    def auth(self):
        return AuthClient(self.base / "auth-client")

    def userdb(self):
        return MasterClient(self.base / "auth-userdb")

    def imap(self, login, password, ip=IPS[0], server_name=None, port=None):
        """A logged-in IMAP client; imaplib.IMAP4.error if refused."""
        if server_name is None:
            client = imaplib.IMAP4(ip, port or self.ports["imap"], timeout=60)
        else:
            client = IMAP4Named(ip, port or self.ports["imaps"], server_name, self.tls)
        try:
            client.login(login, password)
        except BaseException:
            client.shutdown()
            raise
        return client

    def imap_owner(self, *arguments, **keywords):
        """Whose mailbox it is that this login opens: what the message in it says."""
        client = self.imap(*arguments, **keywords)
        try:
            client.select("INBOX")
            status, data = client.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            if status != "OK" or data == [None]:
                return None
            return owner_in(data[0][1])
        finally:
            client.logout()

    def pop3_owner(self, login, password, ip=IPS[0], server_name=None):
        if server_name is None:
            client = poplib.POP3(ip, self.ports["pop3"], timeout=60)
        else:
            client = POP3Named(ip, self.ports["pop3s"], server_name, self.tls)
        try:
            client.user(login)
            client.pass_(password)
            if client.stat()[0] == 0:
                return None
            return owner_in(b"\r\n".join(client.top(1, 0)[1]))
        finally:
            client.close()

    def deliver(self, recipient, subject, ip=IPS[0]):
        """Delivers over LMTP; smtplib's exception if refused."""
        client = smtplib.LMTP(ip, self.ports["lmtp"])
        client.sock.settimeout(60)
        try:
            client.sendmail("sender@elsewhere.example", [recipient],
                            f"Subject: {subject}\r\n\r\nA message.\r\n")
        finally:
            client.close()


def owner_in(header):
    found = re.search(rb"Subject: the mailbox of (\S+)", header)
    return found.group(1).decode() if found else None


class IMAP4Named(imaplib.IMAP4):
    """IMAP over TLS to an address, with a server name of one's own choice in the handshake."""

    def __init__(self, ip, port, server_name, tls):
        self.context, self.server_name = tls.context(), server_name
        super().__init__(ip, port, timeout=60)

    def _create_socket(self, timeout):
        plain = super()._create_socket(timeout)
        return self.context.wrap_socket(plain, server_hostname=self.server_name)


class POP3Named(poplib.POP3):
    def __init__(self, ip, port, server_name, tls):
        self.context, self.server_name = tls.context(), server_name
        super().__init__(ip, port, timeout=60)

    def _create_socket(self, timeout):
        plain = super()._create_socket(timeout)
        return self.context.wrap_socket(plain, server_hostname=self.server_name)


def make_mailbox(vmail, account):
    """A Maildir at its home with one message that says whose it is."""
    local, domain = account.rsplit("@", 1)
    home = Path(vmail) / domain / local
    new = home / "Maildir" / "new"
    for folder in (new, home / "Maildir" / "cur", home / "Maildir" / "tmp"):
        folder.mkdir(parents=True, exist_ok=True)
    (new / "1000000000.first.host").write_text(
        f"From: postmaster@{domain}\r\nSubject: the mailbox of {account}\r\n\r\nYours.\r\n")
    for path in [Path(vmail), home.parent, home, *home.rglob("*")]:
        os.chown(path, int(MAIL_UID), int(MAIL_UID))
    return home


class Tls:
    """An authority of our own and one certificate with many names."""

    def __init__(self, folder, names):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.authority, self.cert, self.key = (folder / f for f in ("ca.pem", "cert.pem", "key.pem"))
        request, extensions = folder / "request.pem", folder / "extensions"
        extensions.write_text(
            "subjectAltName=" + ",".join(f"DNS:{name}" for name in names) + "\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Test CA",
                "-addext", "keyUsage=critical,keyCertSign", "-keyout", folder / "ca-key.pem", "-out", self.authority)
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mail", "-keyout", self.key,
                "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.authority, "-CAkey",
                folder / "ca-key.pem", "-set_serial", "1", "-days", "2", "-extfile", extensions,
                "-out", self.cert)
        self.both = folder / "both.pem"  # as haproxy wants it
        self.both.write_text(self.cert.read_text() + self.key.read_text())

    def context(self):
        return ssl.create_default_context(cafile=str(self.authority))


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True,
                   stdin=subprocess.DEVNULL)
