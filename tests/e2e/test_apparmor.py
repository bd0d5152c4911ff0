"""AppArmor profiles, without a kernel that has AppArmor: the parser takes them, and they allow every file
that strace sees our programs and Dovecot's processes open."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

import homing
import sharing
from policyd import PROGRAM, RELEASE, SANITIZED, PolicyClient, Policyd, listen

BUILT = Path(RELEASE).resolve().parents[1] / "packaging"
SYSTEM = Path("/etc/apparmor.d")
EXTRA = Path("/usr/share/apparmor/extra-profiles")
DOVECOT = sorted(EXTRA.glob("usr.lib.dovecot.*")) + [EXTRA / "usr.sbin.dovecot"]

STRACE = "-f -qq -s 400 -e trace=%file,%network"

pytestmark = [
    pytest.mark.skipif(not shutil.which("apparmor_parser"), reason="there is no apparmor_parser"),
    pytest.mark.skipif(not (BUILT / "apparmor-dovecot").exists(), reason="this build has no profiles"),
]


@pytest.fixture(scope="module")
def profiles(top):
    """A copy of the system's, with ours where packages put them."""
    place = top / "apparmor.d"
    shutil.copytree(SYSTEM, place, symlinks=True)
    shutil.copy(BUILT / "apparmor-homing-policyd", place / "usr.sbin.homing-policyd")
    piece = place / "abstractions" / "dovecot-common.d" / "homing"
    piece.parent.mkdir(exist_ok=True)
    shutil.copy(BUILT / "apparmor-dovecot", piece)
    yield place
    shutil.rmtree(place)


def parse(profiles, path, *arguments):
    return subprocess.run(
        ["apparmor_parser", "--skip-kernel-load", "--skip-cache", "--base", str(profiles),
         "--kernel-features", str(profiles / "abi" / "3.0"), *arguments, str(path)],
        capture_output=True, text=True, timeout=120)


def test_the_parser_takes_the_daemons_profile(profiles):
    result = parse(profiles, profiles / "usr.sbin.homing-policyd", "--Werror")
    assert result.returncode == 0 and not result.stderr, result.stderr


@pytest.mark.skipif(not DOVECOT[0].exists(), reason="there are no profiles of Dovecot here")
def test_dovecots_profiles_take_in_what_homing_adds(profiles):
    with_ours = []
    for path in DOVECOT:
        result = parse(profiles, path)
        assert result.returncode == 0, f"{path}: {result.stderr}"
        if "/var/lib/homing/directory.mdb" in parse(profiles, path, "--preprocess").stdout:
            with_ours.append(path.name.split(".")[-1])
    assert {"auth", "imap", "pop3", "lmtp", "managesieve", "dovecot-lda"} <= set(with_ours)


class Rules:
    """The file rules of a profile, as the parser puts it together from all that it includes."""

    def __init__(self, profiles, path, places):
        """`places`: what stands in a rule, and where it is in this test."""
        text = parse(profiles, path, "--preprocess").stdout
        text = re.sub(r"(?m)^\s*#.*", "", text)
        self.variables = {}
        for name, sign, values in re.findall(r"(?m)^\s*@\{(\w+)\}\s*(\+?=)\s*(.*?)\s*$", text):
            self.variables.setdefault(name, [])
            if sign == "=":
                self.variables[name] = []
            self.variables[name] += [value.strip('"') for value in values.split()]
        self.rules = []
        for match in re.finditer(r"(?m)^\s*(?:owner\s+)?([/@][^\s]*)\s+([rwaklmxiupPCU]+)\s*,", text):
            for path in self.expand(match[1]):
                path = path.replace("//", "/")
                for usual, here in places.items():
                    path = path.replace(usual, str(here))
                self.rules.append((re.compile(self.pattern(path)), set(match[2])))
        assert self.rules, text

    def expand(self, path):
        match = re.search(r"@\{(\w+)\}", path)
        if not match:
            return [path]
        return [more for value in self.variables.get(match[1], ["[^/]+"])
                for more in self.expand(path[:match.start()] + value + path[match.end():])]

    @staticmethod
    def pattern(path):
        out = ""
        for piece in re.findall(r"\*\*|\[[^]]*\]\+?|.", path):
            out += {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|"}.get(
                piece, piece if piece[0] == "[" else re.escape(piece))
        return out + r"\Z"

    def allowed(self, path):
        return set().union(*(rights for pattern, rights in self.rules if pattern.match(path)))


LINE = re.compile(r'(?:\d+\s+)?(open|openat|execve|connect|bind|unlink|unlinkat|mkdir|rename)\((.*)\)\s+= (-?\d+)')


def needed(trace):
    """{path: rights} of all calls in a trace of strace that went well."""
    rights = {}
    for line in trace.read_text(errors="replace").splitlines():
        match = LINE.match(line)
        if not match or match[3].startswith("-") or "O_PATH" in match[2]:
            continue
        call, text = match[1], match[2]
        path = re.search(r'sun_path="([^"]*)"' if call in ("connect", "bind") else r'"([^"]*)"', text)
        if not path or not path[1].startswith("/"):
            continue
        want = rights.setdefault(os.path.realpath(path[1]) if call != "unlink" else path[1], set())
        if call in ("open", "openat"):
            want |= {"r"} if "O_RDONLY" in text else {"w"} if "O_WRONLY" in text else {"r", "w"}
        elif call == "connect":
            want |= {"w"}
        elif call != "execve":
            want |= {"w"}
    return rights


def refused(rules, wanted):
    return {path: "".join(sorted(rights - rules.allowed(path)))
            for path, rights in wanted.items() if rights - rules.allowed(path)}


@contextlib.contextmanager
def traced(pid, trace):
    """All that the process and its children call."""
    with open(trace.with_suffix(".err"), "wb") as errors:
        strace = subprocess.Popen(
            ["strace", *STRACE.split(), "-o", str(trace), "-p", str(pid)], stderr=errors)
    deadline = time.monotonic() + 20
    while "TracerPid:\t0" in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline and strace.poll() is None, trace.with_suffix(".err").read_text()
        time.sleep(0.05)
    try:
        yield
    finally:
        strace.terminate()
        strace.wait()


needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="there is no strace")


@needs_strace
@pytest.mark.skipif(SANITIZED and RELEASE == PROGRAM, reason="sanitizers open more")
def test_the_daemon_opens_nothing_that_its_profile_forbids(profiles, place):
    world = homing.Homing(place / "world")
    config = homing.story(world.vmail)
    config["domains"]["sqlsite.org"]["accounts"] = "dovecot"
    world.apply(config)
    world.account("info@company.com")
    world.readable()
    trace, program = place / "trace", place / "traced"
    # -D: what starts the program is asked to end, and not strace.
    program.write_text(f'#!/bin/sh\nexec strace {STRACE} -D -o {trace} {RELEASE} "$@"\n')
    program.chmod(0o755)
    userdb = place / "auth-userdb"
    with Policyd(place / "daemon", world.path, program=str(program), userdb=userdb) as daemon, \
            listen(userdb) as dovecots, PolicyClient(daemon.policy) as client:
        userdb.chmod(0o666)
        assert client.ask("info@company.com") == "DUNNO"
        daemon.signal(signal.SIGHUP)
        client.send(client.request("somebody@sqlsite.org"))
        dovecots.settimeout(20)
        dovecots.accept()[0].close()
        assert client.reply().startswith("451")
    wanted = needed(trace)
    for path in world.path / "directory.mdb", userdb, daemon.policy, Path("/etc/passwd"):
        assert str(path) in wanted, trace.read_text()[-6000:]
    rules = Rules(profiles, profiles / "usr.sbin.homing-policyd", {
        "/var/lib/homing": world.path, "/var/spool/postfix/homing": place / "daemon",
        "/run/dovecot/auth-userdb": userdb, "/usr/sbin/homing-policyd": Path(RELEASE).resolve()})
    assert refused(rules, wanted) == {}
    for name in "credentials.mdb", "sharing.mdb", "homing.json":
        assert not rules.allowed(f"{world.path}/{name}")


@needs_strace
@pytest.mark.parametrize("service", ["auth", "imap"])
def test_dovecot_opens_no_file_of_ours_that_its_profiles_forbid(profiles, place, service):
    if not (EXTRA / f"usr.lib.dovecot.{service}").exists():
        pytest.skip("there are no profiles of Dovecot here")
    world = sharing.World(place)
    for name in "one@company.com", "two@client1.com":
        world.account(name)
    trace = place / "trace"
    with world.server, traced(world.server.process.pid, trace):
        with world.session("one@company.com") as one:
            one.ok("CREATE", "Box")
            one.ok("SETACL", "Box", "two@client1.com", "lr")
        with world.session("two@client1.com") as two:
            assert world.name("Box", "one@company.com") in two.names()
            two.select(world.name("Box", "one@company.com"))
    wanted = {path: rights for path, rights in needed(trace).items()
              if path.startswith(str(world.homing.path)) or "/modules/" in path}
    for name in "directory.mdb", "credentials.mdb", "sharing.mdb":
        assert f"{world.homing.path}/{name}" in wanted, sorted(wanted)
    assert any("homing" in path for path in wanted if "/modules/" in path), sorted(wanted)
    rules = Rules(profiles, EXTRA / f"usr.lib.dovecot.{service}", {"/var/lib/homing": world.homing.path})
    assert refused(rules, wanted) == {}
