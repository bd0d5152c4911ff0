"""A directory made with homingctl, and the three domains of the story in it."""

import grp
import json
import os
import subprocess
from pathlib import Path

from dovecot import MAIL_UID, make_mailbox

HOMINGCTL = os.environ.get("HOMINGCTL", "homingctl")

COMPANY_IP, CLIENT1_IP, OTHER_IP = "127.0.0.21", "127.0.0.22", "127.0.0.23"
ACCOUNTS = {
    "info@company.com": "of company",
    "info@client1.com": "of client1",
    "info@client2.com": "of client2",
    "postmaster@company.com": "of postmaster",
}
TLS_NAMES = ["company.com", "client1.com", "client2.com", "mail.client2.com", "imap.client2.com"]


def story(vmail):
    return {
        "main_domain": "company.com",
        "account_defaults": {"home": f"{vmail}/%{{domain}}/%{{local}}", "uid": MAIL_UID,
                             "gid": MAIL_UID},
        "domains": {
            "company.com": {"addresses": [COMPANY_IP]},
            "client1.com": {"addresses": [CLIENT1_IP]},
            "client2.com": {"aliases": ["mail.client2.com"], "server_names": ["*.client2.com"]},
            "sqlsite.org": {"accounts": "external"},
        },
        "router": [{"match": "spamtrap@*", "to": "discard:"}],
    }


def give(path):
    """To Dovecot's auth user, as homingctl gives new files to the group `homing`."""
    os.chown(path, 0, grp.getgrnam("dovecot").gr_gid)
    written = path.name.endswith("-lock") or path.name == "sharing.mdb"
    path.chmod(0o660 if written else 0o640)


class Homing:
    """homingctl on one directory."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.path = self.folder / "homing"
        self.vmail = self.folder / "vmail"
        self.json = self.folder / "homing.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(exist_ok=True)
        self.vmail.mkdir(exist_ok=True)
        for folder in (self.folder, self.path, self.vmail):
            folder.chmod(0o755)

    def command(self):
        return f"{HOMINGCTL} --directory {self.path}"

    def ctl(self, *arguments, text="", check=True):
        done = subprocess.run([HOMINGCTL, "--directory", str(self.path), *arguments], input=text,
                              capture_output=True, text=True, timeout=120)
        if check and done.returncode != 0:
            raise RuntimeError(f"homingctl {' '.join(arguments)} exits {done.returncode}:\n"
                               f"{done.stdout}{done.stderr}")
        return done

    def apply(self, config):
        self.json.write_text(json.dumps(config, indent=2))
        self.ctl("apply", str(self.json))
        self.readable()

    def readable(self):
        """As the installed groups have it; there is no group `homing` here, so Dovecot's reads."""
        for path in self.path.glob("*.mdb*"):
            give(path)

    def account(self, name, password=None, groups=()):
        arguments = ["account", "add", name]
        for group in groups:
            arguments += ["--group", group]
        if password is not None:
            arguments += ["--password-stdin"]
        self.ctl(*arguments, text=f"{password}\n" if password is not None else "")
        self.readable()
        make_mailbox(self.vmail, name)

    def route(self, kind, name, ip=None, server_name=None):
        arguments = ["route", f"--{kind}", name, "--json"]
        if ip:
            arguments += ["--local-ip", ip]
        if server_name:
            arguments += ["--server-name", server_name]
        return json.loads(self.ctl(*arguments, check=False).stdout)


def tell_story(folder, passwords=False):
    """The directory of the story, with a mailbox for each account; with passwords in it, or
    with none because another passdb has them."""
    homing = Homing(folder)
    homing.apply(story(homing.vmail))
    for name, password in ACCOUNTS.items():
        homing.account(name, password if passwords else None)
    homing.ctl("alias", "add", "sales@company.com", "info@company.com")
    homing.ctl("alias", "add", "verkauf@client2.com", "info@client2.com")
    homing.readable()
    return homing


def passwords_file(folder, accounts=None):
    """The same accounts for Dovecot's passwd-file."""
    path = Path(folder) / "passwd"
    path.write_text("".join(f"{name}:{{PLAIN}}{password}\n"
                            for name, password in (accounts or ACCOUNTS).items()))
    path.chmod(0o644)
    return path


def homes(vmail):
    """The account of every home on disk."""
    return sorted(f"{home.name}@{home.parent.name}" for home in Path(vmail).glob("*/*"))
