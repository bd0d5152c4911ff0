"""A session that looks at its rights in the very moment of a commit: what it then learns is of before, and
must not be kept for what is after."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from homing import HOMINGCTL
from sharing import World, quote

STOP = Path(HOMINGCTL).resolve().parents[2] / "tests" / "libstop-in-commit.so"
OWNER, OTHER = "info@client1.com", "bob@client2.com"


def is_stopped(process):
    return Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def start_stopped(world, *arguments):
    """homingctl, stopped in its commit."""
    process = subprocess.Popen(
        [HOMINGCTL, "--directory", str(world.homing.path), *arguments],
        env={**os.environ, "LD_PRELOAD": str(STOP),
             # a build with sanitizers wants to be the first otherwise
             "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"},
        stdout=subprocess.DEVNULL)
    for _ in range(200):
        if is_stopped(process):
            return process
        time.sleep(0.05)
    process.kill()
    raise AssertionError("it does not stop")


@pytest.mark.skipif(not STOP.exists(), reason="tests/e2e/stop-in-commit.c is not built")
def test_rights_that_were_read_in_the_midst_of_a_commit_are_not_kept(place):
    world = World(place, "homing")
    for name in (OWNER, OTHER):
        world.account(name)
    box = world.name("Box", OWNER)
    with world.server, world.session(OWNER) as owner, world.session(OTHER) as other:
        owner.ok("CREATE", quote("Box"))
        assert other.rights(box) is None and box not in other.names()
        writer = start_stopped(world, "share", "grant", OWNER, "Box", OTHER, "lr")
        try:
            for _ in range(3):  # the first one is kept for the next
                assert other.rights(box) is None and box not in other.names()
        finally:
            os.kill(writer.pid, signal.SIGCONT)
        assert writer.wait(30) == 0
        assert other.rights(box) == "lr" and box in other.names()
        writer = start_stopped(world, "share", "revoke", OWNER, "Box", OTHER)
        try:
            assert other.rights(box) == "lr" and box in other.names()
        finally:
            os.kill(writer.pid, signal.SIGCONT)
        assert writer.wait(30) == 0
        assert other.rights(box) is None and box not in other.names()
