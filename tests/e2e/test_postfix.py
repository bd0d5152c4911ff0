"""Postfix delivers by the same rules as Dovecot logs in: what is typed into RCPT, and whose mailbox
it is in then."""

import json
import os
import re
import subprocess

import pytest

from postfix import TRUSTED, Mail, story


CROWD = [f"member{number}@company.com" for number in range(500)]


def config(mail):
    config = story(mail)
    config["domains"]["client2.com"]["aliases"].append("b\u00fccher.example")
    config["domains"]["drop.example"] = {"unknown": "discard"}
    config["domains"]["dash.example"] = {"subaddress_delimiter": "-"}
    config["domains"]["catch.example"] = {"unknown": "reroute:postmaster@company.com"}
    return config


@pytest.fixture(scope="module")
def mail(top, tls):
    mail = Mail(top / "postfix", config=config, tls=tls)
    mail.account("info@dash.example")
    mail.homing.ctl("account", "import", "-", text="".join(
        f'{{"account": "{name}"}}\n' for name in CROWD))
    for words in [
        "group add everybody@company.com " + " ".join(CROWD),
        "forwarder add away@company.com friend@far.example other@far.example",
        "forwarder add mixed@client1.com info@client2.com friend@far.example spamtrap@company.com",
        "group add gone@company.com spamtrap@company.com",
        "alias add b\u00fccher@client2.com info@client2.com",
    ]:
        mail.homing.ctl(*words.split())
    with mail:
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


def test_a_detail_or_a_mailbox_leads_into_the_accounts_mailbox(mail):
    for typed, account, box in [
        ("info+lists@client2.com", "info@client2.com", "lists"),
        ("INFO+Lists@Client2.com", "info@client2.com", "Lists"),
        ("Orders#info@client1.com", "info@client1.com", "Orders"),
        ("sales+x@company.com", "info@company.com", "x"),
        ("info-news@dash.example", "info@dash.example", "news"),
        ('"My Box#info"@client1.com', None, None),
        ("info+a%client2.com@company.com", "info@client2.com", "a"),
    ]:
        answers = mail.send(typed)
        if account is None:
            assert answers[typed][0] == 550, answers
            continue
        assert answers[typed][0] == 250, answers
        assert mail.owners() == {account: [box]}, typed


# What is typed, and how the answer to RCPT begins; as a regular expression.
REFUSED = [
    ("nobody@company.com", r"550 5\.1\.1 .*no such account"),
    ("nobody@mail.client2.com", r"550 5\.1\.1 "),
    ("nobody%client2.com@company.com", r"550 5\.1\.1 "),
    ("nobody@[{client1}]", r"550 5\.1\.1 "),
    ("Box#nobody@client1.com", r"550 5\.1\.1 "),
    ('"in fo"@client2.com', r"550 5\.1\.1 "),
    ("closed@client1.com", r"55\d 5\.1\.6 .*this address has moved"),
    ("closed%client1.com@company.com", r"55\d 5\.1\.6 .*this address has moved"),
    ("later@client1.com", r"45\d 4\.2\.1 .*come back tomorrow"),
    ("info@127.0.0.21", r"501 "),
    ("info@elsewhere.example", r"454|554 5\.7\.1 .*Relay access denied"),
    ("a%elsewhere.example@company.com", r"554 5\.7\.1 .*explicit route"),
    ("elsewhere.example!a@company.com", r"554 5\.7\.1 .*explicit route"),
    ("a%elsewhere.example@[{company}]", r"554 5\.7\.1 "),
    ("info@[192.0.2.99]", r"554 5\.7\.1 "),
    ("@company.com", r"5\d\d "),
]


@pytest.mark.parametrize("typed, answer", REFUSED)
def test_what_is_nobodys_is_refused_while_the_sender_is_connected(mail, typed, answer):
    typed = typed.format(company=mail.company, client1=mail.client1)
    code, text = mail.try_recipient(typed)
    assert re.match(answer, f"{code} {text}"), (code, text)


def test_one_bad_recipient_keeps_the_message_from_no_other(mail):
    answers = mail.send("nobody@company.com", "info@company.com", "closed@client1.com",
                        "a%elsewhere.example@company.com", "info@client2.com")
    assert [code for code, _ in answers.values()] == [550, 250, 550, 554, 250]
    assert mail.owners() == {"info@company.com": ["INBOX"], "info@client2.com": ["INBOX"]}


def test_a_discarded_recipient_takes_the_message_from_no_other(mail):
    answers = mail.send("spamtrap@company.com", "info@client1.com", "info@client2.com",
                        "anything@drop.example", "gone@company.com")
    assert {code for code, _ in answers.values()} == {250}, answers
    assert mail.owners() == {"info@client1.com": ["INBOX"], "info@client2.com": ["INBOX"]}
    assert mail.sink.recipients(mail.token) == []  # not even a bounce
    # An explicit route to it: Postfix, which resolves it by itself, refuses to relay.
    assert mail.try_recipient("spamtrap%client1.com@company.com")[0] == 554


def test_a_catch_all_takes_what_nobody_has(mail):
    assert mail.send("whatever+x@catch.example")["whatever+x@catch.example"][0] == 250
    assert mail.owner() == "postmaster@company.com"


def test_a_group_of_500_reaches_each_member_once(mail):
    assert mail.send("everybody@company.com")["everybody@company.com"][0] == 250
    mail.finished(120)
    have = {}
    for path in (mail.homing.vmail / "company.com").rglob("new/*"):
        if mail.token in path.read_text(errors="replace"):
            name = f"{path.relative_to(mail.homing.vmail / 'company.com').parts[0]}@company.com"
            have[name] = have.get(name, 0) + 1
    assert have == {name: 1 for name in CROWD}


def test_a_message_to_two_names_of_an_account_is_one_copy(mail):
    """Both become the account's own name, and Dovecot's LMTP takes the same recipient once."""
    names = ("info@client2.com", "verkauf@client2.com", "info%client2.com@company.com", "info@mail.client2.com")
    assert {code for code, _ in mail.send(*names).values()} == {250}
    mail.finished()
    found = [path.relative_to(mail.homing.vmail).parts[:2] for path in mail.homing.vmail.rglob("new/*")
             if mail.token in path.read_text(errors="replace")]
    assert found == [("client2.com", "info")]


def test_a_forwarder_sends_to_other_servers(mail):
    mail.send("away@company.com")
    mail.finished()
    assert sorted(mail.sink.recipients(mail.token)) == ["friend@far.example", "other@far.example"]
    mail.send("mixed@client1.com", "away%company.com@client1.com")
    assert mail.owners() == {"info@client2.com": ["INBOX"]}
    assert sorted(set(mail.sink.recipients(mail.token))) == ["friend@far.example",
                                                             "other@far.example"]


def test_names_in_every_script(mail):
    for typed in ("info@b\u00fccher.example", "b\u00fccher@client2.com",
                  "B\u00dcCHER@B\u00dccher.example", "info@xn--bcher-kva.example"):
        answers = mail.send(typed, options=["SMTPUTF8"])
        assert answers[typed][0] == 250, answers
        assert mail.owner() == "info@client2.com", typed
    code, text = mail.try_recipient("b\u00fccher@company.com", options=["SMTPUTF8"])
    assert code == 550 and "b\u00fccher@company.com" in text


def test_vrfy_knows_what_rcpt_knows(mail):
    with mail.smtp() as client:
        client.ehlo()
        assert client.verify("info@company.com")[0] == 252
        assert client.verify("sales@company.com")[0] == 252
        assert client.verify("nobody@company.com")[0] == 550


def test_own_clients_may_send_everywhere_and_unknown_names_are_refused_to_them_too(mail):
    with mail.smtp(client=TRUSTED) as client:
        answers = mail.send("friend@far.example", "nobody@company.com", connection=client)
    assert answers["friend@far.example"][0] == 250
    assert answers["nobody@company.com"][0] == 550
    mail.finished()
    assert mail.sink.recipients(mail.token) == ["friend@far.example"]


def test_nothing_to_worry_about_in_the_logs(mail):
    """After all the above: no warning of Postfix, no error of the daemon."""
    assert [line for line in mail.postfix.problems() if "Illegal address syntax" not in line] == []
    assert [line for line in mail.policyd.log().splitlines()
            if re.search("(error|warning|fatal): ", line)] == []


def test_check_live_finds_nothing_in_the_settings_that_config_printed(mail):
    environment = {**os.environ, "MAIL_CONFIG": str(mail.postfix.config)}
    done = subprocess.run([*mail.homing.command().split(), "check", "--live", "--json"],
                          capture_output=True, text=True, env=environment, timeout=120)
    findings = [finding for finding in json.loads(done.stdout)["findings"]
                if "postfix" in json.dumps(finding).lower()]
    assert findings == []
    (mail.postfix.config / "main.cf").open("a").write("\nmydestination = localhost, company.com\n")
    done = subprocess.run([*mail.homing.command().split(), "check", "--live"],
                          capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 78 and "mydestination" in done.stdout + done.stderr, done
