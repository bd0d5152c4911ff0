"""Mail programs: IMAP and POP3 in clear, with STARTTLS, and over TLS; with a TLS server name of
one's own choice, or with none."""

import imaplib
import poplib
import smtplib

from dovecot import IMAP4Named, POP3Named, owner_in


class Nameless:
    """TLS of a program that sends no server name. It trusts our authority, but has no name that it
    could compare with the certificate's."""

    def __init__(self, tls):
        self.tls = tls

    def context(self):
        context = self.tls.context()
        context.check_hostname = False
        return context


def connect_imap(way, ip, port, server_name, tls):
    if way == "tls":
        return IMAP4Named(ip, port, server_name, tls)
    client = imaplib.IMAP4(ip, port, timeout=20)
    if way == "starttls":
        client.host = server_name  # what starttls() sends as the TLS server name
        client.starttls(tls.context())
    return client


def connect_pop3(way, ip, port, server_name, tls):
    if way == "tls":
        return POP3Named(ip, port, server_name, tls)
    client = poplib.POP3(ip, port, timeout=20)
    if way == "starttls":
        client.host = server_name
        client.stls(tls.context())
    return client


def is_secure(client):
    return getattr(client.sock, "version", lambda: None)() is not None


def imap_owner(way, ip, port, login, password, server_name=None, tls=None):
    """Whose mailbox it is that this login opens: what the message in it says."""
    client = connect_imap(way, ip, port, server_name, tls if server_name or not tls
                          else Nameless(tls))
    try:
        assert is_secure(client) == (way != "clear")
        client.login(login, password)
        client.select("INBOX")
        status, data = client.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        return owner_in(data[0][1]) if status == "OK" and data != [None] else None
    finally:
        client.shutdown()


def pop3_owner(way, ip, port, login, password, server_name=None, tls=None):
    client = connect_pop3(way, ip, port, server_name, tls if server_name or not tls
                          else Nameless(tls))
    try:
        assert is_secure(client) == (way != "clear")
        client.user(login)
        client.pass_(password)
        return owner_in(b"\r\n".join(client.top(1, 0)[1])) if client.stat()[0] else None
    finally:
        client.close()


def deliver(way, ip, port, recipient, subject, server_name=None, tls=None):
    """Over LMTP; smtplib's exception if refused."""
    client = smtplib.LMTP(ip, port)
    client.sock.settimeout(20)
    try:
        if way == "starttls":
            client._host = server_name
            assert client.starttls(context=tls.context())[0] == 220
        assert is_secure(client) == (way != "clear")
        client.sendmail("sender@elsewhere.example", [recipient],
                        f"Subject: {subject}\r\n\r\nA message.\r\n")
    finally:
        client.close()


def received_by(vmail, subject):
    """The accounts in whose mailboxes the message with this subject lies. Dovecot 2.4.5 gives what
    it delivers a flag of its own, so it may lie in cur."""
    homes = [path.parent.parent.parent for folder in ("new", "cur")
             for path in vmail.glob(f"*/*/Maildir/{folder}/*") if subject in path.read_text()]
    return [f"{home.name}@{home.parent.name}" for home in homes]
