"""The private servers of packaging/demo: Dovecot, homing-policyd, Postfix.

They are those of the end-to-end tests, but configured by what `homingctl config dovecot`, the same
with `--sharing`, and `homingctl config postfix` print, and on free high ports of 127.0.0.21 to .23,
beside whatever runs on this system. Two words of what is printed are changed, and said here: the
submission service gets an address and a port of its own, because port 587 is the system's.
"""

import os
import random
import re
import shutil
import smtplib
import socket
import subprocess
import time

import dovecot
import policyd
import postfix
from homing import CLIENT1_IP, COMPANY_IP, OTHER_IP

ADDRESSES = [COMPANY_IP, CLIENT1_IP, OTHER_IP]
TRIES = 5


def is_free(port):
    """At each address that is used here: can one listen there?"""
    try:
        for ip in [*ADDRESSES, dovecot.PROXIED_IP]:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((ip, port))
    except OSError:
        return False
    return True


def free_ports(count):
    """From a random one on, so that two demos that start at once hardly choose the same."""
    found, port = [], random.randrange(10000, 29000)
    while len(found) < count:
        port += 1
        if is_free(port):
            found.append(port)
    return found


def snippet(homing, *words, postfix_config=""):
    """What homingctl prints for the versions that are installed here."""
    environment = {**os.environ, "MAIL_CONFIG": str(postfix_config)}
    return postfix.run(*homing.command().split(), "config", *words, env=environment)


def lines_for_dovecot(printed):
    """What `config postfix` has in a comment at its end: the sockets that Postfix needs of it."""
    comment = printed[printed.index("# Dovecot has to listen for Postfix"):]
    return "\n".join(re.findall(r"^#     (.*)$", comment, re.M))


class Dovecot(dovecot.Dovecot):
    def __init__(self, folder, homing, tls, for_postfix, ports):
        # The snippet has the characters of logins. The rest is an administrator's choice:
        # info+lists goes into the mailbox `lists`, which is made when the first mail comes.
        super().__init__(folder, [], [], tls=tls, raw=snippet(homing, "dovecot") + for_postfix,
                         settings={"auth_username_chars": None, "auth_debug": None,
                                   "lmtp_save_to_detail_mailbox": "yes",
                                   "lda_mailbox_autocreate": "yes"})
        self.ports = dict(zip(self.PORTS, ports))
        # The tests close this socket; by Dovecot's own default mail processes may ask there.
        self.raw += "\nservice auth {\n  unix_listener auth-userdb {\n    mode = 0666\n  }\n}\n"
        # What sharing needs depends on the rest: homingctl reads it.
        self.config.write_text(self.render())
        self.raw += snippet(homing, "dovecot", "--sharing", "--separator", "/", "-c",
                            str(self.config))


class Policyd(policyd.Policyd):
    """Below Postfix's queue directory, where a chrooted smtpd reaches its sockets."""

    def __init__(self, queue, directory, log_path, metrics_port):
        # The user `homing-policyd` is made by an installation; Dovecot's is here already, and may
        # read the directory. No domain of the story asks Dovecot which accounts there are.
        super().__init__(queue / "homing", directory, user="dovecot", userdb="none", workers=1,
                         socket_mode="0660", socket_group="postfix")
        self.log_path, self.metrics_tcp = log_path, (COMPANY_IP, metrics_port)

    def endpoints(self):
        return ["--policy", f"unix:{self.policy}", "--map", f"unix:{self.map}",
                "--metrics", "inet:%s:%d" % self.metrics_tcp]


class Postfix(postfix.Postfix):
    """Its smtpd are bound to address and port one by one. inet_interfaces cannot name 127.0.0.21:
    Postfix wants to find it on an interface, and nothing is added to this system's. That these
    addresses are its own, for info@[127.0.0.22], is said by proxy_interfaces."""

    def __init__(self, folder, tls, ports):
        super().__init__(folder, ADDRESSES, tls)
        self.ports = ports
        super().write()  # for `homingctl config postfix`, which reads what is there

    def base(self):
        others = re.sub(r"^inet_interfaces.*\n", "", super().base(), flags=re.M)
        return others + (
            "inet_protocols = ipv4\n"
            "inet_interfaces = loopback-only\n"
            f"proxy_interfaces = {', '.join(ADDRESSES)}\n"
            "default_transport = error:5.7.1 the demo sends nothing to other servers\n")

    def paste(self, main, master):
        self.main, self.master = main, master

    def write(self):
        super().write()
        path = self.config / "master.cf"
        text = at_addresses(path.read_text(), "smtp", self.ports["smtp"])
        path.write_text(at_addresses(text, "submission", self.ports["submission"]))

    def start(self):
        # Chrooted processes look up services and names there, as Debian's own script has it.
        (self.queue / "etc").mkdir(exist_ok=True)
        for name in ("services", "resolv.conf", "hosts", "nsswitch.conf", "localtime"):
            if os.path.exists(f"/etc/{name}"):
                shutil.copy(f"/etc/{name}", self.queue / "etc" / name)
        self.write()
        done = subprocess.run(["postfix", "-c", str(self.config), "start"], capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, timeout=60)
        self.running = True
        deadline = time.monotonic() + 20
        while done.returncode == 0 and time.monotonic() < deadline:
            try:
                for port in self.ports.values():
                    smtplib.SMTP(COMPANY_IP, port, timeout=10).close()
                return self
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"Postfix does not start: {done.stdout}{done.stderr}\n{self.log()}")


def at_addresses(master, service, port):
    """The inet service, with the lines that continue it, once for each address."""
    found = re.search(rf"^{service}(\s+inet.*\n(?:[ \t]+.*\n)*)", master, re.M)
    lines = "".join(f"{address}:{port}{found[1]}" for address in ADDRESSES)
    return master[:found.start()] + lines + master[found.end():]


class Servers:
    """All three; start_servers() starts them. `smtp`, `submission` and `dovecot.ports` are ports."""

    def __init__(self, work, homing, tls):
        self.tls = tls
        self.ports = free_ports(3 + len(Dovecot.PORTS))
        self.smtp, self.submission, metrics, *ports = self.ports
        self.postfix = Postfix(work / "postfix", tls,
                               {"smtp": self.smtp, "submission": self.submission})
        main = snippet(homing, "postfix", postfix_config=self.postfix.config)
        master = snippet(homing, "postfix", "--master", postfix_config=self.postfix.config)
        self.postfix.paste(main, master)
        self.dovecot = Dovecot(work / "dovecot", homing, tls, lines_for_dovecot(main),
                               ports)
        self.policyd = Policyd(self.postfix.queue, homing.path, work / "policyd.log", metrics)

    def start(self):
        try:
            self.dovecot.start()
            self.policyd.start()
            self.postfix.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()

    def stop(self):
        self.postfix.stop()
        if self.policyd.alive():
            self.policyd.stop()
        self.dovecot.stop()

    def logs(self):
        return "".join(f"\n{name}'s log ends:\n{server.log()[-2000:]}" for name, server in (
            ("Dovecot", self.dovecot), ("homing-policyd", self.policyd),
            ("Postfix", self.postfix)))

    def send(self, recipients, subject, sender, connection):
        """One message; what each RCPT was answered, as (code, text)."""
        connection.ehlo_or_helo_if_needed()
        code, text = connection.docmd(f"MAIL FROM:<{sender}>")
        answers = []
        for recipient in recipients:
            if code == 250:
                answers.append(connection.docmd(f"RCPT TO:<{recipient}>"))
            else:
                answers.append((code, text))
        if any(code == 250 for code, _ in answers):
            code, text = connection.data(
                f"From: <{sender}>\r\nSubject: {subject}\r\n\r\nA message.\r\n".encode())
            if code != 250:
                raise smtplib.SMTPDataError(code, text)
        connection.docmd("RSET")
        return [(code, text.decode(errors="replace")) for code, text in answers]

    def send_as_stranger(self, recipients, subject):
        with smtplib.SMTP(COMPANY_IP, self.smtp, local_hostname="client.example",
                          timeout=60) as connection:
            return self.send(recipients, subject, "someone@elsewhere.example", connection)

    def send_as_user(self, ip, login, password, sender, recipient, subject):
        """As a mail program does: submission, TLS, a login."""
        with smtplib.SMTP(ip, self.submission, local_hostname="client.example",
                          timeout=60) as connection:
            context = self.tls.context()
            context.check_hostname = False
            connection.starttls(context=context)
            connection.ehlo()
            connection.login(login, password)
            return self.send([recipient], subject, sender, connection)[0]

    def subjects(self, account, password):
        """What is in the account, over IMAP: [(mailbox, subject), ...]."""
        found = []
        client = self.dovecot.imap(account, password)
        try:
            for line in client.list()[1]:
                box = line.decode().rsplit(" ", 1)[1].strip('"')
                if client.select(f'"{box}"', readonly=True)[0] != "OK":
                    continue
                for part in client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
                    if isinstance(part, tuple):
                        found.append((box, part[1].decode().split(":", 1)[1].strip()))
        finally:
            client.logout()
        return found


def start_servers(work, homing, tls):
    """Somebody may take a port after it was found free; then all of them are chosen anew. Postfix
    does not always say that this is why it does not start."""
    for attempt in range(1, TRIES + 1):
        servers = Servers(work / f"servers{attempt}", homing, tls)
        try:
            return servers.start()
        except RuntimeError as problem:
            taken = [port for port in servers.ports if not is_free(port)]
            if not taken:
                raise
            if attempt == TRIES:
                raise RuntimeError(f"{problem}\nothers took the ports {taken}") from None
