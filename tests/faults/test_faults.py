"""One test for each fault. Mail and logins go on before it, in it and after it. Afterwards all mail that was
accepted is in its account once, no login has opened another account, the service is back without anybody's
hand, and the log says what happened in one line, not in a thousand. RESULTS.md has the table."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from homing import HOMINGCTL
from policyd import PolicyClient
from system import fill, kill, limit

STOP = Path(HOMINGCTL).resolve().parents[2] / "tests" / "libstop-in-commit.so"


# kill -9


def test_the_daemon_is_killed(system):
    """Its workers are threads: who kills one kills it."""
    with system.traffic() as traffic:
        traffic.wait()
        for _ in range(3):
            starts = system.supervisor.starts
            kill(system.policyd.process.pid)
            while system.supervisor.starts == starts:
                time.sleep(0.02)
            traffic.wait()
    system.check(traffic)
    system.assert_told(system.policyd, "ended, status=-9", 3)


@pytest.mark.parametrize("name", ["dovecot/auth", "dovecot/auth -w"])
def test_a_process_of_dovecots_authentication_is_killed(system, name):
    with system.traffic() as traffic:
        traffic.wait()
        for _ in range(3):
            kill(system.wait_for_process(name))
            traffic.wait(20)
    system.check(traffic)
    system.assert_told(system.dovecot, r"service\(auth.*killed with signal 9", 3)


def stopped_in_commit(system, *arguments):
    """homingctl, stopped when it has written its new state and leads nobody to it yet."""
    process = subprocess.Popen(
        [HOMINGCTL, "--directory", str(system.homing.path), *arguments],
        env={**os.environ, "LD_PRELOAD": str(STOP),
             "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stat, end = Path(f"/proc/{process.pid}/stat"), time.monotonic() + 20
    while stat.read_text().rsplit(") ", 1)[1][0] != "T":
        assert time.monotonic() < end and process.poll() is None, "it does not stop"
        time.sleep(0.02)
    return process


def test_homingctl_is_killed_in_the_middle_of_apply(system):
    """Nobody is led to what it had written, and the next apply needs nothing but to be started. What it had
    written may count then: it was whole, and on the disk."""
    config = json.loads(system.homing.json.read_text())
    config["router"].insert(0, {"match": "moved@*", "to": "info@client1.com"})
    new = system.folder / "new.json"
    new.write_text(json.dumps(config))
    with system.traffic() as traffic:
        traffic.wait()
        for _ in range(3):
            process = stopped_in_commit(system, "apply", str(new))
            traffic.wait()
            process.kill()
            process.wait()
            traffic.wait()
            assert system.homing.route("address", "moved@company.com")["result"] == "refuse"
            system.homing.ctl("apply", str(new))
            moved = system.homing.route("address", "moved@company.com")
            assert moved["account"] == "info@client1.com"
            system.homing.ctl("apply", str(system.homing.json))
            traffic.wait()
    system.check(traffic)
    system.assert_no_errors()


def lines_of_accounts(name, count):
    return "".join(json.dumps({"account": f"{name}{number:05}@client1.com",
                               "password": "{PLAIN}" + "x" * 100}) + "\n" for number in range(count))


def test_homingctl_is_killed_in_the_middle_of_an_import(system):
    file, dice = system.folder / "accounts", random.Random(1)
    file.write_text(lines_of_accounts("killed", 6000))
    command = [HOMINGCTL, "--directory", str(system.homing.path), "account", "import", "--replace",
               str(file)]
    with system.traffic() as traffic:
        traffic.wait()
        killed = 0
        for _ in range(8):
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            time.sleep(dice.uniform(0.01, 0.1))
            process.kill()
            killed += process.wait() == -signal.SIGKILL
            here = system.homing.ctl("account", "list", "client1.com").stdout.count("killed")
            assert here in (0, 6000)
        assert killed
        traffic.wait()
        system.homing.ctl("account", "import", "--replace", str(file))
        assert system.homing.ctl("account", "list", "client1.com").stdout.count("killed") == 6000
        traffic.wait()
    system.check(traffic)
    system.assert_no_errors()


# A full disk


def test_the_disk_of_the_directory_is_full(system):
    """Whoever reads notices nothing; homingctl says why it cannot write."""
    file = system.folder / "many"
    file.write_text(lines_of_accounts("full", 2000))
    with system.traffic() as traffic:
        traffic.wait()
        ballast = fill(system.directory)
        kill(system.wait_for_process("dovecot/auth -w"))  # who starts now finds the same
        done = system.homing.ctl("account", "import", str(file), check=False)
        assert done.returncode == 74, done
        assert re.search(r"\.mdb: .*: No space left on device: make room and try again; the old data "
                         "is as it was", done.stderr), done.stderr
        assert done.stderr.count("No space left") == 1
        traffic.wait()
        ballast.unlink()
        system.homing.ctl("account", "import", str(file))
        traffic.wait()
    system.check(traffic)
    system.assert_no_errors("killed with signal 9")


def test_the_disk_of_the_mail_is_full(system):
    """Mail waits in Postfix's queue."""
    with system.traffic() as traffic:
        traffic.wait()
        ballast = fill(system.mail)
        time.sleep(3)
        ballast.unlink()
        traffic.wait()
    system.check(traffic)
    assert system.said(system.postfix, "status=deferred")
    system.assert_told(system.dovecot, r"No space left on device|Not enough disk space", 1000)


def test_the_disk_of_postfixs_queue_is_full(system):
    """Nobody's mail is taken that could not be kept."""
    with system.traffic() as traffic:
        traffic.wait()
        ballast = fill(system.queue)
        sent = traffic.sent
        time.sleep(3)
        assert traffic.sent <= sent + 4
        ballast.unlink()
        traffic.wait(30)
    system.check(traffic)
    system.assert_told(system.postfix, "No space left on device|Insufficient system storage", 1000)


# A full table of descriptors


def replace(path):
    """By a copy of itself."""
    copy = path.with_suffix(".copy")
    subprocess.run(["cp", "--sparse=always", "--preserve=all", path, copy], check=True)
    copy.rename(path)


def test_the_daemon_has_no_descriptor_left(system):
    daemon = system.policyd
    with system.traffic() as traffic, contextlib.ExitStack() as clients:
        traffic.wait()
        before = daemon.descriptors()
        limit(daemon.process.pid, nofile=before + 3)
        for _ in range(10):
            clients.enter_context(PolicyClient(daemon.policy, timeout=5))
        daemon.wait_for_log("no connection can be accepted")
        # And it cannot open a file that takes the place of the one it has.
        directory = system.homing.path / "directory.mdb"
        replace(directory)
        time.sleep(2)
        limit(daemon.process.pid, nofile=4096)
        traffic.wait()
    system.check(traffic)
    system.assert_told(daemon, "no connection can be accepted: Too many open files: it waits and tries "
                       r"again \(raise the limit of open files, or lower --max-connections\)", 1)
    system.assert_told(daemon, "the directory cannot be used: .*directory.mdb: open: Too many open files", 2)


def test_a_worker_of_dovecots_authentication_has_no_descriptor_left(system):
    """It has lost its files, and can open none. (The auth process itself stops accepting connections for good
    when it has none left: net_accept() failed. That is Dovecot's, and starting Dovecot again ends it.)"""
    with system.traffic() as traffic:
        traffic.wait()
        workers = system.processes("dovecot/auth -w")
        for worker in workers:
            limit(worker, nofile=5)
        replace(system.homing.path / "credentials.mdb")
        end = time.monotonic() + 10
        while not system.said(system.dovecot, "Too many open files"):
            assert time.monotonic() < end
            time.sleep(0.1)
        time.sleep(1)
        for worker in workers:
            limit(worker, nofile=1024)
        traffic.wait()
    system.check(traffic)
    system.assert_told(system.dovecot, "Error: .*refused for now: .*credentials.mdb: open: Too many open "
                       "files", 3)
