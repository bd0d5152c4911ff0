"""One name, one account: the router, `homingctl verify`, the policy, the maps and a real Dovecot's
userdb give the same answer, to the golden addresses (tests/cases) and to a thousand decorations of
every account and alias."""

import json
import random
import re

import pytest

import dovecot
from policyd import MapClient, Policyd, PolicyClient
from test_cases import ADDRESSES, NOT_IN_A_BATCH, batch, cases, golden, reason  # noqa: F401

DECORATIONS = 4000  # of all names together


class Everything:
    """The daemon and Dovecot on the golden directory, and what they say to an address."""

    def __init__(self, cases):
        self.cases = cases
        self.server = dovecot.Dovecot(
            cases.folder / "agreement", [dovecot.route(cases.path), dovecot.static_passdb("x")],
            [dovecot.route(cases.path), dovecot.static_userdb(cases.vmail)],
            settings={"auth_username_chars": "", "log_debug": None, "auth_debug": None})
        self.daemon = Policyd(cases.folder / "policyd", cases.path, user="dovecot",
                              userdb=self.server.base / "auth-userdb")

    def start(self):
        self.server.start()
        (self.server.base / "auth-userdb").chmod(0o666)
        self.daemon.start()
        self.policy = PolicyClient(self.daemon.policy)
        self.map = MapClient(self.daemon.map)
        self.users = self.server.userdb()

    def stop(self):
        for part in (self.policy, self.map):
            part.close()
        self.daemon.stop()
        self.server.stop()

    def ask_map(self, name, key):
        status, value = self.map.ask(name, key)
        assert status in ("OK", "NOTFOUND", "PERM"), (name, key, status, value)
        return value if status == "OK" else None

    def final(self, address):
        """Where Postfix ends with this recipient: its addresses after the alias map, each with the
        account that the mailbox map has for it, or None."""
        value = self.ask_map("alias", address)
        return {each: self.ask_map("mailbox", each)
                for each in (split_list(value) if value is not None else [address])}


@pytest.fixture(scope="module")
def everything(cases):  # noqa: F811
    made = Everything(cases)
    made.start()
    yield made
    made.stop()


def split_list(text):
    """At the commas that stand outside quotes."""
    return re.findall(r'((?:"(?:[^"\\]|\\.)*"|[^,"])+)(?:, |$)', text)


def internal(name):
    """As smtpd hands a recipient to the policy: without the quotes of its local part."""
    local, at, domain = name.rpartition(b"@")
    if local.startswith(b'"') and local.endswith(b'"') and len(local) > 1:
        return re.sub(rb"\\(.)", rb"\1", local[1:-1], flags=re.S) + at + domain
    return name


def external(name):
    """As cleanup asks the maps: quoted where that is needed, and only there."""
    local, at, domain = internal(name).rpartition(b"@")
    if re.fullmatch(DOT_STRING + rb"(\." + DOT_STRING + rb")*", local):
        return local + at + domain
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", local) + b'"' + at + domain


DOT_STRING = rb"[^\x00-\x20\"(),:;<>@\[\\\]\x7f.]+"


def policy_problem(row, action):
    code = action.split(" ")[0]
    if any(NO_ADDRESS.match(word) for word in row.expected):
        return None if code == "550" else f"policy says {action!r}, expected a refusal"
    if row.result in ("account", "forward"):
        fine = code in ("DUNNO", "OK") and (code == "DUNNO" or b"explicit" in row.expected
                                            or b"literal" in row.expected)
    elif row.result == "discard":
        fine = code == "DUNNO"
    elif row.result == "remote":
        fine = action.startswith("554 5.7.1 ") if b"relay" in row.expected else code == "DUNNO"
    else:
        smtp, status = sorted(word.decode() for word in row.expected
                              if re.fullmatch(rb"\d{3}|\d\.\d+\.\d+", word))
        smtp, status = (smtp, status) if len(smtp) == 3 and "." not in smtp else (status, smtp)
        fine = action.startswith(f"{smtp} {status} ")
    return None if fine else f"policy says {action!r}, expected {row.expected}"


def needs_quotes(row):
    """The internal form has lost whether there were quotes. What needs them counts as quoted: as a
    name, never as a route. Without them it is no address by RFC 5321."""
    local = row.name.rpartition(b"@")[0]
    return not local.startswith(b'"') and not re.fullmatch(
        DOT_STRING + rb"(\." + DOT_STRING + rb")*", local)


# Why the daemon is never asked about such a name, or about another one.
NOT_IN_A_POLICY_REQUEST = {
    "a line end ends the attribute": lambda row: b"\n" in row.name or b"\0" in row.name,
    "Postfix drops source routes": lambda row: row.name.startswith(b"@"),
    "Postfix completes it": lambda row: b"@" not in row.name,
    "no address without quotes": needs_quotes,
    "Postfix takes no such syntax": lambda row: row.name.startswith(b'"') and not re.fullmatch(
        rb'"([^"\\]|\\.)*"', row.name.rpartition(b"@")[0], re.S),
}
# What cannot be written as `account+box@domain`, so that it is refused rather than misdelivered.
NO_ADDRESS = re.compile(rb"mailbox=.*[#%!]")


def test_the_policy_gives_every_golden_address_its_answer(everything):
    wrong, asked = [], 0
    for row in ADDRESSES:
        if reason(row, NOT_IN_A_POLICY_REQUEST):
            continue
        asked += 1
        problem = policy_problem(row, everything.policy.ask(internal(row.name)))
        if problem:
            wrong.append(f"{row}: {problem}")
    assert not wrong, "\n".join(wrong)
    assert asked > len(ADDRESSES) * 0.8, (asked, len(ADDRESSES))


def is_account(final, account, is_external):
    """Outside the directory the detail is Dovecot's matter: it stays in the name."""
    found = list(final.values())
    return found == [account] or (is_external and len(found) == 1 and re.sub(
        r"\+.*@", "@", found[0] or "") == account)


def test_the_maps_give_every_golden_address_its_answer(everything):
    wrong = []
    for row in ADDRESSES:
        if reason(row, NOT_IN_A_POLICY_REQUEST) or any(map(NO_ADDRESS.match, row.expected)):
            continue
        final = everything.final(external(row.name).decode("utf-8", "surrogateescape"))
        transport = everything.ask_map("transport", external(row.name))
        if row.result == "account":
            fine = is_account(final, row.account, row.external)
        elif row.result == "forward":
            flags = {b"explicit", b"literal", b"external"}
            fine = len(final) == len([w for w in row.expected[1:] if w not in flags])
        elif row.result == "remote":
            fine = list(final.values()) == [None] and len(final) == 1
        elif row.result == "discard":
            fine = transport == "discard:"
        else:
            fine = set(final.values()) == {None} and len(final) == 1
        if row.result != "discard" and transport is not None:
            fine = False
        if not fine:
            wrong.append(f"{row}: {final}, transport {transport}, expected {row.expected}")
    assert not wrong, "\n".join(wrong)


def decorate(random, local, domain, aliases):
    """One of the ways to write an address that mean the same name, or one with a detail."""
    domain = random.choice([domain, *aliases.get(domain, [])])
    main = random.choice(["company.com", "client1.com", "mail.client2.com"])
    if random.random() < 0.2:
        local += "+" + random.choice(["x", "Lists", "a+b", "1"])
    ways = [f"{local}@{domain}", f"{local}@{domain}.", f'"{local}"@{domain}',
            f"{local}%{domain}@{main}", f"{domain}!{local}@{main}",
            f"{local}%{domain}%{main}@{main}", f"Box#{local}@{domain}",
            f"{main}!{local}%{domain}@{main}", f"Box#{local}%{domain}@{main}"]
    name = random.choice(ways)
    return "".join(random.choice([c.upper(), c]) if c.isascii() else c for c in name)


def test_a_thousand_decorations_of_every_name(everything):
    source = random.Random(20261124)
    config = json.loads(golden.CONFIG.read_text())
    aliases = {name: [each for each in domain.get("aliases", []) if each.isascii()]
               for name, domain in config["domains"].items()}
    names = [name for kind, name, _ in golden.names() if kind in ("account", "alias")]
    usual = [name for name in names if re.fullmatch(r"[a-z0-9.@-]+", name)]
    assert len(usual) > len(names) / 2
    asked = [decorate(source, *name.rsplit("@", 1), aliases)
             for name in usual for _ in range(1 + DECORATIONS // len(usual))]
    done = batch(everything.cases, b"".join(b"address\t%s\t\t\n" % name.encode() for name in asked))
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(asked) >= DECORATIONS
    wrong, accounts = [], 0
    for name, answer in zip(asked, answers):
        action = everything.policy.ask(internal(name.encode()))
        final = everything.final(external(name.encode()).decode())
        found = everything.users.lookup(name)
        user = found[0] if isinstance(found, tuple) else found
        if answer["result"] == "account":
            accounts += 1
            fine = (action in ("DUNNO", "OK") and is_account(final, answer["account"], answer.get("external"))
                    and user == answer["account"])
        elif answer["result"] == "refuse":
            fine = action[:3] == str(answer["smtp"]) and set(final.values()) == {None} and not user
        else:
            fine = not user
        if not fine:
            wrong.append(f"{name}: {answer['result']} {answer.get('account')}, policy {action}, "
                         f"maps {final}, Dovecot {user}")
    assert not wrong, "\n".join(wrong[:30])
    assert accounts > len(asked) / 2


def test_verify_agrees(everything):
    """What it complains of are the cases that lead nowhere, on purpose; none is a disagreement."""
    done = everything.cases.ctl("verify", check=False)
    problems = [line for line in (done.stdout + done.stderr).splitlines() if "@" in line]
    assert problems and all("refused (" in line for line in problems), problems
