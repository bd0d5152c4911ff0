"""Random commands to homingctl: the directory holds what the model says, after each of them, and a
directory that is made from what was exported is the same."""

import json

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import homing
from directory import Directory
from support import examples, run_machine

MAIN = "main.example"
CONFIGS = {
    "usual": {"one.example": {}, "dash.example": {"subaddress_delimiter": "-"}, "late.example": {}},
    "without": {"one.example": {}, "dash.example": {"subaddress_delimiter": "-"}},
    "rules": {"one.example": {"unknown": f"reroute:info@{MAIN}"}, "late.example": {"unknown": "discard"},
              "dash.example": {"subaddress_delimiter": "-"}},
}
RECORDS = [{"match": "gone@*", "to": "discard:"}, {"match": "old.example", "to": MAIN}]

# Few names, so that they meet; and now and then one that is written otherwise, or wrong.
LOCALS = st.sampled_from(["info", "bob", "info+x", "bob-y"])
DOMAINS = st.sampled_from([MAIN, MAIN, "one.example", "dash.example"])
USUAL = st.builds("{}@{}".format, LOCALS, DOMAINS)
ODD = st.one_of(
    st.builds("{}@{}".format, st.sampled_from(["Info", "müller", "MÜLLER", "info"]),
              st.sampled_from(["late.example", "One.Example.", "alias.example", "ext.example", MAIN,
                               "nowhere.example"])),
    st.builds("{}@one.example".format, st.sampled_from(["-x", "~x", ".", "a b", "a/b", "a$", "a*b"])),
    LOCALS)
NAMES = st.one_of(*[USUAL] * 6, ODD)
FIRST = ["info@main.example", "bob@main.example", "info+x@main.example", "info@one.example",
         "info@dash.example", "bob@dash.example"]
DETAILED = st.builds("{}{}@{}".format, LOCALS, st.sampled_from(["+z", "-z", "+y+Z", "+x"]), DOMAINS)
TARGETS = st.one_of(USUAL, USUAL, USUAL, DETAILED, DETAILED, DETAILED, ODD, st.sampled_from(
    ["Some.One@remote.example", "gone@one.example", "info@old.example"]))
# One of those that are there, by its number, or another.
NUMBER = st.integers(0, 11)
SOME = st.one_of(NUMBER, NUMBER, NAMES)
SOME_TARGET = st.one_of(NUMBER, TARGETS)
PASSWORDS = st.sampled_from(["{PLAIN}one", "{PLAIN}two"])


def configuration(name, router, home):
    domains = {MAIN: {"aliases": ["alias.example"]}, "ext.example": {"accounts": "external"},
               **CONFIGS[name]}
    config = {"main_domain": MAIN, "domains": domains}
    if router:
        config["router"] = RECORDS
    if home:
        config["account_defaults"] = {"home": "/srv/%{domain}/%{local}"}
    return config


class Machine(RuleBasedStateMachine):
    folders = None  # given by the test

    @initialize(name=st.sampled_from(sorted(CONFIGS)), router=st.booleans(), home=st.booleans())
    def begin(self, name, router, home):
        self.made = homing.Homing(next(self.folders))
        self.config = configuration(name, router, home)
        self.model = Directory(self.config)
        self.write()
        self.import_accounts([(account, "{PLAIN}one") for account in FIRST])
        self.add_group("bob-y@main.example", ["info@main.example", "bob@dash.example", "info+z@one.example"])
        self.add_alias("bob-y@one.example", "bob+z@main.example")
        self.add_forwarder("bob-y@dash.example", ["info-z@dash.example", "Bob@main.example"])

    def write(self, made=None):
        made = made or self.made
        made.json.write_text(json.dumps(self.config))
        return made.ctl("apply", str(made.json))

    def name(self, given, kind=None):
        there = sorted("@".join(name) for name, (is_kind, _) in self.model.names.items()
                       if kind in (None, is_kind))
        if isinstance(given, int):
            return there[given % len(there)] if there else "info"
        return given

    def same(self, codes, *words, **more):
        note(f"homingctl {' '.join(words)}")
        done = self.made.ctl(*words, check=False, **more)
        assert done.returncode in codes, (words, done.returncode, codes, done.stderr)

    @rule(name=st.sampled_from(sorted(CONFIGS)), router=st.booleans(), home=st.booleans())
    def apply(self, name, router, home):
        self.config = configuration(name, router, home)
        self.model.configure(self.config)
        self.write()

    @rule(name=NAMES, groups=st.lists(SOME, max_size=2), home=st.sampled_from([None, None, "/own"]))
    def add_account(self, name, groups, home):
        groups = [self.name(group, "group") for group in groups]
        words = [word for group in groups for word in ("--group", group)]
        words += ["--home", home] if home else []
        self.same(self.model.add_account(name, groups, home), "account", "add", *words, "--", name)

    @rule(names=st.lists(st.tuples(st.builds("{}@{}".format, LOCALS, DOMAINS), PASSWORDS), min_size=1,
                         max_size=3))
    def import_accounts(self, names):
        """All of them, or none."""
        lines = "".join(json.dumps({"account": name, "password": password}) + "\n"
                        for name, password in names)
        keys = [self.model.key(name) for name, _ in names]
        wrong = len(set(keys)) < len(keys) or any(self.model.may_add("account", name) for name, _ in names)
        self.same({65} if wrong else {0}, "account", "import", "-", text=lines)
        if not wrong:
            for name, password in names:
                self.model.add_account(name)
                self.model.known["@".join(self.model.key(name))]["password"] = password

    @rule(name=SOME, force=st.booleans())
    def delete_account(self, name, force):
        name = self.name(name, "account")
        self.same(self.model.delete_account(name, force), "account", "delete",
                  *(["--force"] if force else []), "--", name)

    @rule(old=SOME, new=NAMES)
    def rename_account(self, old, new):
        old = self.name(old, "account")
        local, domain = self.model.key(old)
        default = f"/srv/{domain}/{local}" if "account_defaults" in self.config else None
        self.same(self.model.rename_account(old, new, default), "account", "rename", "--", old, new)

    # Once more, of those that are there: it is what most can go wrong with.

    @rule(number=NUMBER, new=USUAL)
    def rename_one(self, number, new):
        self.rename_account(number, new)

    @rule(number=NUMBER, force=st.booleans())
    def delete_one(self, number, force):
        self.delete_account(number, force)

    @rule(name=NAMES, other=SOME_TARGET)
    def add_alias(self, name, other):
        other = self.name(other)
        self.same(self.model.add_alias(name, other), "alias", "add", "--", name, other)

    @rule(name=NAMES, others=st.lists(SOME_TARGET, min_size=1, max_size=3))
    def add_forwarder(self, name, others):
        others = list(map(self.name, others))
        self.same(self.model.add_list("forwarder", name, others), "forwarder", "add", "--", name, *others)

    @rule(name=SOME, members=st.lists(SOME_TARGET, max_size=3))
    def add_group(self, name, members):
        name, members = self.name(name, "group"), list(map(self.name, members))
        self.same(self.model.add_list("group", name, members), "group", "add", "--", name, *members)

    @rule(name=SOME, member=SOME_TARGET)
    def remove_member(self, name, member):
        name, member = self.name(name, "group"), self.name(member)
        self.same(self.model.remove_member(name, member), "group", "remove", "--", name, member)

    @rule(kind=st.sampled_from(["alias", "forwarder", "group"]), name=SOME)
    def delete_name(self, kind, name):
        name = self.name(name, kind)
        self.same(self.model.delete(kind, name), kind, "delete", "--", name)

    # What is there

    @invariant()
    def holds_what_the_model_says(self):
        if hasattr(self, "made"):
            assert listed(self.made) == {
                "account": sorted(self.model.listed("account")),
                "alias": {name: targets[0] for name, targets in self.model.listed("alias").items()},
                **{kind: {name: sorted(targets) for name, targets in self.model.listed(kind).items()}
                   for kind in ("forwarder", "group")}}

    @precondition(lambda self: hasattr(self, "made"))
    @rule()
    def verify(self):
        done = self.made.ctl("verify", "--json", check=False)
        found = {each["name"] for each in json.loads(done.stdout)["found"]}
        assert found == self.model.problems(), done.stdout
        assert done.returncode == (65 if found else 0)

    def teardown(self):
        if hasattr(self, "made"):
            self.accounts_have_what_is_theirs()
            self.another_made_of_it_is_the_same()

    def accounts_have_what_is_theirs(self):
        wanted = {}
        for name, own in self.model.known.items():
            groups = self.model.groups_of(self.model.key(name))
            wanted[name] = {"account": name, **own, **({"groups": groups} if groups else {})}
        assert exported(self.made) == wanted

    def another_made_of_it_is_the_same(self):
        """Where its domains still are."""
        other = homing.Homing(next(self.folders))
        other.json.write_text(self.made.ctl("export").stdout)
        other.ctl("apply", str(other.json))
        assert self.write(other).stdout == "nothing changed\n"
        if not all(domain in self.model.domains for _, domain in self.model.names):
            return
        for group in self.model.listed("group"):
            other.ctl("group", "add", group)
        other.ctl("account", "import", "-", text=self.made.ctl("export", "--accounts",
                                                               "--with-passwords").stdout)
        for kind in ("alias", "forwarder", "group"):
            for name, targets in self.model.listed(kind).items():
                if targets:
                    other.ctl(kind, "add", name, *targets)
        missing = {name for name, targets in self.model.listed("forwarder").items() if not targets}
        mine = listed(self.made)
        mine["forwarder"] = {name: to for name, to in mine["forwarder"].items() if name not in missing}
        assert listed(other) == mine
        assert exported(other) == exported(self.made)


def listed(made):
    found = {"account": sorted(json.loads(made.ctl("account", "list", "--json").stdout))}
    for kind, targets in (("alias", "target"), ("forwarder", "targets"), ("group", "members")):
        lines = json.loads(made.ctl(kind, "list", "--json").stdout)
        found[kind] = {line[kind]: line[targets] if kind == "alias" else sorted(line[targets])
                       for line in lines}
    return found


def exported(made):
    found = {}
    for line in map(json.loads, made.ctl("export", "--accounts", "--with-passwords").stdout.splitlines()):
        if "groups" in line:
            line["groups"].sort()
        found[line["account"]] = line
    return found


def test_the_directory_holds_what_the_model_says(folders):
    Machine.folders = folders
    run_machine(Machine, examples(18, steps=25))
