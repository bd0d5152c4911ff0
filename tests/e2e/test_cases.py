"""The golden cases (tests/cases) through homingctl and through a real Dovecot: each row gets the
answer that is written beside it, or stands here with the reason why it cannot be asked for."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import dovecot
import homing
from authclient import Reply

sys.path.insert(0, str(Path(__file__).parent.parent / "cases"))

import golden  # noqa: E402

PASSWORD = "open"
ROWS = golden.routes()
LOGINS = [row for row in ROWS if row.kind == "login"]
ADDRESSES = [row for row in ROWS if row.kind == "address"]

# Why Dovecot never hands such a name to a module.
NOT_IN_DOVECOT = {
    "NUL ends a field of SASL PLAIN": lambda row: b"\0" in row.name,
    "the auth protocol has no empty user": lambda row: row.name == b"",
}
# The same for what is one line with tabs between the fields.
NOT_IN_A_BATCH = {
    "a line end ends the line": lambda row: b"\n" in row.name + (row.server_name or b""),
    "a tab ends the field": lambda row: b"\t" in row.name + (row.server_name or b""),
}


def reason(row, reasons):
    return next((why for why, holds in reasons.items() if holds(row)), None)


@pytest.fixture(scope="module")
def cases(top):
    """The directory of the golden cases; every account has the one password."""
    made = homing.Homing(tempfile.mkdtemp(prefix="cases-", dir=top))  # other modules have theirs
    config = json.loads(golden.CONFIG.read_text())
    config["account_defaults"].update(uid=dovecot.MAIL_UID, gid=dovecot.MAIL_UID)
    made.apply(config)
    names = golden.names()
    made.ctl("account", "import", "-", text="".join(
        json.dumps({"account": name, "password": f"{{PLAIN}}{PASSWORD}"}) + "\n"
        for kind, name, _ in names if kind == "account"))
    for kind, name, targets in names:
        if kind != "account":
            made.ctl(kind, "add", name, *targets)
    made.readable()
    return made


def start_server(cases, name, **blocks):
    # Empty: every character. How Dovecot's own list narrows names is in test_hostile.py.
    return dovecot.Dovecot(cases.folder / name, settings={"auth_username_chars": ""}, **blocks)


@pytest.fixture(scope="module")
def route_server(cases):
    """The route block before a passdb that takes any name that gets as far as there."""
    with start_server(cases, "route", passdbs=[dovecot.route(cases.path),
                                               dovecot.static_passdb(PASSWORD)],
                      userdbs=[dovecot.route(cases.path),
                               dovecot.static_userdb(cases.vmail)]) as server:
        yield server
        assert server.alive(), server.log()


@pytest.fixture(scope="module")
def accounts_server(cases):
    with start_server(cases, "accounts", passdbs=[dovecot.accounts(cases.path)],
                      userdbs=[dovecot.accounts(cases.path)]) as server:
        yield server
        assert server.alive(), server.log()


def asked(rows, reasons, ask):
    """Asks for all rows that can be asked for; `ask` answers with a problem or None for each. The
    others are printed with their reasons."""
    left_out = {row.line: reason(row, reasons) for row in rows if reason(row, reasons)}
    possible = [row for row in rows if row.line not in left_out]
    print(f"{len(possible)} rows asked for, {len(left_out)} left out:")
    for row in rows:
        if row.line in left_out:
            print(f"{row}: {left_out[row.line]}")
    wrong = [f"{row}: {problem}" for row, problem in zip(possible, ask(possible)) if problem]
    assert not wrong, "\n".join(wrong)
    assert len(left_out) < len(rows) / 20


def replies(client, rows, password):
    """Many at once: Dovecot 2.3 holds each refusal back for a moment, and so it does that for all.
    Not more than Dovecot has workers (30): 2.4 refuses others for now."""
    return [reply for first in range(0, len(rows), 25)
            for reply in replies_at_once(client, rows[first:first + 25], password)]


def replies_at_once(client, rows, password):
    numbers = [client.start("PLAIN", b"\0" + row.name + b"\0" + password.encode(),
                            ip=row.local_ip, server_name=row.server_name) for row in rows]
    found = {}
    while len(found) < len(numbers):
        words = client.receive()
        if words[0] in (b"OK", b"FAIL"):
            found[int(words[1])] = Reply(words)
    return [found[number] for number in numbers]


def login_problems(client, rows, account_of):
    for row, reply in zip(rows, replies(client, rows, PASSWORD)):
        account = account_of(row)
        if reply.ok and reply.user != account:
            yield f"opens {reply.user}, expected {account}"
        else:
            yield f"is refused: {reply}" if account and not reply.ok else None


def own_account(row):
    """The same where there is no other passdb for the accounts of external domains."""
    return None if row.external else row.account


def test_every_login_opens_its_account_behind_the_route_block(route_server):
    with route_server.auth() as client:
        asked(LOGINS, NOT_IN_DOVECOT,
              lambda rows: login_problems(client, rows, lambda row: row.account))


def test_every_login_opens_its_account_in_the_accounts_block(accounts_server):
    with accounts_server.auth() as client:
        asked(LOGINS, NOT_IN_DOVECOT, lambda rows: login_problems(client, rows, own_account))


def test_no_login_opens_with_another_password(accounts_server):
    rows = [row for row in LOGINS if own_account(row)]
    with accounts_server.auth() as client:
        for row, reply in zip(rows, replies(client, rows, "wrong")):
            assert not reply.ok, f"{row}: {reply}"


def delivery_problems(users, rows, account_of):
    for row in rows:
        account, found = account_of(row), users.lookup(row.name)
        delivered = found[0] if isinstance(found, tuple) else found
        yield f"is delivered to {delivered}, expected {account}" if delivered != account else None


def test_every_address_is_delivered_to_its_account(route_server, accounts_server):
    """Lists and addresses elsewhere are Postfix's matter: for LMTP there is no such user."""
    with route_server.userdb() as users:
        asked(ADDRESSES, NOT_IN_DOVECOT,
              lambda rows: delivery_problems(users, rows, lambda row: row.account))
    with accounts_server.userdb() as users:
        asked(ADDRESSES, NOT_IN_DOVECOT, lambda rows: delivery_problems(users, rows, own_account))


def test_what_cannot_be_asked_for_opens_nothing(route_server):
    """PLAIN takes what stands before a NUL for the name: nothing but a failure may come of it."""
    for row in LOGINS:
        if reason(row, NOT_IN_DOVECOT):
            with route_server.auth() as client:
                reply = client.plain(row.name, PASSWORD, ip=row.local_ip)
                assert not reply.ok, f"{row}: {reply}"


def answer_words(answer):
    flags = [flag for flag in ("external", "explicit", "literal") if answer.get(flag)]
    result = answer["result"]
    if result == "account":
        more = [f"{key}={answer[key]}" for key in ("detail", "mailbox") if answer[key] is not None]
        found = [answer["account"], *more, *flags]
    elif result == "forward":
        found = [*answer["targets"], *flags]
    elif result == "remote":
        found = [answer["address"]] + (["relay"] if answer["relay"] else [])
    elif result == "refuse":
        found = [answer["reason"], str(answer["smtp"]), answer["status"]]
    else:
        found = []
    return golden.words(result.encode(), *(word.encode() for word in found))


def batch(cases, text):
    return subprocess.run([homing.HOMINGCTL, "--directory", str(cases.path), "route", "--batch"],
                          input=text, capture_output=True, timeout=120)


def test_homingctl_gives_every_row_its_answer(cases):
    def ask(rows):
        text = b"".join(b"\t".join([row.kind.encode(), row.name, (row.local_ip or "").encode(),
                                    row.server_name or b""]) + b"\n" for row in rows)
        done = batch(cases, text)
        assert done.returncode == 0, done.stderr.decode()
        answers = done.stdout.splitlines()
        assert len(answers) == len(rows)
        for row, line in zip(rows, answers):
            found = answer_words(json.loads(line))
            yield f"{found}, expected {row.expected}" if found != row.expected else None

    asked(ROWS, NOT_IN_A_BATCH, ask)
