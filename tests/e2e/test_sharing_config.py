"""What `homingctl config dovecot --sharing` prints, pasted as it is into a real Dovecot of whichever
version this system has: mailboxes are shared with it over IMAP, and `check --live` finds it right."""

import json
import re
import subprocess

import pytest

import dovecot
from dovecot import NEW
from homing import Homing, story

PASSWORD = "secret"
SALES, ANN, BOB, EVE = "sales@company.com", "ann@client1.com", "bob@client1.com", "eve@client2.com"

MAIL = {
    "maildir": {"mail_path": "~/Maildir"} if NEW else {},
    "sdbox": {"mail_driver": "sdbox", "mail_path": "~/sdbox"} if NEW else
             {"mail_location": "sdbox:~/sdbox"},
}


def own_group(text):
    """There is no group `homing` on this system; Dovecot's own reads the directory in its place."""
    return re.sub(r"(extra_groups = |mail_access_groups = |mail_access_groups {\n  )homing\b",
                  r"\1dovecot", text)


class Pasted(dovecot.Dovecot):
    """Whatever sharing needs comes from homingctl, but for the lines in `before`."""

    def __init__(self, homing, folder, options=(), settings=None):
        super().__init__(folder, [], [], settings={"auth_username_chars": None, **(settings or {})})
        # The other tests close it; what is printed relies on Dovecot's default.
        before = "service auth {\n  unix_listener auth-userdb {\n    mode = 0666\n  }\n}\n"
        self.raw = own_group(homing.ctl("config", "dovecot").stdout) + before
        self.config.write_text(self.render())
        self.raw += own_group(homing.ctl("config", "dovecot", "--sharing", "-c", str(self.config),
                                         *options).stdout)


@pytest.fixture
def homing(place):
    homing = Homing(place / "directory")
    homing.apply(story(homing.vmail))
    for name in (SALES, ANN, BOB, EVE):
        homing.account(name, PASSWORD)
    return homing


class Names:
    """How a mailbox of somebody else is called."""

    def __init__(self, sign, tilde=False):
        self.sign, self.tilde = sign, tilde

    def of(self, owner, box, user):
        local, domain = owner.split("@")
        if self.tilde and user.endswith("@" + domain):
            owner = local
        owner = owner.replace(".", "^") if self.sign == "." else owner
        return ("~" if self.tilde else "shared" + self.sign) + owner + self.sign + box

    def pattern(self):
        return "~*" if self.tilde else "*"


def listed(client, names):
    """The mailboxes of others that LIST shows, without parents that only lead to them."""
    found = []
    for line in filter(None, client.list('""', f'"{names.pattern()}"')[1]):
        flags, name = re.match(rb'\((.*?)\) "?.*?"? "?([^"]+)"?$', line).groups()
        if name.startswith((b"shared", b"~")) and b"Noselect" not in flags and \
                b"NonExistent" not in flags:
            found.append(name.decode())
    return sorted(found)


def answer(client, *words):
    """Any command: OK, NO or BAD, and the words of it."""
    tag = client._new_tag()
    client.send(tag + b" " + " ".join(words).encode() + b"\r\n")
    while True:
        line = client.readline()
        if line.startswith(tag):
            kind, text = line[len(tag):].decode().split(None, 1)
            return kind, text.strip()


def seen(client, box):
    client.select(f'"{box}"')
    return b"\\Seen" in client.fetch("1", "(FLAGS)")[1][0]


def offer(server):
    """Sales makes a mailbox and lets client1.com read it."""
    client = server.imap(SALES, PASSWORD)
    client.create("Offers")
    client.append("Offers", None, None, b"Subject: an offer\r\n\r\nCheap.\r\n")
    assert answer(client, "SETACL", "Offers", "anyone@client1.com", "lrs")[0] == "OK"
    return client


WAYS = [
    ("maildir", [], Names(".")),
    ("maildir", ["--separator", "/"], Names("/")),
    ("sdbox", [], Names("/")),
    ("maildir", ["--tilde", "--separator", "/"], Names("/", tilde=True)),
    ("sdbox", ["--tilde"], Names("/", tilde=True)),
]  # fmt: skip


@pytest.fixture(params=WAYS, ids=lambda way: " ".join([way[0], *way[1]]))
def pasted(request, homing, place, start):
    driver, options, names = request.param
    server = start(Pasted(homing, place / "server", options, MAIL[driver]))
    server.names = names
    return server


def test_a_mailbox_shared_over_imap_is_there_for_whom_it_is(pasted):
    offer(pasted)
    for user in (ANN, BOB):
        client = pasted.imap(user, PASSWORD)
        name = pasted.names.of(SALES, "Offers", user)
        assert listed(client, pasted.names) == [name]
        assert client.select(f'"{name}"', readonly=True) == ("OK", [b"1"])
    client = pasted.imap(EVE, PASSWORD)
    assert listed(client, pasted.names) == []
    assert client.select(f'"{pasted.names.of(SALES, "Offers", EVE)}"')[0] == "NO"


def test_each_user_has_an_own_seen(pasted):
    sales = offer(pasted)
    ann = pasted.imap(ANN, PASSWORD)
    ann.select(f'"{pasted.names.of(SALES, "Offers", ANN)}"')
    assert ann.store("1", "+FLAGS", "(\\Seen)")[0] == "OK"
    assert seen(ann, pasted.names.of(SALES, "Offers", ANN))
    bob = pasted.imap(BOB, PASSWORD)
    assert not seen(bob, pasted.names.of(SALES, "Offers", BOB))
    assert not seen(sales, "Offers")


def test_a_subscription_is_the_users_own(pasted):
    offer(pasted)
    client = pasted.imap(ANN, PASSWORD)
    name = pasted.names.of(SALES, "Offers", ANN)
    assert client.subscribe(f'"{name}"')[0] == "OK"
    pattern = f'"{pasted.names.pattern()}"'
    assert any(name.encode() in line for line in client.lsub('""', pattern)[1])
    other = pasted.imap(BOB, PASSWORD)
    assert not any(b"Offers" in (line or b"") for line in other.lsub('""', pattern)[1])


def test_in_ones_own_domain_too(pasted):
    client = pasted.imap(BOB, PASSWORD)
    client.create("Plans")
    assert answer(client, "SETACL", "Plans", "ann", "lr")[0] == "OK"
    ann = pasted.imap(ANN, PASSWORD)
    name = pasted.names.of(BOB, "Plans", ANN)
    assert listed(ann, pasted.names) == [name]
    assert ann.select(f'"{name}"', readonly=True)[0] == "OK"


def test_what_is_taken_back_is_gone_at_the_next_command(pasted):
    sales = offer(pasted)
    client = pasted.imap(ANN, PASSWORD)
    assert listed(client, pasted.names) != []
    assert answer(sales, "DELETEACL", "Offers", "anyone@client1.com")[0] == "OK"
    assert listed(client, pasted.names) == []
    assert client.select(f'"{pasted.names.of(SALES, "Offers", ANN)}"')[0] == "NO"


def test_nobody_is_told_in_words(pasted):
    client = pasted.imap(SALES, PASSWORD)
    kind, text = answer(client, "SETACL", "INBOX", "nobody@client1.com", "lr")
    assert kind == "NO" and "Internal error" not in text


def test_delivery_and_doveadm_work_with_it(pasted, homing):
    offer(pasted)
    pasted.deliver(ANN, "for ann")
    client = pasted.imap(ANN, PASSWORD)
    client.select("INBOX")
    assert len(client.search(None, "SUBJECT", '"for ann"')[1][0].split()) == 1
    done = pasted.doveadm("acl", "get", "-u", SALES, "Offers")
    assert done.returncode == 0 and "anyone@client1.com" in done.stdout, done.stderr


def test_check_live_finds_it_right(pasted, homing):
    done = homing.ctl("check", "--live", "-c", str(pasted.config), "--json", check=False)
    told = json.loads(done.stdout)
    about = [finding for finding in told["findings"] if "postfix" not in finding["setting"]]
    assert about == [] and told["notes"] == []
    assert done.returncode == 0, done.stdout + done.stderr


def test_check_live_finds_a_plugin_that_another_file_drops(pasted, homing):
    """As a conf.d file would that says `mail_plugins = sieve` behind ours."""
    lines = "protocol lmtp {\n  mail_plugins = quota\n}\n"
    pasted.config.write_text(pasted.config.read_text() + lines)
    done = homing.ctl("check", "--live", "-c", str(pasted.config), "--json", check=False)
    settings = [finding["setting"] for finding in json.loads(done.stdout)["findings"]]
    assert settings == ["protocol lmtp"]


def test_doveconf_has_nothing_to_say(pasted):
    done = subprocess.run(["doveconf", "-n", "-c", str(pasted.config)], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    assert "Warning" not in done.stderr and "Error" not in done.stderr, done.stderr


def test_plugins_that_are_there_stay(homing, place):
    """In 2.3 a global mail_plugins and one of a protocol do not mix by themselves."""
    lines = ("mail_plugins {\n  quota = yes\n}\nprotocol lmtp {\n  mail_plugins {\n    sieve = yes\n"
             "  }\n}\n" if NEW else
             "mail_plugins = $mail_plugins quota\nprotocol lmtp {\n"
             "  mail_plugins = $mail_plugins sieve\n}\n")
    server = Pasted(homing, place / "server")
    server.raw = lines + server.raw
    server.config.write_text(server.render())
    for protocol, own in (("imap", {"imap_acl"}), ("lmtp", {"sieve"})):
        printed = subprocess.run(
            ["doveconf", "-f", f"protocol={protocol}", "-c", str(server.config), "mail_plugins"],
            capture_output=True, text=True).stdout
        words = set(re.findall(r"\w+", printed))
        assert words >= {"acl", "homing_acl", *own}, printed
        # 2.4 says the global ones apart
        assert NEW or "quota" in words
