"""The story: three users called info, each in the right mailbox, however they come."""

import smtplib
import time

import pytest

import mailclient
from homing import ACCOUNTS, CLIENT1_IP, COMPANY_IP, OTHER_IP

# what it is, login, local address, TLS server name, the account that opens
STORY = [
    ("the main domain's address", "info", COMPANY_IP, None, "info@company.com"),
    ("a dedicated address", "info", CLIENT1_IP, None, "info@client1.com"),
    ("an address of nobody", "info", OTHER_IP, None, "info@company.com"),
    ("percent names the domain", "info%client2.com", COMPANY_IP, None, "info@client2.com"),
    ("percent beats the address", "info%client2.com", CLIENT1_IP, None, "info@client2.com"),
    ("a full address", "info@client2.com", CLIENT1_IP, None, "info@client2.com"),
    ("the TLS name", "info", COMPANY_IP, "client2.com", "info@client2.com"),
    ("the TLS name beats the address", "info", CLIENT1_IP, "client2.com", "info@client2.com"),
    ("the TLS name of the main domain", "info", CLIENT1_IP, "company.com", "info@company.com"),
    ("the TLS name is an alias", "info", COMPANY_IP, "mail.client2.com", "info@client2.com"),
    ("the TLS name is a wildcard's", "info", COMPANY_IP, "imap.client2.com", "info@client2.com"),
    ("a domain alias", "info@mail.client2.com", COMPANY_IP, None, "info@client2.com"),
    ("percent and a domain alias", "info%mail.client2.com", OTHER_IP, None, "info@client2.com"),
    ("an alias", "sales", COMPANY_IP, None, "info@company.com"),
    ("an alias of another domain", "verkauf%client2.com", CLIENT1_IP, None, "info@client2.com"),
    ("upper case", "INFO@Client2.COM", COMPANY_IP, None, "info@client2.com"),
    ("a detail", "info+lists@client2.com", COMPANY_IP, None, "info@client2.com"),
]


def row_id(row):
    return row[0].replace(" ", "-")


ROWS = [pytest.param(*row[1:], id=row_id(row), marks=[pytest.mark.smoke] if n < 7 else [])
        for n, row in enumerate(STORY)]


def ways_of(server_name):
    """A program that sends a TLS server name does so in either kind of TLS. What holds without a
    name holds in clear, and over TLS for a program that sends none."""
    return ("tls", "starttls") if server_name else ("clear", "tls")


# The same rows, each in every way that a mail program may connect.
WAYS = [pytest.param(way, *row[1:], id=f"{row_id(row)}-{way}",
                     marks=[pytest.mark.smoke] if n < 7 else [])
        for n, row in enumerate(STORY) for way in ways_of(row[3])]


@pytest.mark.parametrize("way, login, ip, server_name, account", WAYS)
def test_imap_opens_the_right_mailbox(story_server, tls, way, login, ip, server_name, account):
    port = story_server.ports["imaps" if way == "tls" else "imap"]
    assert mailclient.imap_owner(way, ip, port, login, ACCOUNTS[account], server_name,
                                 tls) == account


@pytest.mark.parametrize("way, login, ip, server_name, account", WAYS)
def test_pop3_opens_the_right_mailbox(story_server, tls, way, login, ip, server_name, account):
    port = story_server.ports["pop3s" if way == "tls" else "pop3"]
    assert mailclient.pop3_owner(way, ip, port, login, ACCOUNTS[account], server_name,
                                 tls) == account


@pytest.mark.smoke
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@pytest.mark.parametrize("login, ip, server_name, account", ROWS)
def test_accounts_block_opens_the_right_mailbox(own_server, protocol, login, ip, server_name,
                                                account):
    owner = own_server.imap_owner if protocol == "imap" else own_server.pop3_owner
    assert owner(login, ACCOUNTS[account], ip=ip, server_name=server_name) == account


@pytest.mark.parametrize("login, ip, server_name, account", ROWS)
def test_no_other_password_opens_it(story_server, login, ip, server_name, account):
    with story_server.auth() as client:
        for other, password in ACCOUNTS.items():
            reply = client.plain(login, password, ip=ip, server_name=server_name)
            assert reply.ok == (other == account), (other, reply)
            assert not reply.ok or reply.user == account


# A recipient means the same account wherever it comes in, so a bare one is the main domain's.
DELIVERIES = [
    ("info@company.com", "info@company.com"),
    ("info@client1.com", "info@client1.com"),
    ("info@client2.com", "info@client2.com"),
    ("info", "info@company.com"),
    ("sales", "info@company.com"),
    ("info%client2.com", "info@client2.com"),
    ("info%mail.client2.com", "info@client2.com"),
    ("INFO@Client2.Com", "info@client2.com"),
    ("info@mail.client2.com", "info@client2.com"),
    ("sales@company.com", "info@company.com"),
    ("verkauf@mail.client2.com", "info@client2.com"),
    ("info+lists@client2.com", "info@client2.com"),
    ("info%client2.com@company.com", "info@client2.com"),
]


def assert_delivered(vmail, account, recipient, *address, **keywords):
    subject = f"to {recipient} at {time.monotonic_ns()}"
    mailclient.deliver(*address, recipient, subject, **keywords)
    assert mailclient.received_by(vmail, subject) == [account]


@pytest.mark.smoke
@pytest.mark.parametrize("block", ["story_server", "own_server"])
@pytest.mark.parametrize("recipient, account", DELIVERIES)
def test_lmtp_delivers_where_the_login_opens(request, block, recipient, account):
    """The listener's own address is a domain's: delivery must not look at it."""
    server = request.getfixturevalue(block)
    vmail = request.getfixturevalue("story" if block == "story_server" else "own").vmail
    for ip in (COMPANY_IP, CLIENT1_IP, OTHER_IP):
        assert_delivered(vmail, account, recipient, "clear", ip, server.ports["lmtp"])


@pytest.mark.parametrize("server_name", ["client1.com", "client2.com", "imap.client2.com"])
@pytest.mark.parametrize("recipient, account", DELIVERIES)
def test_lmtp_ignores_the_tls_name(story_server, story, tls, server_name, recipient, account):
    """It is that of the mail server which delivers."""
    assert_delivered(story.vmail, account, recipient, "starttls", CLIENT1_IP,
                     story_server.ports["lmtp"], server_name=server_name, tls=tls)


@pytest.mark.parametrize("recipient", ["nobody@client2.com", "info@elsewhere.example",
                                       "spamtrap@company.com"])
def test_lmtp_refuses_what_is_no_account(story_server, recipient):
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        story_server.deliver(recipient, "never")
    assert refused.value.recipients[recipient][0] in (550, 551, 554)
