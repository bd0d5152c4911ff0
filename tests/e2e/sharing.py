"""Private Dovecots with shared mailboxes: with Homing's ACL backend, or with Dovecot's own (vfile).

    world = World(place, "homing", driver="maildir", separator="/")
    world.account("info@client1.com", groups=["staff@client1.com"])
    with world.server:
        session = world.session("info@client1.com")
        session.ok("SETACL", quote("Box"), "bob@client1.com", "lr")

Several worlds can use one directory (`homing=`): each has a tree of mailboxes of its own.
"""

import base64
import imaplib
import json
import os
import re

import dovecot
import homing as homing_module

for command in ("LISTRIGHTS", "MOVE", "UNSELECT", "NOTIFY", "GETMETADATA", "SETMETADATA", "GETQUOTAROOT",
                "IDLE"):
    imaplib.Commands.setdefault(command, ("AUTH", "SELECTED"))

UID = int(dovecot.MAIL_UID)
PASSWORD = "secret"
DOMAINS = {
    "company.com": {"administrators": ["postmaster"]},
    "client1.com": {"administrators": ["postmaster"]},
    "client2.com": {"aliases": ["mail.client2.com"]},
    "outside.org": {"accounts": "external"},
}


def directory(folder, domains=None):
    """A directory without accounts."""
    homing = homing_module.Homing(folder)
    homing.apply({
        "main_domain": "company.com",
        "account_defaults": {"home": f"{homing.vmail}/%{{domain}}/%{{local}}",
                             "uid": str(UID), "gid": str(UID)},
        "domains": domains or DOMAINS,
    })
    os.chown(homing.vmail, UID, UID)
    usable(homing)
    return homing


def usable(homing):
    """The directory as the installed groups have it: Dovecot's auth reads, mail processes write
    grants."""
    homing.readable()
    for path in homing.path.glob("sharing.mdb*"):
        os.chown(path, UID, UID)


def add_accounts(homing, names):
    """{name: [groups]}, or a list of names. All have the same password, and no hash of it, which
    would take most of a login's time."""
    lines = [json.dumps({"account": name, "password": f"{{PLAIN}}{PASSWORD}"}) for name in names]
    homing.ctl("account", "import", "-", text="\n".join(lines))
    groups = names if isinstance(names, dict) else {}
    for name in groups:
        for group in groups[name]:
            homing.ctl("group", "add", group, name)
    usable(homing)


def plugins(*names):
    if dovecot.NEW:
        return "mail_plugins {\n" + "".join(f"  {name} = yes\n" for name in names) + "}\n"
    return "mail_plugins = " + " ".join(names) + "\n"


def block(head, settings):
    lines = "".join(f"  {key} = {value}\n" for key, value in settings.items() if value is not None)
    return f"{head} {{\n{lines}}}\n"


class World:
    """One server. `settings` are the server's, `acl` the plugin's."""

    def __init__(self, folder, backend="homing", driver="maildir", separator="/", homing=None,
                 settings=None, acl=None, raw="", more_plugins=(), more_imap=()):
        self.backend, self.driver, self.separator = backend, driver, separator
        self.more_plugins, self.more_imap = list(more_plugins), list(more_imap)
        self.homing = homing or directory(folder / "homing")
        self.folder = folder
        self.mail = folder / "mail"
        self.mail.mkdir(parents=True)
        os.chown(self.mail, UID, UID)
        mine = self.location("%{user | domain}", "%{user | username}") if dovecot.NEW else \
            {"mail_location": self.location("%d", "%n")["location"]}
        self.server = dovecot.Dovecot(
            folder / "server", [dovecot.accounts(self.homing.path)],
            [dovecot.accounts(self.homing.path)],
            settings={"mail_access_groups": "dovecot", "auth_debug": None, "log_debug": None,
                      **mine, **(settings or {})},
            raw=self.render(acl or {}) + raw)

    def account(self, name, groups=()):
        add_accounts(self.homing, {name: groups})
        return name

    def root(self, account):
        """Where the mail location of an account is."""
        local, domain = account.split("@")
        return self.mail / domain / local

    def location(self, domain, local, private=None):
        path = f"{self.mail}/{domain}/{local}"
        if dovecot.NEW:
            return {"mail_driver": self.driver, "mail_path": path, "mail_index_private_path": private}
        return {"location": f"{self.driver}:{path}" + (f":INDEXPVT={private}" if private else "")}

    def render(self, acl):
        ours = self.backend == "homing"
        every = ["acl"] + (["homing_acl"] if ours else []) + self.more_plugins
        imap = ["imap_acl"] + (["imap_homing_acl"] if ours else []) + self.more_imap
        text = plugins(*every)
        text += "protocol imap {\n" + plugins(*([] if dovecot.NEW else every), *imap) + "}\n"
        others = self.location("%{owner_user | domain}", "%{owner_user | username}") if dovecot.NEW else \
            self.location("%%d", "%%n")
        text += block("namespace inbox", {"inbox": "yes", "prefix": "", "separator": self.separator})
        prefix = "shared/$user/" if dovecot.NEW else "shared/%%u/"
        text += block("namespace shared", {
            "type": "shared", "separator": self.separator, "subscriptions": "no",
            "list": "children", "prefix": prefix.replace("/", self.separator), **others})
        text += self.acl_settings(ours, acl)
        return text + "service auth {\n  unix_listener auth-userdb {\n    mode = 0666\n  }\n}\n"

    def acl_settings(self, ours, acl):
        text, settings = "", dict(acl)
        if ours:
            settings["homing_directory"] = self.homing.path
        if dovecot.NEW:
            settings["acl_driver"] = self.backend
            if not ours:
                text = ("acl_sharing_map {\n  dict file {\n"
                        f"    path = {self.mail}/shared-boxes\n  }}\n}}\n")
            return text + "".join(f"{key} = {value}\n" for key, value in settings.items())
        settings["acl"] = "vfile"
        if not ours:
            settings["acl_shared_dict"] = f"file:{self.mail}/shared-boxes"
        return block("plugin", settings)

    def name(self, mailbox, owner=None):
        """As clients see it; `/` stands for the separator."""
        if owner is not None:
            if self.separator != "/":
                owner = owner.replace(self.separator, "^")  # not a name: see the test that uses it
            mailbox = f"shared/{owner}" + ("" if mailbox == "INBOX" else f"/{mailbox}")
        return mailbox.replace("/", self.separator)

    def session(self, user):
        return Session(self.server, user)

    def ctl(self, *arguments, **more):
        done = self.homing.ctl(*arguments, **more)
        usable(self.homing)
        return done


def quote(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def utf7(name):
    """The name of a mailbox in modified UTF-7 (RFC 3501, 5.1.3)."""
    found = []
    for ascii_part, other in re.findall(r"([ -~]+)|([^ -~]+)", name):
        if ascii_part:
            found.append(ascii_part.replace("&", "&-"))
        else:
            coded = base64.b64encode(other.encode("utf-16-be")).decode().rstrip("=")
            found.append("&" + coded.replace("/", ",") + "-")
    return "".join(found)


class Session:
    """An IMAP client that shows what was answered."""

    def __init__(self, server, user):
        self.user = user
        self.client = server.imap(user, PASSWORD)

    def command(self, name, *arguments):
        """(OK, NO or BAD; the text; {untagged name: [answers]})"""
        client = self.client
        client.untagged_responses.clear()
        try:
            status, data = client._simple_command(name, *arguments)
        except imaplib.IMAP4.error as error:
            if isinstance(error, imaplib.IMAP4.abort):
                raise
            status, data = "BAD", [str(error).encode()]
        answers = {key: list(value) for key, value in client.untagged_responses.items()}
        return status, (data[-1] or b"").decode(errors="replace"), answers

    def ok(self, name, *arguments):
        status, text, answers = self.command(name, *arguments)
        assert status == "OK", (self.user, name, arguments, status, text)
        return answers

    def no(self, name, *arguments):
        status, text, _ = self.command(name, *arguments)
        assert status == "NO", (self.user, name, arguments, status, text)
        return text

    def select(self, mailbox, command="SELECT"):
        status, text, answers = self.command(command, quote(mailbox))
        self.client.state = "SELECTED" if status == "OK" else "AUTH"
        return status, text, answers

    def append(self, mailbox, message=b"Subject: test\r\n\r\nA message.\r\n", flags=""):
        self.client.untagged_responses.clear()
        self.client.literal = message
        try:
            status, data = self.client._simple_command("APPEND", quote(mailbox), f"({flags})")
        except imaplib.IMAP4.error as error:
            status, data = "BAD", [str(error).encode()]
        self.client.literal = None
        return status, data[-1].decode(errors="replace")

    def acl(self, mailbox):
        """{identifier: letters, sorted}"""
        answer = self.ok("GETACL", quote(mailbox))["ACL"][0].decode()
        words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', answer)
        words = [quoted.replace("\\", "") or plain for quoted, plain in words][1:]
        return {who: "".join(sorted(rights)) for who, rights in zip(words[::2], words[1::2])}

    def rights(self, mailbox):
        """The letters of MYRIGHTS, sorted; None where the mailbox is not for this user."""
        status, text, answers = self.command("MYRIGHTS", quote(mailbox))
        if status != "OK":
            assert "NONEXISTENT" in text, text
            return None
        return "".join(sorted(answers["MYRIGHTS"][0].decode().rsplit(" ", 1)[1].strip('"')))

    def names(self, pattern="*", command="LIST"):
        answers = self.ok(command, '""', quote(pattern)).get(command, [])
        return [listed(answer)[0] for answer in joined(answers)]

    def close(self):
        self.client.shutdown()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def joined(answers):
    """imaplib gives an answer with a literal as a tuple, and what follows by itself."""
    found = []
    for answer in answers:
        if isinstance(answer, tuple):
            head = re.sub(rb"\{\d+\}$", b"", answer[0])
            found.append(head + quote(answer[1].decode()).encode())
        elif answer is not None and answer.strip():
            found.append(answer)
    return found


def listed(answer):
    """(name, {flags}) of a LIST or LSUB answer."""
    found = re.match(r'\((.*?)\) (?:"(?:[^"\\]|\\.)*"|NIL) (?:"((?:[^"\\]|\\.)*)"|(\S+))',
                     answer.decode())
    name = found.group(3) if found.group(3) is not None else re.sub(r"\\(.)", r"\1", found.group(2))
    return name, set(found.group(1).lower().split())
