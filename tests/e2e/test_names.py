"""Whatever form of its name a user types: one account, one mailbox, one name in the logs."""

import re
import time

import pytest

import dovecot
from homing import ACCOUNTS, CLIENT1_IP, COMPANY_IP, homes, passwords_file, tell_story
from mailclient import received_by

FORMS = [
    ("info@client2.com", COMPANY_IP, None),
    ("info%client2.com", COMPANY_IP, None),
    ("INFO%CLIENT2.COM", CLIENT1_IP, None),
    ("Info@Mail.Client2.com", COMPANY_IP, None),
    ("info%mail.client2.com", COMPANY_IP, None),
    ("info@client2.com.", COMPANY_IP, None),
    ("verkauf%client2.com", CLIENT1_IP, None),
    ("VERKAUF@mail.client2.com", COMPANY_IP, None),
    ("info+letters@client2.com", COMPANY_IP, None),
    ("info%client2.com@company.com", COMPANY_IP, None),
    ("info", COMPANY_IP, "client2.com"),
    ("INFO", COMPANY_IP, "MAIL.client2.com"),
    ("verkauf", CLIENT1_IP, "imap.client2.com"),
]


@pytest.mark.parametrize("block", ["route", "accounts"])
def test_every_form_opens_the_one_mailbox_and_logs_its_name(block, place, start, tls):
    homing = tell_story(place, passwords=True)
    own = block == "accounts"
    password = ACCOUNTS["info@client2.com"]
    server = start(dovecot.Dovecot(
        place / "server",
        [dovecot.accounts(homing.path)] if own else
        [dovecot.route(homing.path), dovecot.passwd_file(passwords_file(place))],
        [dovecot.accounts(homing.path)] if own else
        [dovecot.route(homing.path), dovecot.static_userdb(homing.vmail)], tls=tls))
    before = homes(homing.vmail)
    for login, ip, server_name in FORMS:
        client = server.imap(login, password, ip=ip, server_name=server_name)
        client.append("INBOX", "", None, f"Subject: from {login}\r\n\r\n.\r\n".encode())
        client.logout()
    assert homes(homing.vmail) == before
    client = server.imap("info@client2.com", password)
    assert client.select("INBOX")[1] == [str(1 + len(FORMS)).encode()]
    client.logout()
    login_line = r"imap-login: (?:Info: )?(?:Login|Logged in): user=<([^>]*)>"
    deadline = time.monotonic() + 10  # the log is written by another process
    while (len(re.findall(login_line, server.log())) <= len(FORMS)
           and time.monotonic() < deadline):
        time.sleep(0.1)
    assert re.findall(login_line, server.log()) == ["info@client2.com"] * (len(FORMS) + 1)
    sessions = re.findall(r" imap\(([^)]*)\)", server.log())
    assert sessions and set(sessions) == {"info@client2.com"}


def test_doveadm_sees_the_same_account(own_server, own):
    for name in ("info@client2.com", "info@mail.client2.com", "verkauf@client2.com",
                 "INFO%client2.com", "info+x@client2.com"):
        done = own_server.doveadm("user", "-f", "home", name)
        assert done.stdout.strip() == str(own.vmail / "client2.com" / "info"), done
    assert own_server.doveadm("user", "-f", "home",
                              "info").stdout.strip() == str(own.vmail / "company.com" / "info")
    done = own_server.doveadm("user", "nobody@client2.com")
    assert done.returncode == 67, done
    assert own_server.doveadm("user", "info@elsewhere.example").returncode == 67


def test_doveadm_ignores_the_local_address(own_server, own):
    """Delivery and administration mean the same account wherever they come in."""
    done = own_server.doveadm("user", "-x", f"lip={CLIENT1_IP}", "-f", "home", "info")
    assert done.stdout.strip() == str(own.vmail / "company.com" / "info")


@pytest.mark.parametrize("service", ["lmtp", "lda", "doveadm"])
@pytest.mark.parametrize("block", ["story_server", "own_server"])
def test_lookups_ignore_the_local_address_and_the_tls_name(request, block, service):
    server = request.getfixturevalue(block)
    with server.userdb() as users:
        for more in ({}, {"ip": CLIENT1_IP}, {"ip": CLIENT1_IP, "server_name": "client2.com"}):
            assert users.lookup("info", service=service, **more)[0] == "info@company.com", more


@pytest.mark.parametrize("blocks", ["route", "accounts", "both"])
def test_a_delivery_is_to_the_address_though_dovecot_takes_the_domain_off(blocks, own, place, start):
    """As Debian 13 has it in 20-lmtp.conf: the main domain's account of that name must not get it."""
    passwords = dovecot.passwd_file(passwords_file(place))
    route, accounts = dovecot.route(own.path), dovecot.accounts(own.path)
    userdbs = {"route": [route, dovecot.static_userdb(own.vmail)], "accounts": [accounts],
               "both": [route, accounts]}[blocks]
    short = "%{user | username | lower}" if dovecot.NEW else "%Ln"
    server = start(dovecot.Dovecot(place / "server", [route, passwords], userdbs, raw="".join(
        f"protocol {name} {{\n  auth_username_format = {short}\n}}\n" for name in ("lmtp", "lda"))))
    for typed, account in (("info@client1.com", "info@client1.com"), ("INFO@mail.client2.com", "info@client2.com"),
                           ("verkauf@client2.com", "info@client2.com"), ("info", "info@company.com"),
                           ("info@company.com", "info@company.com")):
        for service in ("lmtp", "lda"):
            with server.userdb() as users:
                for _ in range(2):  # the second one is kept
                    assert users.lookup(typed, service=service)[0] == account, (typed, service)
        server.deliver(typed, f"for {typed} by {blocks}")
        assert received_by(own.vmail, f"for {typed} by {blocks}") == [account]
    with server.userdb() as users:
        assert users.lookup("info@elsewhere.example") is None and users.lookup("nobody@client1.com") is None


@pytest.mark.parametrize("block", ["story_server", "own_server"])
def test_an_ipv4_mapped_address_counts_as_ipv4(request, block):
    """So a socket that takes both kinds reports who came over IPv4."""
    server = request.getfixturevalue(block)
    with server.auth() as client:
        for ip, account in ((CLIENT1_IP, "info@client1.com"), (COMPANY_IP, "info@company.com")):
            for form in (f"::ffff:{ip}", ip, f"::ffff:{ip}"):
                reply = client.plain("info", ACCOUNTS[account], ip=form)
                assert reply.ok and reply.user == account, (form, reply)


@pytest.mark.parametrize("name", ["client2.com", "CLIENT2.COM", "Client2.Com", "Mail.client2.com",
                                  "IMAP.Client2.com"])
def test_a_tls_name_is_compared_without_case(story_server, name):
    with story_server.auth() as client:
        reply = client.plain("info", ACCOUNTS["info@client2.com"], ip=CLIENT1_IP, server_name=name)
        assert reply.ok and reply.user == "info@client2.com", reply


def test_doveadm_user_star_lists_every_account_once(own_server):
    done = own_server.doveadm("user", "*")
    assert done.stdout.split() == sorted(ACCOUNTS)
    assert own_server.doveadm("user", "*@client2.com").stdout.split() == ["info@client2.com"]


def test_doveadm_user_star_behind_the_route_block_lists_the_next_userdb(story_server, story,
                                                                        place, start):
    users = place / "users"
    users.write_text("".join(f"{name}::5000:5000::/nowhere::\n" for name in ACCOUNTS))
    users.chmod(0o644)
    server = start(dovecot.Dovecot(place / "server", [dovecot.route(story.path)],
                                   [dovecot.route(story.path), dovecot.passwd_file(users)]))
    done = server.doveadm("user", "*")
    assert sorted(done.stdout.split()) == sorted(ACCOUNTS), done


def test_doveadm_auth_test_follows_the_local_address(own_server):
    """-x lip= is what an administrator has to find out what a login would do."""
    for ip, account in ((COMPANY_IP, "info@company.com"), (CLIENT1_IP, "info@client1.com")):
        done = own_server.doveadm("auth", "test", "-x", f"lip={ip}", "-x", f"rip={ip}", "info",
                                  ACCOUNTS[account])
        assert done.returncode == 0 and account in done.stdout, done
