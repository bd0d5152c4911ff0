"""Sending mail: logins mean what they mean for IMAP, and an account sends as itself alone."""

import smtplib

import pytest

from postfix import Mail, story


def config(mail):
    config = story(mail)
    config["domains"]["catch.example"] = {"unknown": "reroute:info@client2.com"}
    config["router"].append({"match": "*-shop@company.com", "to": "info@client2.com"})
    return config


@pytest.fixture(scope="module")
def mail(top, tls):
    mail = Mail(top / "submission", config=config, tls=tls)
    mail.homing.ctl("forwarder", "add", "list@client2.com", "friend@far.example")
    with mail:
        mail.ctl("group", "add", "team@client2.com", "info@client2.com", "info@company.com")
        for name, password in [("info@company.com", "of company"), ("info@client1.com", "of client1"),
                               ("info@client2.com", "of client2")]:
            mail.ctl("password", "set", name, "--stdin", text=password + "\n")
            mail.passwords[name] = password
        yield mail


@pytest.fixture(autouse=True)
def logs(request):
    yield
    if getattr(request.node, "failed", False):
        print(request.getfixturevalue("mail").logs())


@pytest.mark.parametrize("login, ip, password, account", [
    ("info", "company", "of company", "info@company.com"),
    ("info", "client1", "of client1", "info@client1.com"),
    ("info", "other", "of company", "info@company.com"),
    ("info%client2.com", "company", "of client2", "info@client2.com"),
    ("info%client2.com", "client1", "of client2", "info@client2.com"),
    ("INFO@MAIL.client2.com", "company", "of client2", "info@client2.com"),
    ("sales", "company", "of company", "info@company.com"),
])
def test_a_login_means_the_account_it_means_for_imap(mail, login, ip, password, account):
    with mail.smtp(getattr(mail, ip), port=587, login=login, password=password) as client:
        answers = mail.send("postmaster@company.com", sender=account, connection=client)
        assert answers["postmaster@company.com"][0] == 250
    assert mail.owner() == "postmaster@company.com"


@pytest.mark.parametrize("login, ip, password", [
    ("info", "company", "of client1"), ("info", "client1", "of company"),
    ("info%client2.com", "company", "of company"), ("nobody", "company", "of company"),
])
def test_another_accounts_password_lets_nobody_in(mail, login, ip, password):
    with pytest.raises(smtplib.SMTPAuthenticationError):
        mail.smtp(getattr(mail, ip), port=587, login=login, password=password)


MAY = ["info@client2.com", "INFO@Client2.com", "verkauf@client2.com", "info@mail.client2.com",
       "verkauf@mail.client2.com", "info+orders@client2.com", "info%client2.com", "web-shop@company.com"]
MAY_NOT = ["info@company.com", "info@client1.com", "postmaster@company.com", "sales@company.com",
           "info", "list@client2.com", "team@client2.com", "nobody@client2.com", "a@far.example",
           "anything@catch.example", "info%company.com@client2.com", "spamtrap@client2.com",
           "closed@client1.com", "info@company.com@client2.com", "\"info@company.com\"@client2.com"]


def answer(mail, client, sender):
    code, text = client.docmd(f"MAIL FROM:<{sender}>")
    if code == 250:
        code, text = client.docmd("RCPT TO:<postmaster@company.com>")
    client.docmd("RSET")
    return code, text.decode()


def test_an_account_sends_as_itself_and_its_aliases_and_as_nobody_else(mail):
    with mail.smtp(port=587, login="info%client2.com", password="of client2") as client:
        for sender in MAY:
            assert answer(mail, client, sender)[0] == 250, sender
        for sender in MAY_NOT:
            code, text = answer(mail, client, sender)
            assert code in (501, 553), (sender, code, text)
            if code == 553:
                assert "not owned by user info@client2.com" in text, (sender, text)


def test_the_map_says_who_may_send(mail):
    table = "socketmap:unix:homing/map:sender-login"
    for sender in MAY:
        if "@" in sender:
            assert mail.postfix.postmap(table, sender.lower()) == "info@client2.com", sender
    for sender in ("list@client2.com", "team@client2.com", "nobody@client2.com", "a@far.example",
                   "anything@catch.example", "@client2.com"):
        assert mail.postfix.postmap(table, sender) is None, sender
