"""Postfix delivers by the same rules as Dovecot logs in: what is typed into RCPT, and whose mailbox
it is in then."""

import pytest

from postfix import Mail, TRUSTED


@pytest.fixture(scope="module")
def mail(top, tls):
    with Mail(top / "postfix", tls=tls) as mail:
        yield mail


@pytest.fixture(autouse=True)
def logs(request):
    yield
    if getattr(request.node, "failed", False):
        print(request.getfixturevalue("mail").logs())


# What is typed, and the account. {company} is the address of that domain's server.
DELIVERED = [
    ("info@company.com", "info@company.com"),
    ("info@client1.com", "info@client1.com"),
    ("info@client2.com", "info@client2.com"),
    ("info%client2.com", "info@client2.com"),
    ("info", "info@company.com"),
    ("info%client2.com@company.com", "info@client2.com"),
    ("client2.com!info@company.com", "info@client2.com"),
    ("client2.com!info", "info@client2.com"),
    ("@relay.example:info@client2.com", "info@client2.com"),
    ("@a.example,@b.example:info@client2.com", "info@client2.com"),
    ("info@[{company}]", "info@company.com"),
    ("info@[{client1}]", "info@client1.com"),
    ("info@[IPv6:2001:db8::1]", "info@company.com"),
    ("INFO@Client2.COM", "info@client2.com"),
    ("info@client2.com.", "info@client2.com"),
    ("info@mail.client2.com", "info@client2.com"),
    ("INFO@MAIL.client2.com.", "info@client2.com"),
    ("\"info\"@client2.com", "info@client2.com"),
    ("sales@company.com", "info@company.com"),
    ("verkauf@mail.client2.com", "info@client2.com"),
    ("info@old.example", "info@company.com"),
    ("info%client1.com%client2.com@company.com", "info@client1.com"),
]


@pytest.mark.parametrize("typed, account", DELIVERED)
def test_an_address_ends_in_the_account_it_means(mail, typed, account):
    typed = typed.format(company=mail.company, client1=mail.client1)
    answers = mail.send(typed)
    assert answers[typed][0] == 250, answers
    assert mail.owner() == account
