"""People who use mail all day: IMAP sessions that come, work and go, and mail servers that bring mail. One
process has many of them; each writes a line for what it did, and how long that took."""

import asyncio
import json
import random
import re
import time
from pathlib import Path

PASSWORD = "secret"
TIMEOUT = 60
OWNER = "owner-"


def owner_mailbox(account):
    """Each account has a mailbox that says whose it is."""
    return OWNER + account.replace("@", "-").replace(".", "-")


class Wrong(Exception):
    """An answer that must not be."""


async def pause(rng, mean, end):
    await asyncio.sleep(max(0, min(rng.expovariate(1 / mean), end - time.time())))


class Log:
    """Lines of JSON in a file of this process: [seconds since the beginning, what, milliseconds, more]."""

    def __init__(self, path, begin):
        self.file, self.begin = open(path, "w", encoding="ascii"), begin

    def write(self, what, seconds=0.0, **more):
        line = [round(time.time() - self.begin, 3), what, round(seconds * 1000, 3)]
        self.file.write(json.dumps(line + ([more] if more else [])) + "\n")

    def measured(self, what):
        return Measured(self, what)


class Measured:
    def __init__(self, log, what):
        self.log, self.what = log, what

    def __enter__(self):
        self.start = time.monotonic()

    def __exit__(self, kind, *_):
        if kind is None:
            self.log.write(self.what, time.monotonic() - self.start)


class Imap:
    """A client of few words: command() gives (OK, NO or BAD; the answer's lines, literals in place)."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.number = reader, writer, 0

    @classmethod
    async def connect(cls, ip, port):
        reader, writer = await asyncio.wait_for(asyncio.open_connection(ip, port, limit=1 << 22), TIMEOUT)
        client = cls(reader, writer)
        line = await client.line()
        if not line.startswith(b"* OK"):
            raise Wrong(f"greeting: {line!r}")
        return client

    async def line(self):
        """With its literals."""
        whole = b""
        while True:
            part = await asyncio.wait_for(self.reader.readline(), TIMEOUT)
            if not part.endswith(b"\n"):
                raise ConnectionResetError("the server ended the connection")
            whole += part
            literal = re.search(rb"\{(\d+)\}\r\n$", part)
            if not literal:
                return whole
            whole += await asyncio.wait_for(self.reader.readexactly(int(literal[1])), TIMEOUT)

    async def command(self, text, literal=None):
        self.number += 1
        tag = b"a%d " % self.number
        data = tag + text.encode()
        if literal is not None:
            data += b" {%d+}\r\n%s" % (len(literal), literal)
        self.writer.write(data + b"\r\n")
        await self.writer.drain()
        lines = []
        while True:
            line = await self.line()
            if line.startswith(tag):
                return line[len(tag):].split(b" ", 1)[0].decode(), [*lines, line]
            lines.append(line)

    async def ok(self, text, literal=None):
        status, lines = await self.command(text, literal)
        if status != "OK":
            raise Wrong(f"{text}: {lines[-1]!r}")
        return lines

    def close(self):
        self.writer.close()


def names(lines):
    """Of LIST's answers."""
    return [line.split(b'"/" ', 1)[1].strip().strip(b'"').decode() for line in lines
            if line.startswith(b"* LIST ")]


class Reader:
    """One person with one mail program."""

    def __init__(self, plan, log, rng):
        self.plan, self.log, self.rng = plan, log, rng

    async def session(self, end):
        typed, ip, account = self.rng.choice(self.plan["logins"])
        with self.log.measured("connect"):
            client = await Imap.connect(ip, self.plan["imap_port"])
        try:
            with self.log.measured("LOGIN"):
                await client.ok(f'LOGIN "{typed}" "{PASSWORD}"')
            owner = names(await client.ok(f'LIST "" "{OWNER}%"'))
            if owner != [owner_mailbox(account)]:
                raise Wrong(f"{typed} at {ip} opened {owner}, not {account}")
            for _ in range(self.rng.randrange(10, 60)):
                await pause(self.rng, self.plan["think"], end)
                if time.time() > end:
                    break
                await self.rng.choice(self.actions)(self, client, account)
            await client.ok("LOGOUT")
        finally:
            client.close()

    async def noop(self, client, _):
        with self.log.measured("NOOP"):
            await client.ok("NOOP")

    async def listing(self, client, _):
        with self.log.measured("LIST"):
            found = names(await client.ok('LIST "" "*"'))
        if "INBOX" not in found:
            raise Wrong(f"LIST shows no INBOX: {found}")

    async def inbox(self, client, _):
        with self.log.measured("SELECT"):
            lines = await client.ok("SELECT INBOX")
        count = max(int(line.split()[1]) for line in lines if line.endswith(b" EXISTS\r\n"))
        if count:
            first = max(1, count - 20)
            with self.log.measured("FETCH"):
                await client.ok(f"FETCH {first}:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            with self.log.measured("STORE"):
                await client.ok(f"STORE {self.rng.randint(first, count)} +FLAGS (\\Seen)")
        await client.ok("UNSELECT")

    async def draft(self, client, _):
        with self.log.measured("APPEND"):
            await client.ok("APPEND Drafts", b"Subject: a draft\r\n\r\nNot yet.\r\n")
        await client.ok("SELECT Drafts")
        await client.ok("UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
        with self.log.measured("EXPUNGE"):
            await client.ok("EXPUNGE")
        await client.ok("UNSELECT")

    async def shared(self, client, account):
        """Team mailboxes of others: as long as they are shared with us, they open."""
        owner = self.rng.choice([each for each in self.plan["accounts"] if each != account])
        name = f"shared/{owner}/Team"
        with self.log.measured("SELECT shared"):
            status, lines = await client.command(f'SELECT "{name}"')
        if status == "OK":
            await client.ok("UNSELECT")
        elif status != "NO":
            raise Wrong(f"SELECT {name}: {lines[-1]!r}")
        always = self.plan["always"].get(account)  # granted at the beginning, and never taken away
        if always:
            with self.log.measured("SELECT shared"):
                await client.ok(f'SELECT "shared/{always}/Always"')
            await client.ok("UNSELECT")
        never = self.plan["never"]
        status, lines = await client.command(f'SELECT "shared/{never}/INBOX"')
        if status != "NO" and account != never:
            raise Wrong(f"SELECT shared/{never}/INBOX, which nobody shared: {lines[-1]!r}")

    async def rights(self, client, account):
        """Gives and takes rights on the own Team mailbox, and looks whether it is so."""
        other = self.rng.choice([each for each in self.plan["accounts"] if each != account])
        give = self.rng.random() < 0.6
        with self.log.measured("SETACL"):
            await client.ok(f'SETACL Team "{other}" lrs' if give else f'DELETEACL Team "{other}"')
        with self.log.measured("GETACL"):
            await client.ok("GETACL Team")

    actions = [noop, noop, listing, inbox, inbox, inbox, draft, shared, shared, rights]

    async def run(self, end):
        await asyncio.sleep(self.rng.uniform(0, self.plan["think"] * 4))
        while time.time() < end:
            try:
                await self.session(end)
            except Wrong as problem:
                self.log.write("wrong", text=str(problem))
            except (OSError, EOFError, asyncio.TimeoutError) as problem:
                self.log.write("broken", text=f"IMAP: {problem!r}")
                await asyncio.sleep(1)


class Sender:
    """A mail server, with one connection at a time."""

    def __init__(self, plan, log, rng, number):
        self.plan, self.log, self.rng, self.number, self.count = plan, log, rng, number, 0

    async def reply(self):
        lines = []
        while True:
            line = await asyncio.wait_for(self.reader.readline(), TIMEOUT)
            if not line.endswith(b"\n"):
                raise ConnectionResetError("Postfix ended the connection")
            lines.append(line)
            if line[3:4] != b"-":
                return int(line[:3]), b"".join(lines).decode(errors="replace")

    async def say(self, text):
        self.writer.write(text.encode() + b"\r\n")
        await self.writer.drain()
        return await self.reply()

    async def message(self):
        self.count += 1
        token = f"load{self.plan['run']}x{self.number}x{self.count}"
        wanted = self.rng.sample(self.plan["recipients"], self.rng.choice([1, 1, 1, 2, 3]))
        code, text = await self.say("MAIL FROM:<someone@elsewhere.example>")
        if code != 250:
            return self.log.write("broken", text=f"MAIL FROM: {text}")
        taken = []
        for typed, accounts in wanted:
            if set(accounts) & set(taken):
                continue  # A@x and a@x are two recipients for Postfix and for Dovecot's LMTP
            with self.log.measured("RCPT"):
                code, text = await self.say(f"RCPT TO:<{typed}>")
            if code == 250:
                taken += accounts
            elif code >= 500:
                self.log.write("wrong", text=f"{typed}: {text}")
            else:
                self.log.write("broken", text=f"{typed}: {text}")
        typed = self.rng.choice(self.plan["refused"])
        with self.log.measured("RCPT refused"):
            code, text = await self.say(f"RCPT TO:<{typed}>")
        if code != 550 and not 400 <= code < 500:
            self.log.write("wrong", text=f"{typed} is nobody: {text}")
        if not taken:
            await self.say("RSET")
            return None
        start = time.monotonic()
        code, text = await self.say("DATA")
        if code == 354:
            code, text = await self.say(f"Subject: {token}\r\nX-Sent: {time.time():.3f}\r\n\r\n{'Load. ' * 50}\r\n.")
        if code == 250:
            self.log.write("DATA", time.monotonic() - start, token=token, accounts=sorted(taken))
        else:
            self.log.write("broken" if code < 500 else "wrong", text=f"DATA: {text}")
        return None

    async def connection(self, end):
        self.reader, self.writer = await asyncio.wait_for(
            asyncio.open_connection(self.rng.choice(self.plan["smtp"]), 25,
                                    local_addr=(self.plan["client"], 0)), TIMEOUT)
        try:
            for wanted, text in ((220, None), (250, "EHLO client.example")):
                code, said = await (self.say(text) if text else self.reply())
                if code != wanted:
                    raise OSError(said)
            for _ in range(self.rng.randrange(3, 20)):
                if time.time() > end:
                    break
                await self.message()
                await pause(self.rng, self.plan["pause"], end)
            await self.say("QUIT")
        finally:
            self.writer.close()

    async def run(self, end):
        await asyncio.sleep(self.rng.uniform(0, self.plan["pause"] * 2))
        while time.time() < end:
            try:
                await self.connection(end)
            except (OSError, EOFError, asyncio.TimeoutError) as problem:
                self.log.write("broken", text=f"SMTP: {problem!r}")
                await asyncio.sleep(1)


def run(kind, count, number, plan, folder, end):
    """A process of `count` readers or senders."""
    log = Log(Path(folder) / f"{kind}-{number}.log", plan["begin"])
    rng = random.Random(f"{plan['seed']}-{kind}-{number}")

    async def everybody():
        people = [Reader(plan, log, random.Random(rng.random())) if kind == "imap" else
                  Sender(plan, log, random.Random(rng.random()), f"{number}n{n}") for n in range(count)]
        await asyncio.gather(*(person.run(end) for person in people))

    asyncio.run(everybody())
    log.file.close()
