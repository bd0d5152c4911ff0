"""The whole under load, for as long as one likes: tests/load/run starts it.

200 IMAP sessions and 100 SMTP connections at any time, grants changed and `homingctl apply` every second.
At the end every message that was taken is in the accounts that it was for, once, and nothing grew."""

import argparse
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import clients  # noqa: E402
import dovecot  # noqa: E402
import sharing  # noqa: E402
from postfix import Mail, STRANGER  # noqa: E402

DOMAINS = ["company.com", "client1.com", "client2.com", "client3.com", "client4.com"]
LOCALS = ["info", "sales", "anna", "bert", "carla", "dora", "emil", "frida"]
ACCOUNTS = [f"{local}@{domain}" for domain in DOMAINS for local in LOCALS]
NEVER = "closed@company.com"  # shares nothing with anybody
# What lives as long as the whole, and must not grow. The others come and go with sessions. dovecot/stats keeps
# something for each session of its clients, so it follows their number.
LONG_LIVED = ("homing-policyd", "dovecot", "dovecot/auth", "dovecot/anvil", "dovecot/config", "dovecot/log",
              "dovecot/stats", "dovecot/imap-login", "postfix/master", "postfix/qmgr", "postfix/anvil",
              "postfix/postlogd")


def config(system, turn):
    """homing.json: what the clients ask is the same in both, and something else changes."""
    domains = {domain: {} for domain in DOMAINS}
    domains["company.com"] = {"addresses": [system.company]}
    domains["client1.com"] = {"addresses": [system.client1]}
    domains["client2.com"] = {"aliases": ["mail.client2.com"]}
    domains[f"turn{turn}.example"] = {}
    return {
        "main_domain": "company.com",
        "account_defaults": {"home": f"{system.homing.vmail}/%{{domain}}/%{{local}}",
                             "uid": dovecot.MAIL_UID, "gid": dovecot.MAIL_UID},
        "domains": domains,
        "router": [{"match": "help@*", "to": "info@company.com"},
                   {"match": f"turn{turn}@*", "to": "info@company.com"}],
    }


class System(Mail):
    """Mail, with shared mailboxes."""

    def __init__(self, folder):
        super().__init__(
            folder, config=lambda system: config(system, 0),
            names=["alias add verkauf@client2.com sales@client2.com", "alias add chef@company.com emil@company.com",
                   "group add team@client1.com anna@client1.com", "group add team@client1.com bert@client1.com",
                   "group add team@client1.com carla@client4.com"],
            policyd={"inherit": True, "workers": 2},
            # smtpd's own limit is 100 processes; the clients are that many alone
            main="\ndefault_process_limit = 300\nmaximal_queue_lifetime = 1d\n")

    def fill(self):
        accounts = [*ACCOUNTS, NEVER]
        sharing.add_accounts(self.homing, accounts)
        for account in accounts:
            self.passwords[account] = sharing.PASSWORD
        os.chown(self.homing.vmail, sharing.UID, sharing.UID)

    def dovecot_settings(self):
        addresses = ", ".join([*dovecot.IPS, self.company, self.client1, self.other])
        return {**super().dovecot_settings(), "listen": addresses, "auth_debug": None, "log_debug": None,
                "mail_access_groups": "dovecot"}

    def dovecot_services(self):
        """Plugins and namespaces, as `homingctl config dovecot --sharing` prints them."""
        vmail, every, imap = self.homing.vmail, ["acl", "homing_acl"], ["imap_acl", "imap_homing_acl"]
        text = super().dovecot_services() + sharing.plugins(*every)
        text += "protocol imap {\n" + sharing.plugins(*([] if dovecot.NEW else every), *imap) + "}\n"
        text += "service imap {\n  process_limit = 2000\n}\nservice lmtp {\n  process_limit = 50\n}\n"
        text += sharing.block("namespace inbox", {"inbox": "yes", "prefix": "", "separator": "/"})
        if dovecot.NEW:
            where = {"mail_driver": "maildir",
                     "mail_path": f"{vmail}/%{{owner_user | domain}}/%{{owner_user | username}}/Maildir"}
            text += f"acl_driver = homing\nhoming_directory = {self.homing.path}\n"
        else:
            where = {"location": f"maildir:{vmail}/%%d/%%n/Maildir"}
            text += sharing.block("plugin", {"acl": "vfile", "homing_directory": self.homing.path})
        prefix = "shared/$user/" if dovecot.NEW else "shared/%%u/"
        return text + sharing.block("namespace shared", {
            "type": "shared", "separator": "/", "subscriptions": "no", "list": "children", "prefix": prefix, **where})

    def prepare(self):
        """What the readers look for, made by their owners: who an account is, what it shares and with whom."""
        always = dict(zip(ACCOUNTS, [*ACCOUNTS[7:], *ACCOUNTS[:7]]))
        for account in [*ACCOUNTS, NEVER]:
            client = self.dovecot.imap(account, sharing.PASSWORD)
            for box in (clients.owner_mailbox(account), "Team", "Always", "Drafts"):
                status, said = client.create(box)
                assert status == "OK", said
            if account != NEVER:
                for other in (other for other, owner in always.items() if owner == account):
                    assert client.setacl("Always", other, "lrs")[0] == "OK"
            client.logout()
        return always

    def plan(self, begin, always, think, pause):
        recipients = [(account, [account]) for account in ACCOUNTS]
        recipients += [(account.replace("@", "%") + "@company.com", [account]) for account in ACCOUNTS[:20]]
        recipients += [(account.upper(), [account]) for account in ACCOUNTS[::3]]
        recipients += [
            ("verkauf@client2.com", ["sales@client2.com"]), ("chef@company.com", ["emil@company.com"]),
            ("info@mail.client2.com", ["info@client2.com"]), ("help@client3.com", ["info@company.com"]),
            ("team@client1.com", ["anna@client1.com", "bert@client1.com", "carla@client4.com"]),
            ("anna", ["anna@company.com"]),
        ]
        logins = [(account, self.other, account) for account in ACCOUNTS]
        logins += [(account.replace("@", "%"), self.company, account) for account in ACCOUNTS]
        logins += [(f"{local}", ip, f"{local}@{domain}") for local in LOCALS
                   for ip, domain in ((self.company, "company.com"), (self.client1, "client1.com"))]
        logins += [("verkauf@client2.com", self.client1, "sales@client2.com"),
                   ("info@mail.client2.com", self.company, "info@client2.com")]
        return {
            "begin": begin, "seed": "load", "run": uuid.uuid4().hex[:8], "accounts": ACCOUNTS,
            "always": always, "never": NEVER, "logins": logins, "recipients": recipients,
            "refused": ["nobody@client1.com", "nobody%client2.com@company.com", "turn9@client3.com"],
            "smtp": [self.company, self.client1, self.other], "client": STRANGER,
            "imap_port": self.dovecot.ports["imap"], "think": think, "pause": pause,
        }

    def processes(self):
        """[(name, pid)] of all of ours."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                line = (path / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                name = (path / "comm").read_text().strip()
                folder = os.readlink(path / "cwd")
            except OSError:
                continue
            if "homing-policyd" in line.split(" ")[0]:
                found.append(("homing-policyd", path.name))
            elif re.match(r"(/usr/sbin/)?dovecot( -F|/)", line):
                found.append((re.match(r"(?:/usr/sbin/)?(dovecot(?:/[\w-]+)?)", line)[1], path.name))
            elif str(self.postfix.queue) in folder or str(self.postfix.config) in line:
                found.append((f"postfix/{name}", path.name))
        return found


class Sampler(threading.Thread):
    """Every few seconds: memory and descriptors of all processes, by name."""

    def __init__(self, system, begin, seconds):
        super().__init__(daemon=True)
        self.system, self.begin, self.seconds = system, begin, seconds
        self.rows, self.ended = [], threading.Event()

    def run(self):
        while not self.ended.wait(self.seconds):
            now, sums = time.time() - self.begin, {}
            for name, pid in self.system.processes():
                try:
                    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                    own = int(re.search(r"^Private_Dirty:\s+(\d+)", rollup, re.M)[1])
                    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
                except (OSError, TypeError):
                    continue
                count, most, files = sums.get(name, (0, 0, 0))
                sums[name] = (count + 1, max(most, own), max(files, descriptors))
            self.rows += [(now, name, *values) for name, values in sorted(sums.items())]


class Changes(threading.Thread):
    """Every second: the configuration applied anew, and grants changed by homingctl."""

    def __init__(self, system, log):
        super().__init__(daemon=True)
        self.system, self.log, self.ended, self.turn = system, log, threading.Event(), 0
        self.rng = random.Random("changes")

    def run(self):
        while not self.ended.wait(1):
            self.turn += 1
            owner, other = self.rng.sample(ACCOUNTS, 2)
            self.system.homing.json.write_text(json.dumps(config(self.system, self.turn % 7)))
            for what, words in (
                    ("apply", ["apply", str(self.system.homing.json)]),
                    ("grant", ["share", self.rng.choice(["grant", "revoke"]), owner, "Team", other])):
                if words[1] == "grant":
                    words.append("lrs")
                with self.log.measured(what):
                    done = self.system.homing.ctl(*words, check=False)
                if done.returncode not in ((0,) if what == "apply" else (0, 65, 67)):
                    self.log.write("wrong", text=f"{' '.join(words)}: {done.returncode} {done.stderr}")


def quantile(values, part):
    return values[min(len(values) - 1, int(len(values) * part))]


def read_logs(folder):
    """[(second, what, milliseconds, more)] of all processes."""
    for path in sorted(folder.glob("*-*.log")):
        for line in open(path, encoding="ascii"):
            row = json.loads(line)
            yield row[0], row[1], row[2], row[3] if len(row) > 3 else {}


def delivered(system, run):
    """{token: {account: how often}}"""
    found = {}
    for folder, _, files in os.walk(system.homing.vmail):
        if os.path.basename(folder) not in ("new", "cur"):
            continue
        domain, local = Path(folder).relative_to(system.homing.vmail).parts[:2]
        for name in files:
            with open(os.path.join(folder, name), errors="replace") as file:
                match = re.search(rf"^Subject: (load{run}\w+)", file.read(4000), re.M)
            if match:
                where = found.setdefault(match[1], {})
                where[f"{local}@{domain}"] = where.get(f"{local}@{domain}", 0) + 1
    return found


def growth(rows, duration):
    """[(name, memory in the second quarter, in the last, descriptors likewise, all right)]: the most of any
    process of the name, in KiB. The first quarter is for getting warm."""
    found = []
    for name in sorted({row[1] for row in rows}):
        quarters = [[], []]
        for second, _, _, memory, files in (row for row in rows if row[1] == name):
            if duration / 4 <= second < duration / 2:
                quarters[0].append((memory, files))
            elif second >= duration * 3 / 4:
                quarters[1].append((memory, files))
        if not all(quarters):
            continue
        early, late = ([sorted(row[i] for row in quarter)[len(quarter) // 2] for i in (0, 1)]
                       for quarter in quarters)
        fine = late[0] <= early[0] * 1.15 + 1024 and late[1] <= early[1] * 1.1 + 25
        found.append((name, early[0], late[0], early[1], late[1], fine or name not in LONG_LIVED))
    return found


def plot(folder, latencies, rows, duration):
    """SVG by gnuplot: percentiles over time, memory over time."""
    step = max(5, duration / 60)
    for what, values in latencies.items():
        with open(folder / f"latency-{what.replace(' ', '-')}.dat", "w", encoding="ascii") as file:
            for number in range(int(duration / step) + 1):
                part = sorted(ms for second, ms in values if number * step <= second < (number + 1) * step)
                if part:
                    file.write(f"{number * step:.0f} {quantile(part, .5):.2f} {quantile(part, .99):.2f}\n")
    for name in LONG_LIVED:
        with open(folder / f"memory-{name.replace('/', '-')}.dat", "w", encoding="ascii") as file:
            for second, _, _, memory, files in (row for row in rows if row[1] == name):
                file.write(f"{second:.0f} {memory / 1024:.3f} {files}\n")
    head = "set terminal svg size 900,500 font 'sans,11' background 'white'\nset xlabel 'seconds'\nset grid\nset key outside\n"
    shown = [what for what in ("LOGIN", "LIST", "SELECT", "SELECT shared", "SETACL", "RCPT", "DATA", "apply") if what in latencies]
    for part, column in (("p50", 2), ("p99", 3)):
        lines = ", ".join(f"'latency-{what.replace(' ', '-')}.dat' using 1:{column} with lines title '{what}'" for what in shown)
        (folder / f"latency-{part}.gp").write_text(
            f"{head}set output 'latency-{part}.svg'\nset logscale y\nset ylabel 'milliseconds, {part}'\nplot {lines}\n")
    for what, column, unit in (("memory", 2, "MiB that is its own"), ("descriptors", 3, "descriptors")):
        lines = ", ".join(f"'memory-{name.replace('/', '-')}.dat' using 1:{column} with lines title '{name}'"
                          for name in LONG_LIVED if any(row[1] == name for row in rows))
        (folder / f"{what}.gp").write_text(
            f"{head}set output '{what}.svg'\nset logscale y\nset ylabel '{unit}'\nplot {lines}\n")
    for script in sorted(folder.glob("*.gp")):
        subprocess.run(["gnuplot", script.name], cwd=folder, check=True)


def work(system, arguments, folder):
    """The traffic. (seconds that it took, the plan, the sampler)"""
    always = system.prepare()
    begin = time.time()
    plan = system.plan(begin, always, arguments.think, arguments.pause)
    end = begin + arguments.seconds
    sampler = Sampler(system, begin, max(2, arguments.seconds / 240))
    changes = Changes(system, clients.Log(folder / "changes-0.log", begin))
    people = [multiprocessing.Process(target=clients.run, args=(kind, count // 2, number, plan, folder, end))
              for kind, count in (("imap", arguments.imap), ("smtp", arguments.smtp)) for number in (0, 1)]
    for each in (*people, sampler, changes):
        each.start()
    for each in people:
        each.join()
    for each in (sampler, changes):
        each.ended.set()
        each.join()
    changes.log.file.close()
    failed = [each.exitcode for each in people if each.exitcode != 0]
    if failed:
        raise RuntimeError(f"clients ended with {failed}")
    return time.time() - begin, plan, sampler


def judge(system, folder, duration, plan, sampler):
    """Problems, in words; the report."""
    problems, latencies, accepted, trouble = [], {}, {}, {"wrong": [], "broken": []}
    for second, what, milliseconds, more in read_logs(folder):
        if what in trouble:
            trouble[what].append(more["text"])
            continue
        latencies.setdefault(what, []).append((second, milliseconds))
        if what == "DATA":
            accepted[more["token"]] = {account: 1 for account in more["accounts"]}
    if not accepted or not latencies.get("LOGIN"):
        problems.append(f"no traffic: {len(accepted)} messages; {trouble['broken'][:3]}")
    if trouble["wrong"]:
        problems.append(f"{len(trouble['wrong'])} wrong answers, as {trouble['wrong'][:5]}")
    operations = sum(map(len, latencies.values()))
    if len(trouble["broken"]) * 1000 > operations:
        problems.append(f"{len(trouble['broken'])} of {operations} broke, as {trouble['broken'][:5]}")
    system.postfix.flush()
    system.postfix.wait_until_empty(120)
    found = delivered(system, plan["run"])
    lost = [token for token in accepted if token not in found]
    strange = {token: where for token, where in found.items() if where != accepted.get(token)}
    # Taken, but the client did not hear it: such a message may be there.
    unheard = {token for token in strange if token not in accepted and set(strange[token].values()) == {1}}
    strange = {token: where for token, where in strange.items() if token not in unheard}
    if lost:
        problems.append(f"{len(lost)} of {len(accepted)} messages are lost, as {lost[:5]}")
    if strange:
        problems.append(f"{len(strange)} messages are not once where they belong, as {list(strange.items())[:5]}, "
                        f"accepted {[accepted.get(token) for token in list(strange)[:5]]}")
    if len(unheard) > len(trouble["broken"]):
        problems.append(f"{len(unheard)} messages that nobody was told of")
    bounced = system.postfix.log().count("status=bounced")
    if bounced:
        problems.append(f"{bounced} bounced")
    bad = [line for line in system.dovecot.errors() if not re.search("Warning: ", line)]
    bad += [line for line in system.policyd.log().splitlines() if re.search(r"(error|panic|Sanitizer)", line)]
    if bad:
        problems.append(f"{len(bad)} errors in the logs, as {bad[:5]}")
    grown = growth(sampler.rows, duration)
    problems += [f"{name} grew: {row}" for name, *row, fine in grown if not fine]
    missing = {"homing-policyd", "dovecot/auth", "postfix/qmgr"} - {row[0] for row in grown}
    if missing:
        problems.append(f"not measured: {sorted(missing)}")
    verify = system.homing.ctl("share", "verify", check=False)
    if verify.returncode or verify.stdout:
        problems.append(f"share verify: {verify.stdout}{verify.stderr}")

    report = [f"{len(accepted)} messages taken, for {sum(map(len, accepted.values()))} mailboxes, "
              f"{len(latencies.get('LOGIN', []))} sessions, {operations} operations, "
              f"{len(latencies.get('apply', []))} times apply, {len(trouble['broken'])} connections or commands "
              "that broke or were put off.", "",
              "| what | times | p50 | p90 | p99 | p99.9 | most |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for what in sorted(latencies):
        values = sorted(ms for _, ms in latencies[what])
        report.append(f"| {what} | {len(values):,} | " + " | ".join(
            f"{quantile(values, part):,.1f}" for part in (.5, .9, .99, .999, 1)) + " |")
    report += ["", "| process | KiB, second quarter | last quarter | descriptors, second quarter | last quarter |",
               "| --- | --- | --- | --- | --- |"]
    report += [f"| {name} | {a:,} | {b:,} | {c} | {d} |" for name, a, b, c, d, _ in grown]
    return problems, report, latencies


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--imap", type=int, default=200, metavar="SESSIONS")
    parser.add_argument("--smtp", type=int, default=100, metavar="CONNECTIONS")
    parser.add_argument("--think", type=float, default=8, metavar="SECONDS", help="between commands of a session")
    parser.add_argument("--pause", type=float, default=8, metavar="SECONDS", help="between messages of a connection")
    parser.add_argument("--out", metavar="FOLDER", help="for figures and plots")
    arguments = parser.parse_args()
    if arguments.seconds < 20 or arguments.imap < 2 or arguments.smtp < 2:
        parser.error("that is too little to say anything of: --seconds 20, --imap 2 and --smtp 2 at least")
    top = Path(tempfile.mkdtemp(prefix="homing-load-", dir="/tmp"))  # short, because sockets' paths have a limit
    top.chmod(0o755)
    folder = Path(arguments.out or top / "out").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*-*.log"):
        old.unlink()
    try:
        system = System(top / "system")
        with system:
            duration, plan, sampler = work(system, arguments, folder)
            problems, report, latencies = judge(system, folder, duration, plan, sampler)
        text = "\n".join([f"Dovecot {'.'.join(map(str, dovecot.VERSION))}, {arguments.imap} IMAP sessions, "
                          f"{arguments.smtp} SMTP connections, {duration:.0f} seconds; milliseconds.", "", *report])
        (folder / "figures.md").write_text(text + "\n")
        if arguments.out:
            plot(folder, latencies, sampler.rows, duration)
        print(text)
        for problem in problems:
            print("tests/load:", problem, file=sys.stderr)
        if problems:
            print(system.logs()[-4000:], file=sys.stderr)
        print(f"tests/load: {len(problems)} problems, {duration:.0f} s, Dovecot {'.'.join(map(str, dovecot.VERSION))}")
        return 1 if problems else 0
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", str(top)], check=False)


if __name__ == "__main__":
    sys.exit(main())
