"""config postfix and check --live, on settings of the tests' own: postconf takes what the one
prints, the other finds each harmful setting. No Postfix is started; a thread plays the daemon.
"""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

HOMINGCTL = os.environ.get("HOMINGCTL") or shutil.which("homingctl")
POSTCONF = shutil.which("postconf", path="/usr/sbin:/usr/bin:/sbin:/bin")

pytestmark = pytest.mark.skipif(
    not (HOMINGCTL and POSTCONF), reason="needs homingctl (HOMINGCTL) and postconf"
)

USAGE, NO_INPUT, CONFIG = 64, 66, 78

DOMAINS = {
    "main_domain": "company.com",
    "domains": {
        "company.com": {"aliases": ["mail.company.com"]},
        "client1.com": {},
        "dash.example": {"subaddress_delimiter": "-"},
    },
    "router": [{"match": "old.example", "to": "company.com"}],
}

MAIN_CF = """compatibility_level = 3.6
queue_directory = QUEUE
mail_owner = postfix
myhostname = mx.example
mydestination = $myhostname, company.com, localhost.localdomain, localhost
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated
    defer_unauth_destination
recipient_delimiter = +
"""

MASTER_CF = """smtp inet n - y - - smtpd
pickup unix n - y 60 1 pickup
cleanup unix n - y - 0 cleanup
rewrite unix - - y - - trivial-rewrite
qmgr unix n - n 300 1 qmgr
lmtp unix - - y - - lmtp
proxymap unix - - n - - proxymap
"""


class Daemon:
    """Answers as homing-policyd would, as far as check --live asks."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.map_reply, self.policy_reply = b"OK company.com", b"action=DUNNO\n\n"
        self.sockets = [self.listen("policy", self.policy), self.listen("map", self.map)]

    def listen(self, name, serve):
        path = self.folder / name
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        threading.Thread(target=self.accept, args=(listener, serve), daemon=True).start()
        return listener

    def accept(self, listener, serve):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                serve(connection)

    def policy(self, connection):
        request = b""
        while not request.endswith(b"\n\n"):
            got = connection.recv(4096)
            if not got:
                return
            request += got
        assert b"request=smtpd_access_policy\n" in request
        assert b"recipient=postmaster@company.com\n" in request
        connection.sendall(self.policy_reply)

    def map(self, connection):
        assert connection.recv(4096) == b"18:domain company.com,"
        connection.sendall(b"%d:%s," % (len(self.map_reply), self.map_reply))

    def stop(self):
        while self.sockets:
            listener = self.sockets.pop()
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


class Postfix:
    """A folder with main.cf and master.cf, and homingctl that sees no other."""

    def __init__(self, folder, template=None):
        self.folder = Path(folder)
        self.etc, self.queue = self.folder / "etc", self.folder / "q"
        self.etc.mkdir()
        self.main, self.master = self.etc / "main.cf", self.etc / "master.cf"
        self.main.write_text(MAIN_CF.replace("QUEUE", str(self.queue)))
        self.master.write_text(MASTER_CF)
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for name in ("postconf", "postmap"):
            (self.bin / name).symlink_to(Path(POSTCONF).with_name(name))
        self.directory = self.folder / "homing"
        if template:
            shutil.copytree(template.directory, self.directory)
        else:
            self.apply(DOMAINS)

    def apply(self, config):
        (self.folder / "homing.json").write_text(json.dumps(config))
        self.ctl("apply", self.folder / "homing.json")

    def run(self, command, code=0, path=None, **more):
        env = {"PATH": path or f"{self.bin}:/usr/sbin:/usr/bin:/sbin:/bin",
               "MAIL_CONFIG": str(self.etc), "LC_ALL": "C.UTF-8"}
        done = subprocess.run([str(word) for word in command], env=env, capture_output=True,
                              text=True, timeout=60, **more)
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def ctl(self, *args, **more):
        """Sees postconf and postmap, but no doveconf."""
        return self.run([HOMINGCTL, "--directory", self.directory, *args], path=str(self.bin),
                        **more)

    def postconf(self, *args):
        done = self.run(["postconf", *args])
        assert done.stderr == ""
        return done.stdout

    def settings(self):
        """All of main.cf and master.cf. (Postfix 3.10 names config_directory only where main.cf is
        some seconds old.)"""
        lines = self.postconf("-n").splitlines()
        return ([line for line in lines if not line.startswith("config_directory")],
                self.postconf("-M"), self.postconf("-P"))

    def sh(self, script, word):
        done = self.run(["sh", script, word])
        assert done.stderr == "" and done.stdout == ""

    def paste(self):
        """As the first lines of the snippet say."""
        text = self.ctl("config", "postfix").stdout
        for line in text.splitlines():
            if line.startswith("#     postconf "):
                self.run(["sh", "-c", line[1:]])
        master = self.ctl("config", "postfix", "--master").stdout
        self.main.write_text(self.main.read_text() + text)
        self.master.write_text(self.master.read_text() + master)

    def live(self, code=CONFIG, *args):
        return json.loads(self.ctl("check", "--live", "--json", *args, code=code).stdout)["findings"]


@pytest.fixture(scope="module")
def template():
    """Made once: a directory, and settings with what config postfix prints."""
    with tempfile.TemporaryDirectory(prefix="pc") as folder:
        postfix = Postfix(folder)
        postfix.paste()
        yield postfix


@pytest.fixture
def postfix(template):
    # short: the path of a socket has 107 bytes at most
    with tempfile.TemporaryDirectory(prefix="pc") as folder:
        yield Postfix(folder, template)


@pytest.fixture
def daemon(postfix):
    daemon = Daemon(postfix.queue / "homing")
    yield daemon
    daemon.stop()


@pytest.fixture
def on(postfix, daemon, template):
    text = template.main.read_text().replace(str(template.folder), str(postfix.folder))
    postfix.main.write_text(text)
    shutil.copy(template.master, postfix.master)
    return postfix


# config postfix


def test_pasted_it_gives_no_warning_and_no_finding(on):
    settings = on.postconf("-n")
    for setting, name in (("virtual_mailbox_domains", "domain"), ("virtual_alias_maps", "alias"),
                          ("virtual_mailbox_maps", "mailbox"), ("transport_maps", "transport"),
                          ("smtpd_sender_login_maps", "sender-login")):
        assert f"\n{setting} = socketmap:unix:homing/map:{name}\n" in settings
    assert "\nmydestination = $myhostname, localhost.localdomain, localhost\n" in settings
    assert "\nvirtual_alias_domains =\n" in settings
    assert "\nrecipient_delimiter = +-\n" in settings
    assert "\nmyorigin = company.com\n" in settings
    relay = on.postconf("-h", "smtpd_relay_restrictions")
    assert relay.startswith("check_policy_service { unix:homing/policy,")
    assert relay.endswith("permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination\n")
    assert "smtpd_sasl_path = private/auth\n" in on.postconf("-P", "submission/inet/*")
    assert on.live(0) == []
    assert on.ctl("check", "--live").stdout == "fine: the settings of Postfix suit Homing\n"


def test_each_line_has_its_reason(postfix):
    lines = postfix.ctl("config", "postfix").stdout.splitlines()
    for before, line in zip(lines, lines[1:]):
        if line and line[0] not in "# ":
            assert before.startswith("# "), line
    assert all(len(line) <= 160 for line in lines)


def test_the_script_turns_it_on_and_off_again(postfix, daemon):
    before = postfix.settings()
    script = postfix.folder / "homing-postfix.sh"
    script.write_text(postfix.ctl("config", "postfix", "--commands").stdout)
    postfix.run(["sh", script], code=USAGE)
    postfix.sh(script, "on")
    assert postfix.live(0) == []
    pasted = postfix.settings()
    postfix.sh(script, "on")
    assert postfix.settings() == pasted
    postfix.sh(script, "off")
    assert postfix.settings() == before


def test_the_script_and_the_pasted_lines_are_the_same(postfix, daemon):
    script = postfix.folder / "homing-postfix.sh"
    script.write_text(postfix.ctl("config", "postfix", "--commands").stdout)
    postfix.sh(script, "on")
    by_script = postfix.settings()
    postfix.sh(script, "off")
    postfix.paste()
    assert postfix.settings() == by_script


def test_a_second_script_says_that_the_first_one_has_the_old_settings(on):
    assert "already" in on.ctl("config", "postfix", "--commands").stderr


def test_what_an_administrator_has_stays_behind(postfix, daemon):
    postfix.postconf("-e", "transport_maps = inline:{x.example=smtp:[y.example]}",
                     "virtual_alias_maps = inline:{a@other.example=b@other.example}",
                     "virtual_transport = lmtp:inet:[192.0.2.9]:24", "odd = it's",
                     "smtpd_relay_restrictions = permit_mynetworks, check_client_access static:$odd, "
                     "reject_unauth_destination")
    postfix.master.write_text(
        MASTER_CF + "submission inet n - n - - smtpd\n -o smtpd_sasl_auth_enable=yes\n"
        " -o smtpd_sasl_type=dovecot\n -o smtpd_sasl_path=private/auth\n"
        " -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n")
    before = postfix.settings()
    script = postfix.folder / "homing-postfix.sh"
    script.write_text(postfix.ctl("config", "postfix", "--commands").stdout)
    postfix.sh(script, "on")
    assert postfix.postconf("-h", "transport_maps") == (
        "socketmap:unix:homing/map:transport, inline:{x.example=smtp:[y.example]}\n")
    # by default the administrator's own map named his alias domains
    assert postfix.postconf("-h", "virtual_alias_domains") == (
        "inline:{a@other.example=b@other.example}\n")
    assert postfix.postconf("-h", "virtual_transport") == "lmtp:inet:[192.0.2.9]:24\n"
    assert postfix.postconf("-h", "smtpd_relay_restrictions").endswith(
        " } }, permit_mynetworks, check_client_access, static:$odd, reject_unauth_destination\n")
    own = postfix.postconf("-P", "submission/inet/*")
    assert "smtpd_relay_restrictions = check_policy_service,{unix:homing/policy," in own
    assert "smtpd_sender_restrictions = reject_sender_login_mismatch\n" in own
    assert postfix.live(0) == []
    postfix.sh(script, "off")
    assert postfix.settings() == before


@pytest.mark.parametrize("old", ["3.6.4", "2.11"])
def test_an_old_version_is_refused(postfix, old):
    done = postfix.ctl("config", "postfix", "--postfix-version", old, code=CONFIG)
    assert "3.7" in done.stderr and done.stdout == ""


@pytest.mark.parametrize("version", ["3.7", "3.10.5", "3.11-20260101", "4.0"])
def test_a_version_without_postfix(postfix, version):
    text = postfix.ctl("config", "postfix", "--postfix-version", version).stdout
    assert f"Postfix {version}" in text and "check_policy_service" in text
    assert "reject_unauth_destination" in text


def test_without_postfix_or_without_domains_it_says_what_to_do(postfix):
    assert USAGE == subprocess.run([HOMINGCTL, "config", "postfix", "--postfix-version", "new"],
                                   capture_output=True).returncode
    empty = postfix.folder / "empty"
    done = postfix.run([HOMINGCTL, "-d", empty, "config", "postfix"], code=NO_INPUT)
    assert "directory.mdb" in done.stderr


def test_the_socket_folder(postfix):
    text = postfix.ctl("config", "postfix", "--socket-dir", postfix.queue / "other/").stdout
    assert "socketmap:unix:other/map:alias" in text and "{ unix:other/policy," in text
    done = postfix.ctl("config", "postfix", "--socket-dir", "/run/homing", code=CONFIG)
    assert "chrooted" in done.stderr and "postconf -F" in done.stderr
    postfix.postconf("-F", "*/*/chroot=n")
    text = postfix.ctl("config", "postfix", "--socket-dir", "/run/homing").stdout
    assert "socketmap:unix:/run/homing/map:alias" in text
    for bad in ("a b", "a,b", "a:b", "a{b", "$a", "", "x" * 200):
        postfix.ctl("config", "postfix", "--socket-dir", bad, code=USAGE)


def test_config_postfix_takes_one_form_at_a_time(postfix):
    postfix.ctl("config", "postfix", "--master", "--commands", code=USAGE)


# check --live


# name, setting of main.cf or line of master.cf, value, the finding's setting, its change
FINDINGS = [
    ("alias map missing", "virtual_alias_maps", "", "virtual_alias_maps",
     "virtual_alias_maps = socketmap:unix:homing/map:alias"),
    ("wrong map", "virtual_mailbox_maps", "socketmap:unix:homing/map:alias", "virtual_mailbox_maps",
     "virtual_mailbox_maps = socketmap:unix:homing/map:mailbox"),
    ("domain map missing", "virtual_mailbox_domains", "company.com", "virtual_mailbox_domains",
     "virtual_mailbox_domains = socketmap:unix:homing/map:domain, company.com"),
    ("transport map missing", "transport_maps", "", "transport_maps",
     "transport_maps = socketmap:unix:homing/map:transport"),
    ("sender map missing", "smtpd_sender_login_maps", "", "smtpd_sender_login_maps",
     "smtpd_sender_login_maps = socketmap:unix:homing/map:sender-login"),
    ("another alias map in front", "virtual_alias_maps",
     "static:x@y.example, socketmap:unix:homing/map:alias", "virtual_alias_maps",
     "virtual_alias_maps = socketmap:unix:homing/map:alias, static:x@y.example"),
    ("map over TCP", "virtual_alias_maps", "socketmap:inet:127.0.0.1:99:alias",
     "virtual_alias_maps", "virtual_alias_maps = socketmap:unix:homing/map:alias"),
    ("map out of the chroot", "virtual_alias_maps", "socketmap:unix:QUEUE/homing/map:alias",
     "virtual_alias_maps", "virtual_alias_maps = socketmap:unix:homing/map:alias"),
    ("domain in mydestination", "mydestination", "$myhostname, client1.com", "mydestination",
     "mydestination = $myhostname"),
    ("domain by a variable", "mydestination", "$mydomain, localhost", "mydestination",
     "mydestination = localhost"),
    ("alias in mydestination", "mydestination", "mail.company.com", "mydestination",
     "mydestination = localhost"),
    ("record in mydestination", "mydestination", "old.example", "mydestination",
     "mydestination = localhost"),
    ("domain in a file", "mydestination", "localhost, FILE", "mydestination",
     "take the domain out of the table or file"),
    ("domain in a table", "mydestination", "localhost, inline:{client1.com=x}", "mydestination",
     "take the domain out of the table or file"),
    ("relay domain", "relay_domains", "x.example, client1.com", "relay_domains",
     "relay_domains = x.example"),
    ("alias domain", "virtual_alias_domains", "client1.com", "virtual_alias_domains",
     "virtual_alias_domains ="),
    ("alias domains at the default", "virtual_alias_domains", None, "virtual_alias_domains",
     "virtual_alias_domains ="),
    ("alias domains by the map", "virtual_alias_domains", "x.example $virtual_alias_maps",
     "virtual_alias_domains", "virtual_alias_domains = x.example"),
    ("policy missing", "smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination",
     "smtpd_relay_restrictions", "smtpd_relay_restrictions = check_policy_service { unix:homing/policy"),
    ("relay restrictions at the default", "smtpd_relay_restrictions", None,
     "smtpd_relay_restrictions", "smtpd_relay_restrictions = check_policy_service { unix:homing/policy"),
    ("policy behind a permit", "smtpd_relay_restrictions",
     "permit_mynetworks, check_policy_service unix:homing/policy, reject_unauth_destination",
     "smtpd_relay_restrictions", "smtpd_relay_restrictions = check_policy_service { unix:homing/policy"),
    ("policy not first", "smtpd_relay_restrictions",
     "reject_non_fqdn_recipient, check_policy_service unix:homing/policy, reject_unauth_destination",
     "smtpd_relay_restrictions", "smtpd_relay_restrictions = check_policy_service { unix:homing/policy"),
    ("policy over TCP", "smtpd_relay_restrictions",
     "check_policy_service inet:127.0.0.1:99, reject_unauth_destination",
     "smtpd_relay_restrictions", "smtpd_relay_restrictions = check_policy_service { unix:homing/policy"),
    ("policy out of the chroot", "smtpd_relay_restrictions",
     "check_policy_service unix:QUEUE/homing/policy, reject_unauth_destination",
     "smtpd_relay_restrictions", "smtpd_relay_restrictions = check_policy_service { unix:homing/policy"),
    ("relay for all", "smtpd_relay_restrictions",
     "check_policy_service unix:homing/policy, permit, reject_unauth_destination",
     "smtpd_relay_restrictions", "{ default_action = 451 4.3.5 Try again later } }, reject_unauth_destination"),
    ("relay by claim", "smtpd_relay_restrictions",
     "check_policy_service {unix:homing/policy}, check_sender_access static:OK, reject",
     "smtpd_relay_restrictions", "{ default_action = 451 4.3.5 Try again later } }, reject"),
    ("nothing refuses", "smtpd_relay_restrictions",
     "check_policy_service unix:homing/policy, permit_mynetworks",
     "smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination"),
    ("lenient default action", "smtpd_relay_restrictions",
     "check_policy_service { unix:homing/policy, default_action=DUNNO }, reject_unauth_destination",
     "smtpd_relay_restrictions", "default_action = 451"),
    ("untrusted routing", "allow_untrusted_routing", "yes", "allow_untrusted_routing",
     "allow_untrusted_routing = no"),
    ("delimiter", "recipient_delimiter", "+", "recipient_delimiter", "recipient_delimiter = +-"),
    ("no delimiter", "recipient_delimiter", "", "recipient_delimiter", "recipient_delimiter = +-"),
    ("origin", "myorigin", "$myhostname", "myorigin", "myorigin = company.com"),
    ("own delivery", "virtual_transport", "virtual", "virtual_transport",
     "virtual_transport = lmtp:unix:private/dovecot-lmtp"),
    ("mappings off", "receive_override_options", "no_address_mappings",
     "receive_override_options", "receive_override_options ="),
    ("mappings off in a service", "smtp/inet/receive_override_options", "no_address_mappings",
     "smtp/inet/receive_override_options", "postconf -P 'smtp/inet/receive_override_options='"),
    ("logins everywhere", "smtpd_sasl_auth_enable", "yes", "smtpd_sender_restrictions",
     "smtpd_sender_restrictions = reject_authenticated_sender_login_mismatch"),
    ("restrictions of a service", "smtp/inet/smtpd_relay_restrictions",
     "permit_mynetworks,reject", "smtp/inet/smtpd_relay_restrictions",
     "postconf -P 'smtp/inet/smtpd_relay_restrictions=check_policy_service,{unix:homing/policy,"),
    ("routing of a service", "smtp/inet/allow_untrusted_routing", "yes",
     "smtp/inet/allow_untrusted_routing", "postconf -P 'smtp/inet/allow_untrusted_routing=no'"),
    ("senders not compared", "submission/inet/smtpd_sender_restrictions", "",
     "submission/inet/smtpd_sender_restrictions",
     "postconf -P 'submission/inet/smtpd_sender_restrictions=reject_sender_login_mismatch'"),
    ("senders compared too late", "submission/inet/smtpd_sender_restrictions",
     "permit_sasl_authenticated,reject_sender_login_mismatch",
     "submission/inet/smtpd_sender_restrictions",
     "smtpd_sender_restrictions=reject_sender_login_mismatch,permit_sasl_authenticated"),
    ("logins not by Dovecot", "submission/inet/smtpd_sasl_type", "cyrus",
     "submission/inet/smtpd_sasl_type", "postconf -P 'submission/inet/smtpd_sasl_type=dovecot'"),
]  # fmt: skip


def change_setting(postfix, setting, value):
    if value is None:
        postfix.postconf("-X", setting)
        return
    if "FILE" in value:
        (postfix.folder / "more").write_text("# more\nx.example client1.com\n")
        value = value.replace("FILE", str(postfix.folder / "more"))
    value = value.replace("QUEUE", str(postfix.queue))
    postfix.postconf("-P" if "/" in setting else "-e", f"{setting}={value}")


def mend(postfix, change):
    if change.startswith("take the domain out"):
        postfix.postconf("-e", "mydestination = localhost")
    elif change.startswith("postconf "):
        postfix.run(["sh", "-c", change])
    else:
        postfix.postconf("-e", change)


@pytest.mark.parametrize("name, setting, value, found, change", FINDINGS,
                         ids=[row[0] for row in FINDINGS])
def test_each_harmful_setting_is_found_and_mended(on, name, setting, value, found, change):
    if value and "$mydomain" in value:
        on.postconf("-e", "mydomain = company.com")
    change_setting(on, setting, value)
    findings = on.live()
    assert found in {finding["setting"] for finding in findings}, findings
    finding = next(finding for finding in findings if finding["setting"] == found)
    assert change in finding["change"], finding
    assert finding["problem"]
    others = {finding["setting"] for finding in findings} - {found}
    assert not others or name in ("wrong map", "logins everywhere"), findings
    for finding in findings:
        mend(on, finding["change"])
    assert on.live(0) == []


HARMLESS = [
    ("own maps behind", "virtual_alias_maps", "socketmap:unix:homing/map:alias, static:x@y.example"),
    ("own domains in front", "virtual_mailbox_domains", "x.example socketmap:unix:homing/map:domain"),
    ("map by proxymap", "transport_maps", "proxy:socketmap:unix:homing/map:transport"),
    ("plain policy", "smtpd_relay_restrictions",
     "check_policy_service unix:homing/policy reject_unauth_destination permit"),
    ("policy twice", "smtpd_recipient_restrictions",
     "check_policy_service inet:127.0.0.1:10023, permit"),
    ("delimiters in another order", "recipient_delimiter", "-+"),
    ("inner service", "127.0.0.1:10025/inet", "127.0.0.1:10025 inet n - n - - smtpd -o "
     "smtpd_relay_restrictions=permit_mynetworks,reject -o receive_override_options=no_address_mappings"),
    ("filter", "smtp/inet", "smtp inet n - n - - smtpd -o receive_override_options="
     "no_address_mappings -o content_filter=smtp:[127.0.0.1]:10024"),
    ("other case", "myorigin", "Company.COM"),
    ("not ours", "mydestination", "localhost, !client1.com, inline:{z.example=x}, [192.0.2.1]"),
]  # fmt: skip


@pytest.mark.parametrize("setting, value", [row[1:] for row in HARMLESS],
                         ids=[row[0] for row in HARMLESS])
def test_harmless_settings_are_not_found(on, setting, value):
    if setting.endswith("/inet"):
        on.postconf("-M", f"{setting}={value}")
    else:
        change_setting(on, setting, value)
    assert on.live(0) == []


def test_a_large_group_needs_a_higher_limit(on):
    on.ctl("account", "add", "a@company.com")
    members = [f"member{number}@elsewhere.example" for number in range(1200)]
    on.ctl("group", "add", "all@company.com", *members)
    assert on.live(0) == []
    on.postconf("-e", "virtual_alias_expansion_limit = 1000")
    finding, = on.live()
    assert finding["change"] == "virtual_alias_expansion_limit = 2200"
    assert "all@company.com has 1200 addresses" in finding["problem"]
    on.postconf("-e", "virtual_alias_expansion_limit = 20000")
    members = [f"member{number}@{'x' * 60}.elsewhere.example" for number in range(1200)]
    on.ctl("group", "add", "all@company.com", *members)
    finding, = on.live()
    assert finding["setting"] == "all@company.com" and "100000" in finding["problem"]


def test_an_old_postfix_is_found(on):
    (on.bin / "postconf").unlink()
    (on.bin / "postconf").write_text(
        f"#!/bin/sh\n{POSTCONF} \"$@\" | /bin/sed 's/^mail_version = .*/mail_version = 3.5.25/'\n")
    (on.bin / "postconf").chmod(0o755)
    finding, = on.live()
    assert finding["setting"] == "mail_version" and "3.5.25" in finding["problem"]
    done = on.ctl("config", "postfix", code=CONFIG)
    assert "too old" in done.stderr


def test_sockets_that_are_missing_or_silent_are_found(on, daemon):
    policy, map = str(daemon.folder / "policy"), str(daemon.folder / "map")
    daemon.policy_reply, daemon.map_reply = b"220 hello\n", b"NOTFOUND "
    found = {finding["setting"]: finding["problem"] for finding in on.live()}
    assert set(found) == {policy, map}
    assert "220 hello" in found[policy] and "another directory" in found[map]
    daemon.policy_reply = b"action=451 4.3.0 no directory\n\n"
    daemon.map_reply = b"TEMP no directory"
    found = {finding["setting"]: finding["problem"] for finding in on.live()}
    assert "451 4.3.0 no directory" in found[policy] and "TEMP no directory" in found[map]
    daemon.policy_reply, daemon.map_reply = b"", b"OK " + b"x" * 5000
    found = {finding["setting"]: finding["problem"] for finding in on.live()}
    assert "closes" in found[policy]
    daemon.stop()
    found = {finding["setting"]: finding["problem"] for finding in on.live()}
    assert "Connection refused" in found[policy] and "Connection refused" in found[map]
    for path in (policy, map):
        os.unlink(path)
    Path(map).write_text("")
    found = {finding["setting"]: finding for finding in on.live()}
    assert "No such file" in found[policy]["problem"] and "systemctl" in found[policy]["change"]
    assert "no socket" in found[map]["problem"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_socket_that_postfix_may_not_use_is_found(on, daemon):
    path = daemon.folder / "map"
    path.chmod(0o600)
    finding, = on.live()
    assert finding["setting"] == str(path) and "postfix" in finding["problem"]
    os.chown(path, 0, int(subprocess.check_output(["id", "-g", "postfix"])))
    path.chmod(0o660)
    assert on.live(0) == []


def test_sockets_elsewhere_are_known_by_the_settings(postfix):
    postfix.postconf("-F", "*/*/chroot=n")
    daemon = Daemon(postfix.folder / "run")
    text = postfix.ctl("config", "postfix", "--socket-dir", daemon.folder).stdout
    for line in text.splitlines():
        if line.startswith("#     postconf "):
            postfix.run(["sh", "-c", line[1:]])
    postfix.main.write_text(postfix.main.read_text() + text)
    postfix.master.write_text(postfix.master.read_text()
                              + postfix.ctl("config", "postfix", "--master").stdout)
    assert postfix.live(0) == []
    daemon.stop()


def test_a_postfix_that_asks_nothing_of_homing_is_left_alone(postfix):
    done = postfix.ctl("check", "--live", code=NO_INPUT)  # there is no Dovecot either
    assert "doveconf" in done.stderr and done.stdout == ""
    assert postfix.live(CONFIG, "--socket-dir", "homing")


def test_a_delimiter_of_dovecot_that_cuts_names_is_found(on):
    def problems(delimiter):
        script = on.folder / "doveconf"
        script.write_text(f"#!/bin/sh\necho 'recipient_delimiter = {delimiter}'\n")
        script.chmod(0o755)
        return {finding["setting"]: finding["problem"]
                for finding in on.live(CONFIG, "--doveconf", script)}

    on.ctl("account", "add", "first-last@company.com")
    assert "recipient_delimiter" not in problems("+")
    assert "first-last@company.com" in problems("+-")["recipient_delimiter"]


def test_accounts_blocks_alone_need_no_route_block(on):
    def settings(more):
        script = on.folder / "doveconf"
        text = "passdb {\n driver = homing\n args = accounts\n}\n" + more
        (on.folder / "doveconf.output").write_text(text + text.replace("passdb", "userdb"))
        script.write_text(f"#!/bin/sh\n/bin/cat {on.folder}/doveconf.output\n")
        script.chmod(0o755)
        return {finding["setting"] for finding in on.live(CONFIG, "--doveconf", script)}

    assert not {"passdb", "userdb"} & settings("")
    assert {"passdb", "userdb"} <= settings("passdb {\n driver = pam\n}\n")


def test_what_dovecot_needs_is_in_the_comments(postfix):
    text = postfix.ctl("config", "postfix").stdout
    private = postfix.queue / "private"
    assert f"#       unix_listener {private}/dovecot-lmtp {{" in text
    assert f"#       unix_listener {private}/auth {{" in text
    assert "#     recipient_delimiter = +\n" in text and "auth-userdb" not in text
    config = json.loads(json.dumps(DOMAINS))
    config["domains"]["dove.example"] = {"accounts": "dovecot"}
    postfix.apply(config)
    assert "unix_listener auth-userdb {" in postfix.ctl("config", "postfix").stdout


def test_dovecot_is_told_the_same_by_config_dovecot(postfix):
    comments = postfix.ctl("config", "postfix").stdout
    wanted = comments.split("has it already):\n#\n")[1].replace("\n#     ", "\n").removeprefix("#     ")
    own = postfix.ctl("config", "dovecot", "--dovecot-version", "2.4").stdout
    both = postfix.ctl("config", "dovecot", "--dovecot-version", "2.4", "--postfix").stdout
    assert both.startswith(own) and "dovecot-lmtp" not in own
    assert wanted.startswith(both.removeprefix(own).split("protocols.\n")[1])
    postfix.ctl("config", "dovecot", "--sharing", "--postfix", code=USAGE)


@pytest.mark.parametrize("version, starts", [("3.7", True), ("", False)])
def test_the_script_starts_the_units_where_they_listen(postfix, version, starts):
    words = ["--postfix-version", version] if version else []  # an empty main.cf has Postfix's own queue
    text = postfix.ctl("config", "postfix", "--commands", *words).stdout
    assert ("systemctl enable --now homing-policyd-policy.socket" in text) == starts
    assert "systemctl" not in postfix.ctl("config", "postfix", "--commands", "--socket-dir", "other",
                                          *words).stdout


def test_settings_that_postfix_does_not_take(on):
    on.main.write_text("this is no setting\n")
    done = on.ctl("check", "--live", code=CONFIG)
    assert "does not take" in done.stderr


@pytest.mark.parametrize("text", ["", "\n\n", "= =\n", "a\0b = c\n", "x" * 100000, "m = {{{{\n" * 50])
def test_any_output_of_postconf_is_survived(postfix, text):
    (postfix.folder / "output").write_text(text)
    (postfix.bin / "postconf").unlink()
    (postfix.bin / "postconf").write_text(f"#!/bin/sh\n/bin/cat {postfix.folder}/output\n")
    (postfix.bin / "postconf").chmod(0o755)
    postfix.ctl("check", "--live", code=NO_INPUT)
    postfix.ctl("check", "--live", "--socket-dir", "homing", code=CONFIG)
