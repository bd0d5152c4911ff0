"""Roundcube as its packages have it, with its acl plugin: a private one, on PHP's own web server.

    with Roundcube(folder, imap_port) as webmail:
        browser = webmail.login("info@client1.com", "secret")
        browser.save_acl("Box", "bob@client1.com", "lrs")

A Browser sends what the scripts of Roundcube's pages send, so what reaches the IMAP server is what
Roundcube makes of it; Roundcube.commands() shows it.
"""

import html
import http.cookiejar
import json
import os
import re
import sqlite3
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import dovecot

PROGRAM = Path("/usr/share/roundcube")
PUBLIC = Path("/var/lib/roundcube/public_html")


class Roundcube:
    def __init__(self, folder, imap_port):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.port = dovecot.free_ports(8)[-1]
        self.url = f"http://{dovecot.IPS[0]}:{self.port}/"
        self.process = None
        for name in ("config", "logs", "temp"):
            (self.folder / name).mkdir()
        (self.folder / "config/config.inc.php").write_text(f"""<?php
$config = [];
$config['db_dsnw'] = 'sqlite:///{self.folder}/roundcube.db?mode=0640';
$config['imap_host'] = '{dovecot.IPS[0]}:{imap_port}';
$config['log_dir'] = '{self.folder}/logs/';
$config['temp_dir'] = '{self.folder}/temp/';
$config['log_driver'] = 'file';
$config['imap_debug'] = true;
$config['des_key'] = 'a-key-of-24-characters--';
$config['plugins'] = ['acl'];
$config['enable_spellcheck'] = false;
""")
        for name in ("defaults.inc.php", "mimetypes.php"):
            (self.folder / "config" / name).symlink_to(f"/etc/roundcube/{name}")
        database = sqlite3.connect(self.folder / "roundcube.db")
        database.executescript((PROGRAM / "SQL/sqlite.initial.sql").read_text())
        database.close()

    def environment(self):
        return {**os.environ, "ROUNDCUBE_CONFIG_DIR": str(self.folder / "config")}

    def __enter__(self):
        self.process = subprocess.Popen(
            ["php", "-S", f"{dovecot.IPS[0]}:{self.port}", "-t", str(PUBLIC)],
            env=self.environment(),
            stdin=subprocess.DEVNULL, stdout=(self.folder / "php.log").open("w"),
            stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(self.url, timeout=10).close()
                return self
            except (OSError, urllib.error.URLError):
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.__exit__()
                    raise RuntimeError(f"Roundcube did not start:\n{self.logs()}") from None
                time.sleep(0.05)

    def __exit__(self, *unused):
        self.process.terminate()
        self.process.wait(10)

    def logs(self):
        return "".join(path.read_text(errors="replace")
                       for path in [self.folder / "php.log", self.folder / "logs/errors.log"]
                       if path.exists())

    def commands(self):
        """The IMAP commands that it sent, in order, without their tags."""
        path = self.folder / "logs/imap.log"
        if not path.exists():
            return []
        return re.findall(r"^.*? C: A\d+ (.*)$", path.read_text(errors="replace"), re.MULTILINE)

    def call(self, user, password, *calls):
        """What methods of Roundcube's IMAP class return: call(…, ["listRights", "Box", "bob"])."""
        script = """
            define('INSTALL_PATH', '/var/lib/roundcube/');
            require INSTALL_PATH . 'program/include/clisetup.php';
            list($host, $port, $user, $password, $calls) = json_decode(stream_get_contents(STDIN), true);
            $imap = new rcube_imap_generic();
            $imap->connect($host, $user, $password, ['port' => $port, 'auth_type' => 'PLAIN'])
                or die($imap->error);
            $answers = [];
            foreach ($calls as $call) {
                $method = array_shift($call);
                $answers[] = [$imap->$method(...$call), $imap->error];
            }
            echo json_encode($answers);
        """
        port = int(re.search(r"imap_host'\] = '[^:]*:(\d+)",
                             (self.folder / "config/config.inc.php").read_text()).group(1))
        done = subprocess.run(
            ["php", "-r", script], capture_output=True, text=True, timeout=60, env=self.environment(),
            input=json.dumps([dovecot.IPS[0], port, user, password, calls]))
        assert done.returncode == 0 and done.stdout.startswith("["), (done.stdout, done.stderr)
        return json.loads(done.stdout)

    def login(self, user, password):
        return Browser(self, user, password)


class Browser:
    def __init__(self, webmail, user, password):
        self.webmail, self.user = webmail, user
        self.opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self.token = self.find_token(self.get(_task="login"))
        page = self.post({"_task": "login", "_action": "login", "_user": user, "_pass": password,
                          "_token": self.token, "_timezone": "UTC"}, _task="login")
        assert '"task":"mail"' in page, (user, page[-500:], webmail.logs())
        self.token = self.find_token(page)

    @staticmethod
    def find_token(page):
        return re.search(r'"request_token":"(\w+)"', page).group(1)

    def get(self, **query):
        return self.fetch(None, query)

    def post(self, fields, **query):
        return self.fetch(urllib.parse.urlencode(fields).encode(), query)

    def fetch(self, data, query):
        request = urllib.request.Request(
            self.webmail.url + "?" + urllib.parse.urlencode(query), data,
            {"X-Roundcube-Request": getattr(self, "token", "")})
        with self.opener.open(request, timeout=30) as answer:
            return answer.read().decode()

    def acl_action(self, **fields):
        """What the script of the acl plugin posts: (the message shown, the answer's commands)."""
        answer = json.loads(self.post({**fields, "_remote": "1", "_token": self.token},
                                      _task="settings", _action="plugin.acl"))
        commands = answer["exec"]
        shown = re.findall(r'display_message\("((?:[^"\\]|\\.)*)","(\w+)"', commands)
        return shown[-1] if shown else None, commands

    def save_acl(self, mailbox, user, rights, old=None):
        more = {"_old": old} if old else {}
        return self.acl_action(_act="save", _mbox=mailbox, _user=user, _acl=rights, **more)[0]

    def delete_acl(self, mailbox, *users):
        return self.acl_action(_act="delete", _mbox=mailbox, _user=",".join(users))[0]

    def acl_table(self, mailbox):
        """{identifier: letters} as the settings of the folder show it; None without that tab."""
        page = self.folder_page(mailbox)
        if "acltable" not in page:
            return None
        users = {html.unescape(row): html.unescape(user) for row, user in re.findall(
            r'<tr id="rcmrow([^"]*)" data-userid="([^"]*)"', page)}
        rights = json.loads(re.search(r'"acl":(\{.*?\}|\[\])', page).group(1))
        return {users[row]: "".join(sorted(letters)) for row, letters in dict(rights).items()}

    def folder_page(self, mailbox):
        return self.get(_task="settings", _action="edit-folder", _mbox=mailbox, _framed="1")

    def my_rights(self, mailbox):
        """Own rights in the words of the folder's page, as a list."""
        page = self.folder_page(mailbox)
        found = re.search(r'for="_myrights">.*?</td><td>(.*?)</td>', page, re.DOTALL)
        return found and (re.findall(r"<li>(.*?)</li>", found.group(1)) or [found.group(1)])

    def folders(self):
        """The names in the settings' list of folders."""
        page = self.get(_task="settings", _action="folders")
        rows = re.search(r'"subscriptionrows":(\{.*?\]\})', page).group(1)
        return [name for name in json.loads(rows) if name != "*"]

    def subjects(self, mailbox):
        """Of the messages that the list of a mailbox shows."""
        answer = json.loads(self.get(_task="mail", _action="list", _mbox=mailbox, _remote="1",
                                     _refresh="1"))
        return re.findall(r'"subject":"((?:[^"\\]|\\.)*)"', answer["exec"])
