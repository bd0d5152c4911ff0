"""What production does to the daemon while mail comes in: killed, restarted, upgraded, the directory
changed. No message is lost, doubled, bounced or delivered elsewhere, and no client is refused."""

import smtplib
import threading
import time
import uuid

import pytest

from policyd import MapClient, listen
from postfix import Mail, story

SECONDS, CLIENTS = 8, 4


@pytest.fixture(scope="module")
def mail(top, tls):
    mail = Mail(top / "load", tls=tls, policyd={"inherit": True})
    with mail:
        yield mail


@pytest.fixture(autouse=True)
def logs(request):
    yield
    if getattr(request.node, "failed", False):
        print(request.getfixturevalue("mail").logs())


# Each account by one of its names.
TYPED = ["info%client1.com", "info%client2.com@company.com", "sales@company.com",
         "nobody@client1.com"]


class Senders:
    """Clients that send one message after the other, each to good names and to one that is nobody's."""

    def __init__(self, mail, typed=TYPED):
        self.mail, self.typed = mail, typed
        self.sent, self.problems, self.end = [], [], False
        self.name = uuid.uuid4().hex  # no token comes twice
        self.threads = [threading.Thread(target=self.send, args=(n,)) for n in range(CLIENTS)]

    def send(self, number):
        count = 0
        while not self.end:
            count += 1
            token = f"load{number}x{count}x{self.name}"
            try:
                with self.mail.smtp() as client:
                    client.ehlo()
                    client.docmd("MAIL FROM:<someone@elsewhere.example>")
                    taken = []
                    for typed in self.typed:
                        code, text = client.docmd(f"RCPT TO:<{typed}>")
                        if code == 250:
                            taken.append(typed)
                        if code != (550 if typed.startswith("nobody") else 250):
                            self.problems.append((token, typed, code, text))
                    if taken:
                        code, text = client.data(f"Subject: {token}\r\n\r\nLoad.\r\n".encode())
                        if code == 250:
                            self.sent.append(token)
                        else:
                            self.problems.append((token, "DATA", code, text))
            except (OSError, smtplib.SMTPException) as problem:
                self.problems.append((token, repr(problem)))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.end = True
        for thread in self.threads:
            thread.join()


def copies(mail, tokens):
    """{token: {account: how often it is there}}, from the files of all mailboxes."""
    found = {token: {} for token in tokens}
    for path in mail.homing.vmail.rglob("*"):
        if path.parent.name in ("new", "cur") and path.is_file():
            text = path.read_text(errors="replace")
            start = text.find("Subject: load")
            if start >= 0:
                token = text[start + 9:].split("\r\n")[0].split("\n")[0]
                domain, local = path.relative_to(mail.homing.vmail).parts[:2]
                if token in found:
                    name = f"{local}@{domain}"
                    found[token][name] = found[token].get(name, 0) + 1
    return found


EXPECTED = {"info@client1.com": 1, "info@client2.com": 1, "info@company.com": 1}


def check(mail, senders):
    assert len(senders.sent) >= CLIENTS * 2, senders.problems[:5]
    mail.finished(90)
    wrong = {token: where for token, where in copies(mail, senders.sent).items()
             if where != EXPECTED}
    assert not wrong, dict(list(wrong.items())[:5])
    assert "status=bounced" not in mail.postfix.log()
    assert mail.sink.recipients() == []


def test_a_daemon_killed_under_load_loses_nothing(mail):
    """Under socket activation: somebody keeps the sockets and starts it again."""
    with Senders(mail) as senders:
        end = time.monotonic() + SECONDS
        kills = 0
        while time.monotonic() < end:
            time.sleep(0.7)
            mail.policyd.kill()
            mail.policyd.start()
            kills += 1
    assert kills >= 4
    # Postfix asks again; a refusal for now (4xx) is allowed, a wrong answer is not.
    assert [p for p in senders.problems if not (len(p) == 4 and 400 <= p[2] < 500)] == []
    assert len(senders.problems) <= len(senders.sent)
    check(mail, senders)


def test_a_restart_or_upgrade_refuses_no_request(mail):
    with Senders(mail) as senders:
        for _ in range(6):
            time.sleep(0.8)
            assert mail.policyd.stop() == 0
            mail.policyd.start()
    assert senders.problems == []
    check(mail, senders)


def test_apply_under_load_shows_the_old_or_the_new(mail):
    """`desk` moves from client1.com to client2.com and back, and with it what `depot` says; a mixture
    would deliver to both or to none."""
    configs = []
    for here, there in (("client1.com", "client2.com"), ("client2.com", "client1.com")):
        config = story(mail)
        config["router"] += [
            {"match": "desk@*", "to": f"info@{here}"},
            {"match": f"depot@{here}", "to": "error:5.1.6 moved"},
            {"match": f"depot@{there}", "to": "info@company.com"},
        ]
        configs.append(config)
    mail.homing.apply(configs[0])
    wrong, counts, end = [], {"info@client1.com": 0, "info@client2.com": 0}, time.monotonic() + SECONDS

    def ask():
        with MapClient(mail.policyd.map) as client:
            while time.monotonic() < end:
                status, value = client.ask("alias", "desk@company.com")
                if status != "OK" or value not in counts:
                    wrong.append((status, value))
                else:
                    counts[value] += 1

    threads = [threading.Thread(target=ask) for _ in range(3)]
    with Senders(mail) as senders:
        for thread in threads:
            thread.start()
        turn = 0
        while time.monotonic() < end:
            turn += 1
            mail.homing.apply(configs[turn % 2])
            time.sleep(0.1)
        for thread in threads:
            thread.join()
    assert wrong == [] and min(counts.values()) > 20, (wrong[:5], counts)
    assert senders.problems == []
    check(mail, senders)


def test_dry_run_refuses_nothing(mail):
    mail.policyd.stop()
    mail.policyd.options["dry_run"] = True
    mail.policyd.start()
    try:
        code, text = mail.try_recipient("closed@client1.com")
        assert code == 550 and "unknown" in text.lower()  # by Postfix itself, not with our words
        assert mail.try_recipient("a%far.example@company.com")[0] == 554
        assert mail.try_recipient("info@client1.com")[0] == 250
        mail.policyd.wait_for_log("closed@client1.com")
    finally:
        mail.policyd.stop()
        del mail.policyd.options["dry_run"]
        mail.policyd.start()


def test_while_the_daemon_is_away_mail_waits(mail):
    assert mail.policyd.stop() == 0
    for _, server in mail.policyd.inherited:
        server.close()
    for path in (mail.policyd.policy, mail.policyd.map):
        path.unlink()
    code, text = mail.try_recipient("info@client1.com")
    assert 400 <= code < 500, (code, text)
    mail.policyd.inherited = [
        (service, listen(address)) for service, address in (
            ("policy", mail.policyd.policy), ("map", mail.policyd.map),
            ("metrics", mail.policyd.metrics_tcp))]
    for path in (mail.policyd.policy, mail.policyd.map):
        path.chmod(0o666)
    mail.policyd.start()
    assert mail.send("info@client1.com")["info@client1.com"][0] == 250
    assert mail.owner() == "info@client1.com"
