"""For tests/bench/sharing: Dovecots that differ in their ACLs alone, mailboxes made without IMAP, and
an IMAP client that costs little."""

import contextlib
import json
import os
import random
import re
import shutil
import socket
import sqlite3
import sys
import time
from pathlib import Path

import common

sys.path.insert(0, str(common.TOP / "tests" / "e2e"))
import dovecot  # noqa: E402

UID = int(dovecot.MAIL_UID)
DOMAINS = 10
ME, OTHER = "me@d0.example", "other@d0.example"
PASSWORD = "secret"
BOXES = ["Archive", "Drafts", "Sent", "Team"]  # beside INBOX; the last is shared
RIGHTS = "eilrwts"  # in the order in which Dovecot writes them
WITH_MESSAGES, MESSAGES = 2, 100  # how many owners' shared mailboxes have that many messages
VERSION = ".".join(map(str, dovecot.VERSION))


class GaveUp(Exception):
    """The time limit came before the answer."""


# Accounts and their mailboxes


def owner(number):
    return f"owner{number}@d{number % DOMAINS}.example"


def shared_box(number):
    return f"shared/{owner(number)}/Team"


class Mailboxes:
    """Maildirs on disk as Dovecot would make them, of ME, OTHER and the owners."""

    def __init__(self, folder, owners):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o755)
        os.chown(self.folder, UID, UID)
        os.setegid(UID)
        os.seteuid(UID)
        try:
            for number in range(DOMAINS):
                (self.folder / f"d{number}.example").mkdir()
            for name in [ME, OTHER, *map(owner, range(owners))]:
                self.make(name)
            for number in range(min(owners, WITH_MESSAGES)):
                self.fill(owner(number))
        finally:
            os.seteuid(0)
            os.setegid(0)

    def maildir(self, account):
        local, domain = account.split("@")
        return f"{self.folder}/{domain}/{local}/Maildir"

    def make(self, account):
        top = self.maildir(account)
        os.makedirs(top)
        for box in ["", *(f"/.{name}" for name in BOXES)]:
            if box:
                os.mkdir(top + box)
            for part in ("cur", "new", "tmp"):
                os.mkdir(f"{top}{box}/{part}")

    def fill(self, account):
        for i in range(MESSAGES):
            text = (f"From: {account}\r\nTo: {ME}\r\nSubject: message {i}\r\n"
                    f"Message-ID: <{i}@d0.example>\r\nDate: Wed, 25 Nov 2026 00:00:00 +0000\r\n\r\n"
                    + "Some forty characters of text in a line.\r\n" * 50)
            Path(f"{self.maildir(account)}/.Team/cur/{1790000000 + i}.M{i}.host:2,").write_text(
                text, newline="")

    def forget(self, owners):
        """What Dovecot has noted beside the mailboxes of ME and the owners: its indexes and lists."""
        shutil.rmtree(Path(self.maildir(ME)).parent)
        os.setegid(UID)
        os.seteuid(UID)
        try:
            self.make(ME)
            lines = [f"{shared_box(i)}\n" for i in range(owners)]
            Path(self.maildir(ME), "subscriptions").write_text("".join(lines))
        finally:
            os.seteuid(0)
            os.setegid(0)
        for i in range(owners):
            with os.scandir(self.maildir(owner(i))) as entries:
                for entry in entries:
                    if entry.name.startswith("dovecot"):
                        os.unlink(entry.path)


class Case:
    """How many owners share with ME, how many accounts there are, and how many grants others have."""

    def __init__(self, owners, accounts=None, others=0):
        self.owners, self.accounts, self.others = owners, accounts or owners + 2, others

    def __str__(self):
        words = [f"{self.owners:,} owners"]
        if self.accounts > self.owners + 2:
            words.append(f"{self.accounts:,} accounts")
        if self.others:
            words.append(f"{self.others:,} grants of others")
        return ", ".join(words)


# The set-ups


class Setup:
    """A Dovecot with shared mailboxes. `owners` are those that share their Team with ME."""

    def __init__(self, place, owners):
        self.folder = Path(place) / self.name
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.mail = Mailboxes(self.folder / "vmail", owners)
        self.prepare(owners)
        self.server = dovecot.Dovecot(
            self.folder / "server", [dovecot.static_passdb(PASSWORD)],
            [dovecot.static_userdb(self.mail.folder)],
            settings={"auth_debug": None, "auth_verbose": "no", "log_debug": None,
                      # Stock needs more than the default for many shared mailboxes.
                      "default_vsz_limit": "16G", **self.settings()},
            raw=self.raw())

    def prepare(self, owners):
        """What is made once."""

    def settings(self):
        return {} if dovecot.NEW else {"mail_plugins": "acl"}

    def raw(self):
        # A shared namespace looks its owner up.
        return self.namespaces() + """
service auth {
  unix_listener auth-userdb {
    mode = 0666
  }
}
"""

    def namespaces(self):
        if dovecot.NEW:
            plugins = "".join(f"  {name} = yes\n" for name in ["acl", *self.plugins])
            imap = "".join(f"    {name} = yes\n" for name in ["imap_acl", *self.imap_plugins])
            return f"""
mail_plugins {{
{plugins}}}
protocol imap {{
  mail_plugins {{
{imap}  }}
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
namespace shared {{
  type = shared
  separator = /
  prefix = shared/$user/
  mail_driver = maildir
  mail_path = %{{owner_home}}/Maildir
  mail_index_private_path = ~/shared/%{{owner_user}}
  subscriptions = no
  list = children
}}
{self.acl_settings()}
"""
        lines = "".join(f"  {line}\n" for line in self.acl_settings().splitlines())
        return f"""
mail_plugins = {" ".join(["acl", *self.plugins])}
protocol imap {{
  mail_plugins = {" ".join(["acl", *self.plugins, "imap_acl", *self.imap_plugins])}
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
namespace shared {{
  type = shared
  separator = /
  prefix = shared/%%u/
  location = maildir:%%h/Maildir:INDEXPVT=~/shared/%%u
  subscriptions = no
  list = children
}}
plugin {{
{lines}}}
"""

    plugins, imap_plugins = [], []

    def use(self, case):
        """Before the first session of a case: the grants of these owners to ME, and those alone."""
        raise NotImplementedError

    def renew(self, case, lists=True):
        """As if nobody had listed what is shared yet; I have listed my own, before anything was
        shared. `lists`: stock's dovecot-acl-list is there, as SETACL leaves it."""
        self.mail.forget(case.owners)
        self.use(Case(0))
        with self.session() as session:
            session.command('LIST "" "*"')
        self.use(case)

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *unused):
        self.server.stop()

    def imap_processes(self):
        master = self.server.process.pid
        found = set()
        for child in Path(f"/proc/{master}/task/{master}/children").read_text().split():
            try:
                if Path(f"/proc/{child}/comm").read_text() == "imap\n":
                    found.add(int(child))
            except OSError:  # it has ended
                pass
        return found

    def session(self, login=ME, limit=300):
        return Session(self, login, limit)


class Stock(Setup):
    """vfile with a dictionary in a file."""

    name, title = "stock", "stock, vfile and a dictionary in a file"

    def prepare(self, owners):
        self.dictionary = self.folder / "dict" / "shared-mailboxes"
        self.dictionary.parent.mkdir()
        os.chown(self.dictionary.parent, UID, UID)
        os.setegid(UID)
        os.seteuid(UID)
        try:
            for i in range(owners):
                Path(f"{self.mail.maildir(owner(i))}/.Team/dovecot-acl").write_text(
                    f"user={ME} {RIGHTS}\n")
        finally:
            os.seteuid(0)
            os.setegid(0)

    def acl_settings(self):
        if dovecot.NEW:
            return (f"acl_driver = vfile\nacl_sharing_map {{\n  dict file {{\n"
                    f"    path = {self.dictionary}\n  }}\n}}")
        return f"acl = vfile\nacl_shared_dict = file:{self.dictionary}"

    def use(self, case):
        self.write_dictionary(entries(case))

    def write_dictionary(self, pairs):
        for path in (self.dictionary, Path(f"{self.dictionary}.lock")):  # of one that was given up
            path.unlink(missing_ok=True)
        with self.dictionary.open("w") as file:
            for who, whose in pairs:
                file.write(f"shared/shared-boxes/user/{who}/{whose}\n1\n")
        os.chown(self.dictionary, UID, UID)
        self.dictionary.chmod(0o600)

    def read_dictionary(self):
        lines = self.dictionary.read_text().splitlines()[::2]
        return {tuple(line.split("/")[3:]) for line in lines}

    def renew(self, case, lists=True):
        super().renew(case)
        if lists:
            for i in range(case.owners):
                self.write_list(owner(i))

    def write_list(self, account):
        top = self.mail.maildir(account)
        made = int(os.stat(f"{top}/.Team/dovecot-acl").st_mtime)
        path = Path(f"{top}/dovecot-acl-list")
        path.write_text(f"{made} Team\n")
        os.chown(path, UID, UID)

    def check(self, number):
        """That Dovecot itself writes the very files when an owner gives the rights by SETACL."""
        account = owner(number)
        top = self.mail.maildir(account)
        grant = Path(f"{top}/.Team/dovecot-acl")
        self.write_list(account)
        self.write_dictionary([(ME, account)])
        ours = (grant.read_text(), self.list_of(top), self.read_dictionary())
        grant.unlink()
        Path(f"{top}/dovecot-acl-list").unlink()
        self.write_dictionary([])
        with self.session(account) as session:
            session.command(f'SETACL "Team" "{ME}" {RIGHTS}')
        theirs = (grant.read_text(), self.list_of(top), self.read_dictionary())
        if ours != theirs:
            raise SystemExit(f"{self.name}: this bench writes {ours}, Dovecot {theirs}")

    def list_of(self, top):
        """With the time told to be right or not: it is the dovecot-acl's."""
        made = int(os.stat(f"{top}/.Team/dovecot-acl").st_mtime)
        return Path(f"{top}/dovecot-acl-list").read_text().replace(f"{made} ", "TIME ")


class StockSqlite(Stock):
    """vfile with a dictionary in SQLite, which the dict process serves."""

    name, title = "stock-sqlite", "stock, vfile and a dictionary in SQLite"

    def prepare(self, owners):
        super().prepare(owners)
        self.dictionary = self.dictionary.with_suffix(".sqlite")
        database = sqlite3.connect(self.dictionary)
        database.execute("CREATE TABLE user_shares (from_user TEXT NOT NULL, to_user TEXT NOT NULL, "
                         "dummy CHAR(1) DEFAULT '1', PRIMARY KEY (from_user, to_user))")
        database.execute("CREATE TABLE anyone_shares (from_user TEXT PRIMARY KEY, "
                         "dummy CHAR(1) DEFAULT '1')")
        database.execute("CREATE INDEX to_user ON user_shares (to_user)")
        database.commit()
        database.close()
        for path in (self.dictionary.parent, self.dictionary):
            shutil.chown(path, "dovecot", "dovecot")  # whom the dict process is
        self.config = self.folder / "dict-sql.conf"
        self.config.write_text(f"""connect = {self.dictionary}
map {{
  pattern = shared/shared-boxes/user/$to/$from
  table = user_shares
  value_field = dummy
  fields {{
    from_user = $from
    to_user = $to
  }}
}}
map {{
  pattern = shared/shared-boxes/anyone/$from
  table = anyone_shares
  value_field = dummy
  fields {{
    from_user = $from
  }}
}}
""")
        self.config.chmod(0o644)

    def acl_settings(self):
        if dovecot.NEW:
            return "acl_driver = vfile\nacl_sharing_map {\n  dict proxy {\n    name = acl\n  }\n}"
        return "acl = vfile\nacl_shared_dict = proxy::acl"

    def raw(self):
        service = "service dict {\n  unix_listener dict {\n    mode = 0666\n  }\n}\n"
        if not dovecot.NEW:
            return super().raw() + service + f"dict {{\n  acl = sqlite:{self.config}\n}}\n"
        return super().raw() + service + f"""
dict_server {{
  dict acl {{
    driver = sql
    sql_driver = sqlite
    sqlite_path = {self.dictionary}
    dict_map shared/shared-boxes/user/$to/$from {{
      sql_table = user_shares
      value_field dummy {{
      }}
      key_field from_user {{
        value = $from
      }}
      key_field to_user {{
        value = $to
      }}
    }}
    dict_map shared/shared-boxes/anyone/$from {{
      sql_table = anyone_shares
      value_field dummy {{
      }}
      key_field from_user {{
        value = $from
      }}
    }}
  }}
}}
"""

    def write_dictionary(self, pairs):
        # In place: the dict process has it open.
        database = sqlite3.connect(self.dictionary, timeout=60)
        database.execute("DELETE FROM user_shares")
        database.executemany("INSERT INTO user_shares (to_user, from_user) VALUES (?, ?)", pairs)
        database.commit()
        database.close()

    def read_dictionary(self):
        database = sqlite3.connect(self.dictionary, timeout=60)
        found = set(database.execute("SELECT to_user, from_user FROM user_shares"))
        database.close()
        return found


class Homing(Setup):
    """The plugin, in place of vfile."""

    name, title = "Homing", "Homing"
    plugins, imap_plugins = ["homing_acl"], ["imap_homing_acl"]

    def prepare(self, owners):
        self.directory = self.folder / "directory"  # a link to that of the case
        self.made = {}

    def acl_settings(self):
        driver = "acl_driver = homing" if dovecot.NEW else "acl = vfile"
        return f"{driver}\nhoming_directory = {self.directory}"

    def use(self, case):
        if str(case) not in self.made:
            self.made[str(case)] = self.make(case)
        self.directory.unlink(missing_ok=True)
        self.directory.symlink_to(self.made[str(case)])

    def make(self, case):
        path = self.folder / f"directory-{len(self.made)}"
        path.mkdir()
        config = path.with_suffix(".json")
        config.write_text(json.dumps({
            "main_domain": "d0.example",
            "account_defaults": {"home": f"{self.mail.folder}/%{{domain}}/%{{local}}",
                                 "uid": str(UID), "gid": str(UID)},
            "domains": {f"d{i}.example": {} for i in range(DOMAINS)}}))
        ctl = [os.environ["HOMINGCTL"], "--directory", path]
        common.run(*ctl, "apply", config)
        names = path.with_suffix(".accounts")
        with names.open("w") as file:
            for name in [ME, OTHER, *map(owner, range(case.accounts - 2))]:
                file.write(f'{{"account":"{name}"}}\n')
        common.run(*ctl, "account", "import", names)
        names.unlink()
        self.grant(path, case)
        for file in [path, *path.iterdir()]:
            os.chown(file, UID, UID)
        return path

    def grant(self, path, case):
        changes = path.with_suffix(".grants")
        with changes.open("w") as file:
            file.writelines(f"{whose}\tTeam\t{who}\t{RIGHTS}\n" for who, whose in entries(case))
        with changes.open() as file:  # a file, which can be read again
            common.run(os.environ["HOMING_BENCH_GRANT"], path, stdin=file)


def entries(case):
    """(who, whose) of each grant: to ME, and of others among themselves."""
    pairs = [(ME, owner(i)) for i in range(case.owners)]
    dice = random.Random(case.others)
    strangers = range(case.owners, case.accounts - 2)
    chosen = set()
    while len(chosen) < case.others:
        chosen.add((owner(dice.choice(strangers)), owner(dice.choice(strangers))))
    return pairs + sorted(chosen)


# The client


class Session:
    """IMAP over a plain socket. Times are in milliseconds."""

    def __init__(self, setup, login, limit):
        self.limit, self.number, self.setup = limit, 0, setup
        before = setup.imap_processes()
        self.begin = time.monotonic()
        self.socket = socket.create_connection((dovecot.IPS[0], setup.server.ports["imap"]), limit)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.recv(4096)
        self.command(f"LOGIN {login} {PASSWORD}")
        self.login_ms = (time.monotonic() - self.begin) * 1000
        new = setup.imap_processes() - before
        if len(new) != 1:
            raise SystemExit(f"{setup.name}: {len(new)} new imap processes after a login")
        self.pid = new.pop()

    def send(self, commands):
        """All at once; returns what came until the last is answered, and how long it took."""
        words = []
        for text in commands:
            self.number += 1
            words.append(f"a{self.number} {text}\r\n".encode())
        last = re.compile(rb"(?:^|\n)a%d (?:OK|NO|BAD) [^\n]*\n\Z" % self.number)
        chunks, tail = [], b""
        begin = time.monotonic()
        try:
            self.socket.sendall(b"".join(words))
            while not last.search(tail):
                left = self.limit - (time.monotonic() - begin)
                if left <= 0:
                    raise TimeoutError
                self.socket.settimeout(left)
                chunk = self.socket.recv(1 << 20)
                if not chunk:
                    raise SystemExit(f"{self.setup.name}: the connection ended in "
                                     f"{commands[0]}\n{self.setup.server.log()[-3000:]}")
                chunks.append(chunk)
                tail = (tail + chunk)[-1000:]
        except TimeoutError:
            raise GaveUp from None
        spent = (time.monotonic() - begin) * 1000
        answer = b"".join(chunks)
        refused = re.search(rb"^a\d+ (?:NO|BAD) .*", answer, re.M)
        if refused:
            raise SystemExit(f"{self.setup.name}: {commands[0]}: {refused.group().decode()}\n"
                             f"{self.setup.server.log()[-3000:]}")
        return answer, spent

    def command(self, text):
        return self.send([text])

    def nanoseconds(self):
        """Of a processor that the imap process used so far."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0])

    def memory(self):
        """KiB: its proportional share of what it has mapped, and what is its own."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return {name: int(re.search(rf"^{name}: *(\d+) kB", text, re.M).group(1))
                for name in ("Pss", "Anonymous")}

    def close(self):
        self.socket.close()

    def abandon(self):
        """Ends the process, which does not see that its client has gone."""
        self.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)
        while Path(f"/proc/{self.pid}").exists():
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, kind, *unused):
        if kind is GaveUp:
            self.abandon()
        else:
            self.close()
