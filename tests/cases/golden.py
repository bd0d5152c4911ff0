"""Reads the golden cases: routes and names beside this file, whose heads say what is in them."""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
CONFIG = FOLDER / "homing.json"
ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|\{(\d+):([^}]*)\}|(.))", re.S)
LETTERS = {b"0": b"\0", b"t": b"\t", b"n": b"\n", b"r": b"\r", b"s": b" ", b"\\": b"\\", b"e": b""}


@dataclass
class Row:
    line: int
    kind: str
    name: bytes
    local_ip: str | None
    server_name: bytes | None
    expected: list  # words: bytes, the first one in front, the others sorted
    why: str

    @property
    def result(self):
        return self.expected[0].decode()

    @property
    def account(self):
        """The account it leads to; None if it leads elsewhere."""
        if self.result != "account":
            return None
        return next(word for word in self.expected if b"@" in word
                    and not word.startswith((b"detail=", b"mailbox="))).decode()

    @property
    def external(self):
        return b"external" in self.expected

    def __str__(self):
        return f"routes:{self.line}: {self.kind} {self.name[:80]!r} ({self.why})"


def unescape(text):
    def replace(found):
        digits, times, repeated, letter = found.groups()
        if digits:
            return bytes([int(digits, 16)])
        return repeated * int(times) if times else LETTERS[letter]

    return ESCAPE.sub(replace, text)


def words(first, *others):
    """An answer's words in the order in which two answers compare."""
    return [first, *sorted(others)]


def routes():
    rows = []
    for number, line in enumerate((FOLDER / "routes").read_bytes().split(b"\n"), 1):
        if not line or line.startswith(b"#"):
            continue
        kind, name, local_ip, server_name, expected, why = re.split(rb"\t+", line)
        rows.append(Row(number, kind.decode(), unescape(name),
                        None if local_ip == b"-" else local_ip.decode(),
                        None if server_name == b"-" else unescape(server_name),
                        words(*map(unescape, expected.split(b" "))), why.decode()))
    return rows


def names():
    """(kind, name, targets) of each line."""
    found = []
    for line in (FOLDER / "names").read_bytes().splitlines():
        if line.strip() and not line.startswith(b"#"):
            kind, name, *targets = (unescape(word).decode() for word in line.split())
            found.append((kind, name, targets))
    return found
