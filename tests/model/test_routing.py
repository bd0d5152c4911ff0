"""Random directories and random names: homingctl route says what the model says."""

import json
import subprocess
from collections import namedtuple

import golden
from hypothesis import example, given
from hypothesis import strategies as st

import homing
from model import Model, Record, Unsure, domain_name, fold, possible_name
from support import examples

Scenario = namedtuple("Scenario", "config names questions")

MAIN = "main.example"
DOMAINS = ["one.example", "two.example", "mail.two.example", "bücher.example", "ext.example"]
ALIASES = ["alias.example", "alt.one.example", "Second.Example", "straße.example", "mail.two.example"]
SERVER_NAMES = ["*.one.example", "*.two.example", "imap.example", "a.one.example", "*.example"]
ADDRESSES = ["192.0.2.1", "192.0.2.2", "192.0.2.0/24", "192.0.2.0/28", "0.0.0.0/0", "2001:db8::1",
             "2001:db8::/32", "2001:db8:1::/48"]
IPS = ["192.0.2.1", "192.0.2.2", "192.0.2.9", "192.0.2.200", "203.0.113.9", "::ffff:192.0.2.2",
       "2001:db8::1", "2001:db8:1::5", "2001:db9::1"]
LITERALS = ["[192.0.2.1]", "[192.0.2.77]", "[203.0.113.9]", "[IPv6:2001:db8::1]",
            "[ipv6:2001:DB8:1:0::5]", "[IPv6:::ffff:192.0.2.2]", "[IPv6:2001:db9::1]", "[2001:db8::1]",
            "[192.0.2]", "[]", "[192.0.2.1"]
ELSEWHERE = ["remote.example", "x.remote.example", "old.example", "example", "one.example.net",
             "*.example"]
LOCALS = ["info", "sales", "bob", "info+x", "a.b", "müller", "straße", "οδυσσεύς", "team-x", "a+b+c",
          "x_y", "postmaster"]
DELIMITERS = ["-", "_", "=", ".", "^"]
TYPED = ["*", "nobody", "Info", "INFO", "MÜLLER", "mu\u0308ller", "STRAẞE", "ΟΔΥΣΣΕΎΣ", "İnfo", "ﬁ",
         ".", "..", "", "in fo", "in/fo", "a\\b", '"', "~info", "-info", "$x", "a,b", "n" * 255,
         "n" * 256, "info.", "\u200binfo", "in\u00a0fo", "\u212aurt", "web-admin", "old-info", "spamtrap"]
PIECES = ["@", "%", "!", "#", "+", "-", "_", ".", '"', "\\", "/", " ", ":", ",", "[", "]", "*", "\x7f",
          "\u0085", "\u2028", "ü", "Ü", "ß", "+x", "box#", "@remote.example", "%remote.example",
          "remote.example!", f"%{MAIN}", f"@{MAIN}", f"{MAIN}!", "@a.example:", "="]

MATCH_LOCALS = ["*", "info", "sales", "*-admin", "old-*", "a*b", "*.*", "info+*", "spamtrap", "müller",
                "MÜ*", "*+*", "in*o", "n*"]
MATCH_DOMAINS = ["*", MAIN, "one.example", "*.one.example", "old.example", "*.remote.example",
                 "remote.example", "*.example", "alias.example", "bücher.example", "*e*"]
TO_LOCALS = ["info", "*", "*_*", "x-*", "*+d", "nobody", "sales", "box#*", "*%one.example", "müller",
             "two.example!*", "someone", "in*"]
TO_DOMAINS = [MAIN, "one.example", "two.example", "remote.example", "*", "*.example", "*.one.example",
              "alias.example", "bücher.example"]


@st.composite
def records(draw):
    found, seen = [], set()
    for _ in range(draw(st.integers(0, 4))):
        domain_only = draw(st.booleans())
        match = draw(st.sampled_from(MATCH_DOMAINS))
        if not domain_only:
            match = f"{draw(st.sampled_from(MATCH_LOCALS))}@{match}"
        action = draw(st.sampled_from(["name"] * 6 + ["discard", "error"]))
        if action == "discard":
            to = "discard:"
        elif action == "error":
            to = draw(st.sampled_from(["error:5.1.6 gone away", "error:4.2.1 later"]))
        elif domain_only and draw(st.booleans()):
            to = draw(st.sampled_from(TO_DOMAINS))
        else:
            to = f"{draw(st.sampled_from(TO_LOCALS))}@{draw(st.sampled_from(TO_DOMAINS))}"
        record = Record(match, to)
        names = record.local or "*", record.domain
        if to.count("*") > match.count("*") or names in seen:
            continue
        seen.add(names)
        found.append({"match": match, "to": to})
    return found


def distinct(draw, pool, used, most=2):
    """Some of the pool that nobody has yet."""
    found = []
    for one in draw(st.lists(st.sampled_from(pool), max_size=most, unique=True)):
        key = domain_name(one.removeprefix("*.")) if "." in one and ":" not in one and "/" not in one \
            else one
        key = ("*" if one.startswith("*") else "", key)
        if key not in used:
            used.add(key)
            found.append(one)
    return found


@st.composite
def configs(draw):
    names = [MAIN, *(name for name in DOMAINS if draw(st.booleans()))]
    used, addresses = {("", domain_name(name)) for name in names}, set()
    domains = {}
    for name in names:
        keys = {"aliases": distinct(draw, ALIASES, used),
                "server_names": distinct(draw, SERVER_NAMES, used),
                "addresses": distinct(draw, ADDRESSES, addresses, 3)}
        if name == "ext.example":
            keys["accounts"] = draw(st.sampled_from(["external", "dovecot"]))
        if draw(st.integers(0, 3)) == 0:
            keys["subaddress_delimiter"] = draw(st.sampled_from(DELIMITERS))
        if draw(st.integers(0, 2)) == 0:
            keys["unknown"] = draw(st.sampled_from(
                ["discard", "reject", f"reroute:postmaster@{MAIN}", "reroute:catch@remote.example",
                 f"reroute:nobody@{name}", "reroute:box#info+x@one.example"]))
        domains[name] = {key: value for key, value in keys.items() if value}
    config = {"main_domain": MAIN, "domains": domains}
    found = draw(records())
    return {**config, "router": found} if found else config


@st.composite
def directory_names(draw, config):
    """Commands for homingctl: (kind, name, targets)"""
    domains = list(config["domains"])
    found, taken = [], set()
    target = st.builds("{}@{}".format, st.sampled_from(LOCALS + ["nobody", "info+fwd", "Info", "spamtrap"]),
                       st.sampled_from(domains + ["remote.example", "old.example", "alias.example"]))
    for local, domain in draw(st.lists(st.tuples(st.sampled_from(LOCALS), st.sampled_from(domains)),
                                       max_size=10, unique=True)):
        kind = draw(st.sampled_from(["account", "account", "alias", "forwarder", "group"]))
        if kind == "account" and config["domains"][domain].get("accounts"):
            continue
        targets = {"account": 0, "alias": 1}.get(kind, draw(st.integers(1, 3)))
        taken.add((fold(local), domain_name(domain)))
        found.append((kind, f"{local}@{domain}", [draw(target) for _ in range(targets)]))
    return found


@st.composite
def typed_names(draw, config, names):
    """Something that somebody types: made of what there is and of what is special."""
    known = [name.rpartition("@")[0] for _, name, _ in names] or ["info"]
    domains = list(config["domains"])
    aliases = [alias for keys in config["domains"].values() for alias in keys.get("aliases", [])]
    local = st.one_of(st.sampled_from(known), st.sampled_from(known), st.sampled_from(LOCALS),
                      st.sampled_from(TYPED))
    domain = st.one_of(st.sampled_from(domains + aliases), st.sampled_from(domains + aliases),
                       st.sampled_from(ELSEWHERE + ALIASES), st.sampled_from(LITERALS))
    name = draw(local)
    for _ in range(draw(st.integers(0, 2))):
        way = draw(st.sampled_from(["detail", "box", "case", "quote", "escape"]))
        if way == "detail":
            name += draw(st.sampled_from(["+", "-", "_", "+x", "+X+y", "-x", ".x", "=x", "^", "+Größe"]))
        elif way == "box":
            name = draw(st.sampled_from(["Box#", "#", "a#b#", "A/B#", "Ü#"])) + name
        elif way == "case":
            name = draw(st.sampled_from([name.upper(), name.title(), name.swapcase()]))
        elif way == "quote":
            name = f'"{name}"'
        elif name:
            name = f'"\\{name}"'
    for _ in range(draw(st.integers(0, 3))):
        way = draw(st.sampled_from(["@", "@", "@", "@", "%", "%", "!"]))
        host = draw(domain)
        name = f"{host}!{name}" if way == "!" else f"{name}{way}{host}"
        if way == "@" and draw(st.booleans()):
            break
    if draw(st.integers(0, 9)) == 0:
        name += f"%{MAIN}" * draw(st.sampled_from([29, 30, 31, 32, 33])) + draw(st.sampled_from(["", "@" + MAIN]))
    if draw(st.integers(0, 5)) == 0:
        name = draw(st.sampled_from(["@a.example:", "@a.example,@[192.0.2.1]:", "@:", "@a.example,b:",
                                     "@[IPv6:2001:db8::1]:"])) + name
    if draw(st.integers(0, 5)) == 0:
        name += draw(st.sampled_from([".", "..", "%", "@"]))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2, 3]))):
        at = draw(st.integers(0, len(name)))
        name = name[:at] + draw(st.sampled_from(PIECES)) + name[at:]
    return name


def questions(config, names):
    server_names = ["", "", "one.example", "ONE.Example.", "x.one.example", "x.y.one.example",
                    "imap.example", "alias.example", "two.example", "x.two.example", "a.one.example",
                    ".one.example", "*.one.example", "xn--bcher-kva.example", "[192.0.2.1]", "a..b", "x"]
    return st.tuples(st.sampled_from(["login", "address"]), typed_names(config, names),
                     st.sampled_from(["", "", *IPS]), st.sampled_from(server_names))


@st.composite
def scenarios(draw):
    config = draw(configs())
    names = draw(directory_names(config))
    return Scenario(config, names, draw(st.lists(questions(config, names), min_size=1, max_size=60)))


def comparable(answer):
    """What the model says too."""
    keys = {"account": ("account", "detail", "mailbox", "external", "explicit", "literal"),
            "forward": ("targets", "explicit", "literal"), "remote": ("address", "relay"),
            "refuse": ("reason", "smtp", "status"), "discard": ()}[answer["result"]]
    if answer.get("reason") == "error":
        keys = (*keys, "text")
    found = {key: answer[key] for key in ("result", *keys) if key in answer}
    if "targets" in found:
        assert len(set(found["targets"])) == len(found["targets"]), answer
        found["targets"] = set(found["targets"])
    return found


def batch(made, asked):
    text = "".join("\t".join(question) + "\n" for question in asked).encode()
    done = subprocess.run([homing.HOMINGCTL, "--directory", str(made.path), "route", "--batch"],
                          input=text, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def tell(made, model, names):
    """Adds what can be added. What cannot is homingctl's matter: see test_directory.py."""
    for kind, name, targets in names:
        done = made.ctl(kind, "add", name, *targets, check=False)
        if done.returncode == 0:
            model.add(kind, name, *targets)
        else:
            assert done.returncode in (65, 67, 73), (kind, name, targets, done)


def in_a_batch(question):
    return not any(letter in part for part in question for letter in "\t\n")


@examples(100)
@given(scenario=scenarios())
@example(scenario=Scenario({"main_domain": MAIN, "domains": {MAIN: {}}, "router": [
    {"match": "*@*", "to": "*_*@remote.example"}]}, [], [("login", f"sales@{MAIN}", "", "")]))
def test_every_name_means_what_the_model_says(folders, scenario):
    made, model = homing.Homing(next(folders)), Model(scenario.config)
    made.json.write_text(json.dumps(scenario.config))
    done = made.ctl("apply", str(made.json), check=False)
    if done.returncode != 0 and "back to" in done.stderr:
        return  # a circle of records, which only homingctl looks for
    assert done.returncode == 0, done.stderr
    tell(made, model, scenario.names)
    asked = [question for question in scenario.questions if in_a_batch(question)]
    for question, answer in zip(asked, batch(made, asked), strict=True):
        kind, name, local_ip, server_name = question
        try:
            expected = model.route(kind, name, local_ip, server_name)
        except Unsure:
            continue
        if expected["result"] == "remote":
            expected = {key: expected[key] for key in ("result", "address", "relay")}
        assert comparable(answer) == expected, question


def test_the_model_gives_the_golden_cases_their_answers():
    """So that the model is not wrong about what an administrator can read."""
    model = Model(json.loads(golden.CONFIG.read_text()))
    for kind, name, targets in golden.names():
        model.add(kind, name, *targets)
    wrong, sure = [], 0
    for row in golden.routes():
        try:
            found = model.route(row.kind, row.name, row.local_ip, row.server_name)
        except Unsure:
            continue
        sure += 1
        if words(found) != row.expected:
            wrong.append(f"{row}: {found}, expected {row.expected}")
    assert not wrong, "\n".join(wrong)
    assert sure > 500


def words(found):
    flags = [flag for flag in ("external", "explicit", "literal") if found.get(flag)]
    more = {
        "account": lambda: [found["account"], *flags, *(
            f"{key}={found[key]}" for key in ("detail", "mailbox") if found[key] is not None)],
        "forward": lambda: [*found["targets"], *flags],
        "remote": lambda: [found["address"]] + (["relay"] if found["relay"] else []),
        "refuse": lambda: [found["reason"], str(found["smtp"]), found["status"]],
        "discard": list,
    }[found["result"]]()
    return golden.words(found["result"].encode(), *(word.encode() for word in more))
