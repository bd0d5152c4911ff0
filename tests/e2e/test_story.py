"""The story: three users called info, each in the right mailbox, however they come."""

import smtplib
import time

import pytest

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
ROWS = [pytest.param(*row[1:], id=row[0].replace(" ", "-"),
                     marks=[pytest.mark.smoke] if n < 7 else [])
        for n, row in enumerate(STORY)]


@pytest.mark.parametrize("login, ip, server_name, account", ROWS)
def test_imap_opens_the_right_mailbox(story_server, login, ip, server_name, account):
    assert story_server.imap_owner(login, ACCOUNTS[account], ip=ip,
                                   server_name=server_name) == account


@pytest.mark.parametrize("login, ip, server_name, account", ROWS)
def test_pop3_opens_the_right_mailbox(story_server, login, ip, server_name, account):
    assert story_server.pop3_owner(login, ACCOUNTS[account], ip=ip,
                                   server_name=server_name) == account


@pytest.mark.smoke
@pytest.mark.parametrize("login, ip, server_name, account", ROWS)
def test_accounts_block_opens_the_right_mailbox(own_server, login, ip, server_name, account):
    assert own_server.imap_owner(login, ACCOUNTS[account], ip=ip,
                                 server_name=server_name) == account


@pytest.mark.parametrize("login, ip, server_name, account", ROWS)
def test_no_other_password_opens_it(story_server, login, ip, server_name, account):
    with story_server.auth() as client:
        for other, password in ACCOUNTS.items():
            reply = client.plain(login, password, ip=ip, server_name=server_name)
            assert reply.ok == (other == account), (other, reply)
            assert not reply.ok or reply.user == account


DELIVERIES = [
    ("info@company.com", "info@company.com"),
    ("info@client1.com", "info@client1.com"),
    ("info@client2.com", "info@client2.com"),
    ("INFO@Client2.Com", "info@client2.com"),
    ("info@mail.client2.com", "info@client2.com"),
    ("sales@company.com", "info@company.com"),
    ("verkauf@mail.client2.com", "info@client2.com"),
    ("info%client2.com@company.com", "info@client2.com"),
]


@pytest.mark.smoke
@pytest.mark.parametrize("block", ["story_server", "own_server"])
@pytest.mark.parametrize("recipient, account", DELIVERIES)
def test_lmtp_delivers_where_the_login_opens(request, block, recipient, account):
    server = request.getfixturevalue(block)
    vmail = request.getfixturevalue("story" if block == "story_server" else "own").vmail
    subject = f"to {recipient} at {time.monotonic_ns()}"
    # The listener's own address is client1's: delivery must not look at it.
    server.deliver(recipient, subject, ip=CLIENT1_IP)
    local, domain = account.split("@")
    # Dovecot 2.4.5 gives what it delivers a flag of its own, so it lies in cur.
    found = [path for folder in ("new", "cur") for path in vmail.glob(f"*/*/Maildir/{folder}/*")
             if subject in path.read_text()]
    assert [path.parent.parent.parent for path in found] == [vmail / domain / local]


@pytest.mark.parametrize("recipient", ["nobody@client2.com", "info@elsewhere.example",
                                       "spamtrap@company.com"])
def test_lmtp_refuses_what_is_no_account(story_server, recipient):
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        story_server.deliver(recipient, "never")
    assert refused.value.recipients[recipient][0] in (550, 551, 554)
