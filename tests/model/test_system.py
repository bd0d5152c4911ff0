"""Random operations on all of it: a Dovecot with shared mailboxes, a Postfix and homing-policyd, with
homingctl, IMAP, LMTP and SMTP. Whoever logs in opens what the model says, mail is refused or is in the
right account once, and others' mailboxes are listed with the rights that the model says."""

import imaplib
import json
import os
import shutil
import smtplib
import subprocess
import uuid

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import dovecot
import sharing
from directory import Directory
from grants import Grants
from postfix import Mail, story
from sharing import PASSWORD, quote
from support import examples, run_machine

FIRST = ["info@company.com", "info@client1.com", "info@client2.com", "boss@client1.com", "bob@client2.com"]
GROUP = "staff@company.com"
BOXES = ["A", "A/B", "D"]

# What is shared to begin with: owner, mailbox, for whom as typed and as meant, rights.
GIVEN = [
    ("info@company.com", "A", f"${GROUP}", ("group", GROUP), "lrs"),
    ("info@company.com", "A/B", "anyone@client2.com", ("domain", "client2.com"), "lrwst"),
    ("info@company.com", "A/B", "-bob@client2.com", ("user", "bob@client2.com"), "st"),
    ("info@client1.com", None, "bob@client2.com", ("user", "bob@client2.com"), "lr"),
]

NUMBER = st.integers(0, 7)
NEW = st.builds("{}@{}".format, st.sampled_from(["info", "bob", "boss", "sales"]),
                st.sampled_from(["company.com", "client1.com", "client2.com"]))
WAYS = ["{local}@{domain}", "{upper}@{domain}.", "{local}%{domain}", "{local}%{domain}@company.com",
        "{local}%{domain}@mail.client2.com", "{domain}!{local}@company.com", "\"{local}\"@{domain}",
        "{local}+x@{domain}", "{local}@mail.client2.com", "{local}@old.example", "{local}@[{client1}]",
        "{local}@company.com", "x_admin@{domain}", "spamtrap@{domain}", "closed@client1.com",
        "{local}%elsewhere.example@{domain}", "nobody@{domain}", "{local}@elsewhere.example"]
# lmtp takes no dot at the end for an address. A bare name, which a local address gives its domain, is for logins; two `%` without `@` are no recipient.
LOGIN_WAYS = ["{local}", "{local}", "{upper}", "{local}+x", "{local}%{domain}%company.com", *WAYS]
RIGHTS = st.sampled_from(["l", "lr", "lrs", "lrwst", "r", "lrwstipekxa", "i", "p", "a"])


def config(mail, more=False):
    """One of two configurations."""
    made = story(mail)
    made["domains"]["company.com"]["addresses"].append(dovecot.IPS[0])
    made["domains"]["client1.com"]["addresses"].append(dovecot.IPS[1])
    made["domains"]["client1.com"]["administrators"] = ["boss"]
    if more:
        made["router"].append({"match": "*_admin@*", "to": "info@client1.com"})
        made["domains"]["client2.com"]["unknown"] = "reroute:info@company.com"
    return made


class System(Mail):
    """Mail, with shared mailboxes as in sharing.World."""

    def __init__(self, folder, tls):
        super().__init__(folder, config=config, tls=tls)
        self.world = sharing.World(self.folder / "world", homing=self.homing)
        sharing.usable(self.homing)

    def dovecot_settings(self):
        return {**super().dovecot_settings(), **self.world.server.settings}

    def dovecot_services(self):
        return super().dovecot_services() + self.world.server.raw

    def __enter__(self):
        return self.start()

    def mark(self, account):
        """A mailbox with one message that says whose it is."""
        root = self.world.root(account)
        new = root / "new"
        for folder in (new, root / "cur", root / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        for path in root.glob("dovecot*"):
            path.unlink()  # Dovecot has read the message before
        for path in [*root.glob("cur/1000000000.*"), *root.glob("new/1000000000.*")]:
            path.unlink()
        (new / "1000000000.first.host").write_text(f"Subject: the mailbox of {account}\r\n\r\nYours.\r\n")
        subprocess.run(["chown", "-R", f"{sharing.UID}:{sharing.UID}", str(self.world.mail)], check=True)

    def holders(self, token):
        """The accounts that have the message, one for each copy."""
        done = subprocess.run(["grep", "-rlF", token, str(self.world.mail)], capture_output=True, text=True)
        found = []
        for path in done.stdout.split():
            domain, local = os.path.relpath(path, self.world.mail).split("/")[:2]
            if "/dovecot" not in path:
                found.append(f"{local}@{domain}")
        return sorted(found)


class Machine(RuleBasedStateMachine):
    system = None  # given by the test

    def __init__(self):
        super().__init__()
        self.mail, self.world = self.system, self.system.world
        self.server = self.mail.dovecot

    @initialize()
    def begin(self):
        self.model = Directory(config(self.mail))
        self.grants = Grants(self.model)
        self.apply(False)
        for name in FIRST:
            self.add_account(name)
        self.ctl(self.model.add_list("group", GROUP, FIRST[1:3]), "group", "add", GROUP, *FIRST[1:3])
        self.add_alias("sales@client1.com", 0)
        for owner in FIRST[:2]:
            for box in BOXES:
                self.imap(owner, "CREATE", quote(box))
                self.grants.create(owner, box)
        for owner, box, typed, who, rights in GIVEN:
            self.ctl({0}, "share", "grant", owner, box or "*", "--", typed, rights)
            self.grants.give(owner, box, who, rights, int(typed.startswith("-")))

    def teardown(self):
        if hasattr(self, "model"):
            for kind in ("alias", "forwarder", "group", "account"):
                for name in list(self.model.listed(kind)):
                    self.mail.homing.ctl(kind, "delete", name)
            assert json.loads(self.mail.homing.ctl("share", "list", "--json").stdout) == []
            for path in self.world.mail.iterdir():
                shutil.rmtree(path)

    def ctl(self, codes, *words, **more):
        note(f"homingctl {' '.join(words)}")
        done = self.mail.homing.ctl(*words, check=False, **more)
        assert done.returncode in codes, (words, done.returncode, codes, done.stderr)
        return done.returncode == 0

    def one(self, number, *kinds):
        there = sorted("@".join(name) for name, (kind, _) in self.model.names.items() if kind in kinds)
        return there[number % len(there)]

    def account(self, number):
        return self.one(number, "account")

    # The directory

    @rule(more=st.booleans())
    def apply(self, more):
        made = config(self.mail, more)
        self.model.configure(made)
        self.mail.homing.json.write_text(json.dumps(made))
        self.ctl({0}, "apply", str(self.mail.homing.json))

    @rule(name=NEW)
    def add_account(self, name):
        codes = self.model.add_account(name)
        line = json.dumps({"account": name, "password": f"{{PLAIN}}{PASSWORD}"})
        if self.ctl({0} if codes == {0} else {65}, "account", "import", "-", text=line + "\n"):
            self.grants.add_account(name)
            self.mail.mark(name)

    @rule(number=NUMBER)
    def delete_account(self, number):
        """With its mail, as an administrator would. One stays."""
        name = self.account(number)
        if len(self.grants.boxes) > 1:
            self.ctl(self.model.delete_account(name, True), "account", "delete", "--force", name)
            self.grants.delete_account(name)
            shutil.rmtree(self.world.root(name))

    @rule(number=NUMBER, new=NEW)
    def rename_account(self, number, new):
        old = self.account(number)
        codes = self.model.rename_account(old, new)
        if self.ctl(codes, "account", "rename", old, new):
            self.grants.rename_account(old, new)
            self.world.root(new).parent.mkdir(exist_ok=True)
            self.world.root(old).rename(self.world.root(new))
            self.mail.mark(new)

    @rule(name=NEW, number=NUMBER)
    def add_alias(self, name, number):
        other = self.one(number, "account", "alias", "group")
        self.ctl(self.model.add_alias(name, other), "alias", "add", name, other)

    @rule(name=NEW, numbers=st.lists(NUMBER, min_size=1, max_size=3), away=st.booleans())
    def add_forwarder(self, name, numbers, away):
        others = [self.one(number, "account", "alias", "group") for number in numbers]
        others += ["friend@elsewhere.example"] if away else []
        self.ctl(self.model.add_list("forwarder", name, others), "forwarder", "add", name, *others)

    @rule(number=NUMBER, leave=st.booleans())
    def change_group(self, number, leave):
        other = self.one(number, "account", "alias")
        if leave:
            self.ctl(self.model.remove_member(GROUP, other), "group", "remove", GROUP, other)
        else:
            self.ctl(self.model.add_list("group", GROUP, [other]), "group", "add", GROUP, other)

    # Logins and mail

    def written(self, way, number):
        name = self.one(number, "account", "alias", "forwarder", "group")
        local, domain = name.split("@")
        return way.format(local=local, upper=local.upper(), domain=domain, client1=self.mail.client1)

    @rule(way=st.sampled_from(LOGIN_WAYS), number=NUMBER, ip=st.sampled_from(dovecot.IPS))
    def log_in(self, way, number, ip):
        name = self.written(way, number)
        note(f"login {name} at {ip}")
        expected = self.model.route("login", name, ip).get("account")
        if set(name) - set(dovecot.CHARS):
            expected = None
        assert self.opened(name, ip) == expected, (name, ip)

    def opened(self, name, ip):
        """Whose mailbox it is, by the message in it that says so; None if refused."""
        try:
            client = self.server.imap(name, PASSWORD, ip=ip)
        except imaplib.IMAP4.error:
            return None
        try:
            client.select("INBOX")
            numbers = client.search(None, "SUBJECT", '"the mailbox of"')[1][0].split()
            assert len(numbers) == 1, numbers
            return dovecot.owner_in(client.fetch(numbers[0], "(BODY.PEEK[HEADER])")[1][0][1])
        finally:
            client.shutdown()

    @rule(way=st.sampled_from([way.removesuffix(".") for way in WAYS]), number=NUMBER)
    def deliver(self, way, number):
        name, token = self.written(way, number), uuid.uuid4().hex
        note(f"LMTP to {name}")
        expected = self.model.route("address", name).get("account")
        if set(name) - set(dovecot.CHARS) - {'"'}:  # lmtp itself takes quotes off
            expected = None
        try:
            self.server.deliver(name, token)
            accepted = True
        except smtplib.SMTPRecipientsRefused:
            accepted = False
        assert accepted == bool(expected), (name, expected)
        assert self.mail.holders(token) == ([expected] if expected else []), name

    @rule(way=st.sampled_from(WAYS), number=NUMBER)
    def send(self, way, number):
        name = self.written(way, number)
        note(f"SMTP to {name}")
        expected = self.model.route("address", name)
        code, text = self.mail.send(name)[name]
        token, result = self.mail.token, expected["result"]
        self.mail.finished()
        ours, away = self.arrives(expected)
        if result == "refuse":
            assert code == expected["smtp"] and text.startswith(expected["status"]), (name, code, text)
        elif result == "remote":
            assert code >= 400, (name, code, text)
        else:
            assert code == 250, (name, code, text)
        assert self.mail.holders(token) == ours, (name, expected)
        assert sorted(self.mail.sink.recipients(token)) == away, (name, expected)

    def arrives(self, expected):
        if expected["result"] == "account":
            return [expected["account"]], []
        where = [self.model.route("address", target) for target in expected.get("targets", ())]
        return (sorted({each["account"] for each in where if each["result"] == "account"}),
                sorted(each["address"] for each in where if each["result"] == "remote"))

    # Sharing

    def grantee(self, kind, number):
        """What is typed for it, and what it is."""
        if kind == "group":
            return f"${GROUP}", ("group", GROUP)
        name = self.account(number)
        if kind == "domain":
            return f"anyone@{name.split('@')[1]}", ("domain", name.split("@")[1])
        typed = [name, name.replace("@", "%"), name.upper()][number % 3]
        return typed, ("user", name)

    def box(self, owner, number):
        there = sorted(self.grants.boxes[owner])
        return there[number % len(there)]

    @rule(number=NUMBER, box=NUMBER, kind=st.sampled_from(["user", "user", "group", "domain"]), who=NUMBER,
          rights=RIGHTS, negative=st.sampled_from([False, False, True]))
    def set_acl(self, number, box, kind, who, rights, negative):
        owner = self.account(number)
        name, (typed, who) = self.box(owner, box), self.grantee(kind, who)
        if who == ("user", owner):
            return  # whoever takes away one's own rights cannot go on
        self.imap(owner, "SETACL", quote(name), quote("-" * negative + typed), rights)
        self.grants.give(owner, name, who, rights, int(negative))
        self.look_at(owner)

    @rule(number=NUMBER, box=NUMBER, kind=st.sampled_from(["user", "group", "domain"]), who=NUMBER,
          negative=st.sampled_from([False, False, True]))
    def delete_acl(self, number, box, kind, who, negative):
        owner = self.account(number)
        name, (typed, who) = self.box(owner, box), self.grantee(kind, who)
        if self.grants.given.get((owner, name), {}).get(who, [None, None])[int(negative)] is not None:
            self.imap(owner, "DELETEACL", quote(name), quote("-" * negative + typed))
            self.grants.take(owner, name, who, int(negative))
            self.look_at(owner)

    @rule(number=NUMBER, box=NUMBER, kind=st.sampled_from(["user", "group", "domain"]), who=NUMBER,
          rights=st.one_of(RIGHTS, st.just("")), whole=st.booleans())
    def share(self, number, box, kind, who, rights, whole):
        owner = self.account(number)
        name, (typed, who) = self.box(owner, box), self.grantee(kind, who)
        if who == ("user", owner):
            return
        self.ctl({0}, "share", "grant", owner, "*" if whole else name, "--", typed, rights)
        self.grants.give(owner, None if whole else name, who, rights, 0)
        self.look_at(owner)

    @rule(number=NUMBER, kind=st.sampled_from(["user", "group", "domain"]), who=NUMBER)
    def unshare(self, number, kind, who):
        owner, (typed, who) = self.account(number), self.grantee(kind, who)
        there = self.grants.given.get((owner, None), {}).get(who, [None, None])[0] is not None
        if there:
            self.ctl({0}, "share", "revoke", owner, "*", "--", typed)
            self.grants.take(owner, None, who, 0)
            self.look_at(owner)

    @rule(number=NUMBER, box=st.sampled_from(BOXES))
    def create(self, number, box):
        owner = self.account(number)
        boxes, parent = self.grants.boxes[owner], box.rpartition("/")[0]
        if box not in boxes and (not parent or parent in boxes):
            self.imap(owner, "CREATE", quote(box))
            self.grants.create(owner, box)
            self.look_at(owner)

    @rule(number=NUMBER, box=st.sampled_from(BOXES))
    def delete(self, number, box):
        owner = self.account(number)
        boxes = self.grants.boxes[owner]
        if box in boxes and not any(other.startswith(box + "/") for other in boxes):
            self.imap(owner, "DELETE", quote(box))
            self.grants.delete(owner, box)
            self.look_at(owner)

    @rule(number=NUMBER, new=st.sampled_from(["D", "E"]))
    def rename(self, number, new):
        """With what is below it."""
        owner = self.account(number)
        boxes = self.grants.boxes[owner]
        if "A" in boxes and new not in boxes:
            self.imap(owner, "RENAME", quote("A"), quote(new))
            self.grants.rename(owner, "A", new)
            self.look_at(owner)

    def imap(self, account, *words):
        note(f"{account}: {' '.join(words)}")
        with sharing.Session(self.server, account) as session:
            session.ok(*words)

    @rule(number=NUMBER)
    def look(self, number):
        self.look_at(self.account(number))

    def look_at(self, owner):
        """As everybody else does."""
        note(f"all look at what {owner} shares")
        for user in sorted(self.grants.boxes):
            if user != owner:
                self.compare(user, owner)

    def compare(self, user, owner):
        with sharing.Session(self.server, user) as session:
            found = {name for name, flags in listed(session) if not flags & {"\\nonexistent", "\\noselect"}}
            assert found == {self.world.name(box, of) for of, box in self.grants.visible(user)}, user
            for box in sorted(self.grants.boxes[owner]):
                name = self.world.name(box, owner)
                assert session.rights(name) == self.grants.rights(user, owner, box), (user, name)


def listed(session):
    answers = session.ok("LIST", '""', '"shared/*"').get("LIST", [])
    return [sharing.listed(answer) for answer in sharing.joined(answers)]


@pytest.fixture(scope="module")
def system(top, tls):
    with System(top / "system", tls) as made:
        yield made
        assert made.dovecot.alive()


def test_all_of_it_does_what_the_model_says(system):
    Machine.system = system
    run_machine(Machine, examples(18, steps=14))
    bad = [line for line in system.dovecot.log().splitlines() if "Panic:" in line or "killed with" in line]
    assert not bad and not system.postfix.problems(), bad
