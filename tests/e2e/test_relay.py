"""Not an open relay: nothing that a stranger types makes Postfix take mail for somebody elsewhere."""

import pytest

from postfix import Mail, story

ELSEWHERE = "victim.example"


@pytest.fixture(scope="module")
def mail(top, tls):
    mail = Mail(top / "relay", tls=tls)
    mail.homing.ctl("forwarder", "add", "away@company.com", "friend@far.example")
    with mail:
        yield mail


@pytest.fixture(autouse=True)
def logs(request):
    yield
    if getattr(request.node, "failed", False):
        print(request.getfixturevalue("mail").logs())


ATTEMPTS = [
    # plain
    "a@{x}", "a@{x}.", "A@{X}", "a@sub.{x}", "a@[192.0.2.99]", "a@[IPv6:2001:db8:ffff::1]",
    "a@[IPv6:::ffff:192.0.2.99]", "\"a\"@{x}", "\"a b\"@{x}",
    # percent
    "a%{x}", "a%{x}@company.com", "a%{x}@client1.com", "a%{x}@mail.client2.com", "a%{x}@old.example",
    "A%{X}@COMPANY.COM", "a%{x}.@company.com", "a%{x}@company.com.", "a%{x}@localhost",
    "a%{x}@mx.company.com", "a%{x}@[{company}]", "a%{x}@[{other}]", "a%{x}@[IPv6:2001:db8::1]",
    "a%b%{x}@company.com", "a%{x}%company.com", "a%{x}%company.com@client1.com",
    "a%{x}%client1.com%company.com@client2.com", "a%%{x}@company.com", "a%{x}%@company.com",
    "a%[192.0.2.99]@company.com", "a%[192.0.2.99]", "info+a%{x}@company.com",
    "Box#a%{x}@company.com", "info%company.com%{x}@company.com", "sales%{x}@company.com",
    "away%{x}@company.com", "a%{x}@company.com@company.com",
    # bang
    "{x}!a", "{x}!a@company.com", "{x}!a@[{company}]", "company.com!{x}!a", "company.com!{x}!a@client1.com",
    "{x}!company.com!a@company.com", "{X}!A@Company.Com", "{x}!a%company.com", "{x}!a%company.com@client1.com",
    "company.com!a%{x}", "company.com!a%{x}@client1.com", "client1.com!{x}!a%company.com",
    "company.com!a@{x}", "{x}!info+a@company.com",
    # source routes
    "@company.com:a@{x}", "@{x}:a@{x}", "@company.com,@client1.com:a@{x}", "@company.com:a%{x}@client1.com",
    "@company.com:{x}!a@client1.com", "@{x},@company.com:a@{x}", "@company.com:@client1.com:a@{x}",
    "@[{company}]:a@{x}", "@company.com:a%{x}",
    # quotes
    "\"a%{x}\"@company.com", "\"a@{x}\"@company.com", "\"a@{x}\"", "\"{x}!a\"@company.com",
    "\"a\\@{x}\"@company.com", "\"a%{x}\"@[{company}]", "\"a\"%{x}@company.com", "a%\"{x}\"@company.com",
    "\"@company.com:a@{x}\"@company.com", "\"a@{x}\\\"\"@company.com", "\"a@{x} \"@company.com",
    "\"a%{x}@company.com\"@company.com", "\"a%{x}@company.com\"", "a\\%{x}@company.com",
    "\" a%{x}\"@company.com", "\"a@{x},b\"@company.com", "\"|a@{x}\"@company.com",
    "\"a@{x}\"%company.com@client1.com", "\"a@[192.0.2.99]\"@company.com",
    # our own forms that lead away
    "away%company.com%{x}@client1.com", "nobody%{x}@company.com", "postmaster%{x}@company.com",
    "\"info@company.com\"@{x}", "info%company.com@{x}", "company.com!info@{x}", "info@company.com@{x}",
    "info@company.com%{x}", "postmaster@{x}", "info@{x}:25", "info@company.com,a@{x}",
    "<a@{x}>", "info@company.com> RCPT TO:<a@{x}", "a@{x}\x0b", "a@{x}\x00", "a\u200b%{x}@company.com",
    "a\uff05{x}@company.com", "a@\uff56ictim.example", "a%{x}\u3002@company.com", "a\uff20{x}",
]


def attempt(mail, typed):
    for name, value in (("company", mail.company), ("other", mail.other), ("x", ELSEWHERE),
                        ("X", ELSEWHERE.upper())):
        typed = typed.replace("{%s}" % name, value)
    return typed


def arrived(mail):
    """Recipients of whatever the server elsewhere got, without what our own forwarder sends and
    without bounces to the sender."""
    return [name for name in mail.sink.recipients()
            if name not in ("friend@far.example", "someone@elsewhere.example")]


def test_there_are_many_attempts():
    assert len(set(ATTEMPTS)) >= 60


@pytest.mark.parametrize("options", [(), ("SMTPUTF8",)])
def test_a_stranger_relays_nothing(mail, options):
    taken = []
    with mail.smtp() as connection:
        for typed in ATTEMPTS:
            address = attempt(mail, typed)
            if not options and not address.isascii():
                continue
            answers = mail.send(address, connection=connection, options=options)
            if answers[address][0] == 250:
                taken.append(address)
    mail.finished()
    assert arrived(mail) == []
    # What is taken must be for one of our own names: the two source routes of old, and nothing else.
    assert taken == []


def test_a_login_with_a_wrong_password_relays_nothing_either(mail):
    import smtplib
    with mail.smtp(port=587) as connection:
        context = mail.tls.context()
        context.check_hostname = False
        connection.starttls(context=context)
        connection.ehlo()
        with pytest.raises(smtplib.SMTPAuthenticationError):
            connection.login("info", "wrong")
        for typed in ATTEMPTS[:20]:
            code, _ = mail.try_recipient(attempt(mail, typed), connection=connection)
            assert code >= 400, typed


def test_a_login_sends_where_it_wants_to(mail):
    with mail.smtp(port=587, login="info") as connection:
        answers = mail.send("a@far.example", "b%far.example@company.com", "far.example!c@client1.com",
                            sender="info@company.com", connection=connection)
    assert [code for code, _ in answers.values()] == [250, 250, 250], answers
    mail.finished()
    assert sorted(mail.sink.recipients(mail.token)) == ["a@far.example", "b@far.example",
                                                        "c@far.example"]


def test_a_login_is_told_of_names_that_do_not_exist(mail):
    with mail.smtp(port=587, login="info") as connection:
        code, text = mail.try_recipient("nobody@client1.com", sender="info@company.com",
                                        connection=connection)
    assert (code, text.startswith("5.1.1")) == (550, True)
