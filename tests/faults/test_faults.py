"""One test for each fault. Mail and logins go on before it, in it and after it. Afterwards all mail that was
accepted is in its account once, no login has opened another account, the service is back without anybody's
hand, and the log says what happened in one line, not in a thousand. RESULTS.md has the table."""

import contextlib
import datetime
import imaplib
import itertools
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from homing import HOMINGCTL
from policyd import RELEASE, PolicyClient
from system import PASSWORD, fill, kill, limit, text_of

# Without sanitizers, which want more memory than these tests give.
CTL = Path(RELEASE).resolve().parents[1] / "router" / "homingctl" / "homingctl"
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
    system.assert_no_errors()


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


# Memory, and the size of LMDB's map


@pytest.fixture
def small_again(system):
    """Gives the directory back as it was: what has grown stays so."""
    folder = other_folder(system)
    yield
    starts = system.supervisor.starts
    shutil.rmtree(swap(system, folder))
    wait_until(lambda: system.supervisor.starts > starts)
    system.policyd.wait_until_ready()


def grow(system, **more):
    """directory.mdb and credentials.mdb to twice their first map."""
    file = system.folder / "large"
    file.write_text("".join(json.dumps({"account": f"large{number:05}@client1.com", "home": "/" + "y" * 900,
                                        "password": "{PLAIN}" + "x" * 900}) + "\n"
                            for number in range(24000)))
    return subprocess.run([CTL, "--directory", system.homing.path, "account", "import", file],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, **more)


def memory_of(pid, kind):
    """As /proc says, in bytes."""
    return 1024 * int(re.search(rf"{kind}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def limit_of(pid, name):
    return re.search(rf"{name}\s+(\w+)", Path(f"/proc/{pid}/limits").read_text())[1]


def test_the_map_grows_under_who_reads(system, small_again):
    with system.traffic() as traffic:
        traffic.wait()
        assert grow(system).returncode == 0
        assert (system.homing.path / "directory.mdb").stat().st_size == 32 << 20
        assert (system.homing.path / "credentials.mdb").stat().st_size == 32 << 20
        traffic.wait()
    system.check(traffic)
    system.assert_no_errors()


def test_the_map_may_not_grow(system, small_again):
    """`ulimit -f`, or a quota."""
    with system.traffic() as traffic:
        traffic.wait()
        done = grow(system, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (17 << 20,) * 2))
        assert done.returncode == 74, done
        assert re.search("directory.mdb: .*: File too large: make room and try again; the old data is as it "
                         "was", done.stderr), done.stderr
        assert "large" not in system.homing.ctl("account", "list", "client1.com").stdout
        traffic.wait()
    system.check(traffic)
    system.assert_no_errors()


@pytest.mark.parametrize("who", ["homing-policyd", "dovecot/auth", "dovecot/auth -w"])
def test_the_larger_map_does_not_fit_the_memory(system, small_again, who):
    """As with a `vsz_limit` that is too small. What else would not fit may end Dovecot's process, which is
    started again, without the limit."""
    ours = who == "homing-policyd"
    with system.traffic() as traffic:
        traffic.wait()
        pids = [system.policyd.process.pid] if ours else system.processes(who)
        starts = system.supervisor.starts
        before = {pid: limit_of(pid, "Max address space") for pid in pids}
        for pid in pids:
            limit(pid, **{"as": memory_of(pid, "VmSize") + (4 << 20)})
        assert grow(system).returncode == 0
        said = system.policyd if ours else system.dovecot
        wait_until(lambda: system.said(said, "does not fit the address-space limit"))
        time.sleep(1)
        for pid in pids:
            with contextlib.suppress(OSError, subprocess.CalledProcessError):  # it may have ended
                limit(pid, **{"as": before[pid]})
        traffic.wait()
        assert system.supervisor.starts == starts
    system.check(traffic)
    system.assert_told(said, r"rror: .*\.mdb: .*: the file does not fit the address-space limit of this process "
                       r"\(Dovecot: raise vsz_limit of the service\)", 8)
    assert not system.said(system.dovecot, "signal 11")


def test_the_daemon_has_no_memory_for_more_clients(system):
    """Who is served goes on; who comes is turned away, and comes again."""
    daemon = system.policyd
    with system.traffic() as traffic, contextlib.ExitStack() as clients:
        traffic.wait()
        starts, before = system.supervisor.starts, limit_of(daemon.process.pid, "Max data size")
        limit(daemon.process.pid, data=memory_of(daemon.process.pid, "VmData"))
        turned_away = 0
        for _ in range(1500):
            try:
                client = clients.enter_context(PolicyClient(daemon.policy, timeout=5))
                assert client.ask("info@company.com", helo_name="x" * 4000) == "DUNNO"
            except OSError:
                turned_away += 1
        assert turned_away
        clients.close()
        limit(daemon.process.pid, data=before)
        traffic.wait()
        assert system.supervisor.starts == starts
    system.check(traffic)
    system.assert_told(daemon, "error: .*out of memory", 4)


def test_homingctl_has_no_memory(system):
    """From too little for anything to enough: it works or says why not, and never leaves half."""
    with system.traffic() as traffic:
        traffic.wait()
        outcomes = set()
        for megabytes in range(8, 120, 4):
            done = subprocess.run(
                ["prlimit", f"--as={megabytes << 20}", CTL, "--directory", system.homing.path, "alias", "add",
                 f"memory{megabytes}@company.com", "info@company.com"], capture_output=True, text=True)
            outcomes.add(done.returncode)
            assert done.returncode in (0, 71, 127), done
            assert done.returncode == 0 or len(done.stderr.splitlines()) == 1, done
            known = system.homing.route("address", f"memory{megabytes}@company.com")["result"]
            assert known == ("account" if done.returncode == 0 else "refuse"), done
        assert {0, 71} <= outcomes
        traffic.wait()
    system.check(traffic)
    system.assert_no_errors()


# Places of readers


TAKE_PLACES = """
import ctypes, sys, time
lmdb = ctypes.CDLL("liblmdb.so.0")
env, txn = ctypes.c_void_p(), ctypes.c_void_p()
NOSUBDIR, RDONLY, NOTLS = 0x4000, 0x20000, 0x200000
lmdb.mdb_env_create(ctypes.byref(env))
assert lmdb.mdb_env_set_maxreaders(env, 8192) == 0
assert lmdb.mdb_env_open(env, sys.argv[1].encode(), NOSUBDIR | RDONLY | NOTLS, 0o660) == 0
count = 0
while lmdb.mdb_txn_begin(env, None, RDONLY, ctypes.byref(txn)) == 0:
    count += 1
print(count, flush=True)
time.sleep(1000)
"""


def take_places(path):
    """A process that has all places that were left."""
    process = subprocess.Popen([sys.executable, "-c", TAKE_PLACES, path], stdout=subprocess.PIPE, text=True)
    assert int(process.stdout.readline()) > 8000
    return process


def test_readers_are_killed_until_no_place_is_left(system):
    """More than there are places. Who reads keeps the one that it has; who comes new takes one of the dead."""
    with system.traffic() as traffic:
        for _ in range(3):
            traffic.wait()
            hogs = [take_places(system.homing.path / f"{name}.mdb") for name in ("directory", "credentials")]
            kill(system.wait_for_process("dovecot/auth -w"))
            traffic.wait(20)  # or nobody new was needed
            for hog in hogs:
                hog.kill()
                hog.wait()
            kill(system.wait_for_process("dovecot/auth -w"))
            kill(system.wait_for_process("dovecot/auth"))
            kill(system.policyd.process.pid)
            traffic.wait()
    system.check(traffic)
    assert system.homing.ctl("status").returncode == 0


# Another directory under running processes


def other_folder(system):
    """A copy as homing-directory(5) has it, with lock files and rights."""
    folder = system.directory / "copy"
    folder.mkdir(mode=0o755)
    for path in system.homing.path.glob("*.mdb"):
        subprocess.run(["mdb_copy", "-n", path, folder / path.name], check=True)
        shutil.copystat(path, folder / path.name)
        os.chown(folder / path.name, path.stat().st_uid, path.stat().st_gid)
    subprocess.run([HOMINGCTL, "--directory", folder, "status"], check=True, capture_output=True)
    return folder


def swap(system, folder):
    """By renaming, as mv does."""
    old = system.directory / "old"
    system.homing.path.rename(old)
    folder.rename(system.homing.path)
    return old


def opens(system, name):
    """Whose account it is, or None if it is refused for good. Whoever is not answered comes again."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            return system.dovecot.imap_owner(name, PASSWORD, ip=system.company)
        except imaplib.IMAP4.error as problem:
            if "AUTHENTICATIONFAILED" in text_of(problem):
                return None
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{name}: refused for now, for ever")


def reaches(system, address):
    """Is mail for it taken?"""
    for _ in range(50):
        code, text = system.try_recipient(address)
        if code < 400 or code >= 500:
            return code == 250
        time.sleep(0.1)
    raise AssertionError(f"{address}: {code} {text}")


def wait_until(question, seconds=15):
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end, question
        time.sleep(0.05)


def test_a_backup_is_put_in_the_directorys_place(system):
    """Dovecot is not started again, and its processes follow all the same."""
    folder = other_folder(system)
    system.ctl("alias", "add", "later@company.com", "info@client1.com")
    assert opens(system, "later@company.com") == "info@client1.com"
    with system.traffic() as traffic:
        traffic.wait()
        starts = system.supervisor.starts
        old = swap(system, folder)
        wait_until(lambda: system.supervisor.starts > starts)
        traffic.wait()
        assert opens(system, "later@company.com") is None
        assert not reaches(system, "later@company.com")
        system.ctl("alias", "add", "newer@company.com", "info@client2.com")
        assert opens(system, "newer@company.com") == "info@client2.com"
        assert reaches(system, "newer@company.com")
        traffic.wait()
    shutil.rmtree(old)
    system.check(traffic)
    system.assert_told(system.policyd, "another folder was put there, which this process may not open: it "
                       "has to be started again", 1)
    system.assert_told(system.policyd, "ended, status=75; starting it again", 1)


def test_the_directory_is_deleted_and_another_one_made(system):
    """While there is none, everything waits. The new one is made elsewhere: what were only half of it would
    refuse mail for good."""
    with system.traffic() as traffic:
        traffic.wait()
        folder = other_folder(system)
        shutil.rmtree(system.homing.path)
        wait_until(lambda: system.said(system.policyd, "nothing can be looked up"))
        sent, logins = traffic.sent, traffic.logins
        time.sleep(1)
        assert traffic.sent <= sent + 2 and traffic.logins <= logins + 2
        folder.rename(system.homing.path)
        traffic.wait()
    system.check(traffic)
    system.assert_told(system.policyd, "directory.mdb: .*: no such file: `homingctl apply FILE` makes a "
                       "directory; .*; requests get a temporary failure until that is mended", 1)
    told = system.assert_told(system.dovecot, r"Error: .*refused for now: .*\.mdb: .*: no such file", 8)
    assert len(told) >= 1


def test_a_file_of_the_directory_is_deleted_and_made_again(system):
    """The accounts are added before anybody may ask."""
    with system.traffic() as traffic:
        traffic.wait()
        folder = other_folder(system)
        (system.homing.path / "directory.mdb").unlink()
        (system.homing.path / "directory.mdb-lock").unlink()
        wait_until(lambda: system.said(system.policyd, "nothing can be looked up"))
        time.sleep(0.5)
        for name in ("directory.mdb-lock", "directory.mdb"):
            (folder / name).rename(system.homing.path / name)
        traffic.wait()
    shutil.rmtree(folder)
    system.check(traffic)
    system.assert_told(system.policyd, "directory.mdb: .*: no such file: `homingctl apply FILE`", 2)


def test_the_lock_files_are_deleted(system):
    """Who has the directory open goes on; a new process waits for `homingctl status`, which makes them again;
    and all take these then, so that changes are seen."""
    with system.traffic() as traffic:
        for turn in range(3):
            traffic.wait()
            for path in system.homing.path.glob("*-lock"):
                path.unlink()
            sent = traffic.sent
            wait_until(lambda: traffic.sent > sent + 5)  # mail does not wait
            kill(system.wait_for_process("dovecot/auth -w"))
            wait_until(lambda: len(system.said(system.policyd, "the lock file is missing")) == turn + 1)
            system.homing.ctl("status")
            assert len(list(system.homing.path.glob("*-lock"))) == 3
            wait_until(lambda: len(system.said(system.policyd, "lock file is there again")) == turn + 1)
            traffic.wait()
            system.homing.ctl("alias", "add", f"unlocked{turn}@company.com", "info@client2.com")
            assert opens(system, f"unlocked{turn}@company.com") == "info@client2.com"
            assert reaches(system, f"unlocked{turn}@company.com")
    system.check(traffic)
    system.assert_told(system.policyd, "directory.mdb-lock: the lock file is missing: who has the directory "
                       "open goes on, nobody else can open it: run `homingctl status` as root", 3)
    system.homing.ctl("verify")


def test_the_lock_file_is_deleted_while_homingctl_writes(system):
    """The next one waits for its turn, though it has another lock file, and nothing is lost."""
    with system.traffic() as traffic:
        traffic.wait()
        first = stopped_in_commit(system, "alias", "add", "first@company.com", "info@client1.com")
        try:
            (system.homing.path / "directory.mdb-lock").unlink()
            second = subprocess.Popen(
                [HOMINGCTL, "--directory", str(system.homing.path), "alias", "add", "second@company.com",
                 "info@client2.com"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            time.sleep(1)
            assert second.poll() is None
        finally:
            os.kill(first.pid, signal.SIGCONT)
        assert (first.wait(20), second.wait(20)) == (0, 0)
        for name, account in (("first", "info@client1.com"), ("second", "info@client2.com")):
            assert opens(system, f"{name}@company.com") == account
            assert reaches(system, f"{name}@company.com")
        traffic.wait()
    system.check(traffic)
    system.homing.ctl("verify")


# Started again


ORDERS = list(itertools.permutations(["dovecot", "postfix", "policyd"]))
# Each order in one of two ways, or with HOMING_TEST_FAULTS=all in both.
WAYS = [(order, way) for number, order in enumerate(ORDERS) for way in ("one by one", "all at once")
        if os.environ.get("HOMING_TEST_FAULTS") == "all" or (number % 2 == 0) == (way == "one by one")]


@pytest.mark.parametrize("order, way", WAYS, ids=["-".join([*order, way]) for order, way in WAYS])
def test_all_are_started_again(system, order, way):
    """The daemon's sockets are systemd's, and stay. Dovecot that is stopped answers `421 Shutting down` for a
    message that it has kept, so that Postfix brings it again."""
    parts = [getattr(system, name) for name in order]
    with system.traffic() as traffic:
        traffic.wait()
        if way == "one by one":
            for part in parts:
                system.stop_part(part)
                system.start_part(part)
        else:
            for part in parts:
                system.stop_part(part)
            for part in parts:
                system.start_part(part)
        traffic.wait()
    system.check(traffic, doubles=True)
    system.assert_no_errors()


# The clock


def ahead(system):
    """Seconds, by which Dovecot's log is."""
    last = system.dovecot.log().splitlines()[-1][:15]
    now = datetime.datetime.now()
    then = datetime.datetime.strptime(f"{now.year} {last}", "%Y %b %d %H:%M:%S")
    if abs((then - now).days) > 180:
        then = then.replace(year=now.year + (1 if then < now else -1))
    return (then - now).total_seconds()


@pytest.mark.parametrize("seconds", [30 * 86400, -2 * 3600, 3])
def test_the_clock_jumps(shimmed, seconds):
    """Dovecot 2.3 ends lmtp processes whose clock goes back, in the middle of a delivery, and lets others wait:
    that is its own. What is told to Homing is seen at once, before and after."""
    with shimmed.traffic() as traffic:
        traffic.wait()
        name = f"clock{abs(seconds)}{'ab'[seconds > 0]}@company.com"
        assert opens(shimmed, name) is None and not reaches(shimmed, name)
        shimmed.set_shim(clock_offset=seconds)
        traffic.wait(60)
        assert abs(ahead(shimmed) - seconds) < 3
        shimmed.ctl("alias", "add", name, "info@client1.com")
        assert opens(shimmed, name) == "info@client1.com" and reaches(shimmed, name)
        shimmed.set_shim()
        traffic.wait(60)
        shimmed.ctl("alias", "delete", name)
        assert opens(shimmed, name) is None and not reaches(shimmed, name)
        traffic.wait()
    shimmed.check(traffic, doubles=True)
    shimmed.assert_no_errors()


# A slow disk


def test_the_disk_is_slow(shimmed):
    """Each write that has to be on the disk takes a third of a second, homingctl's and that of mail. Who reads
    the directory waits for none of it."""
    with shimmed.traffic() as traffic:
        traffic.wait()
        shimmed.set_shim(disk_delay=300)
        environment = {**os.environ, **shimmed.shim_environment()}
        begun = time.monotonic()
        writer = subprocess.Popen([CTL, "--directory", shimmed.homing.path, "alias", "add", "slow@company.com",
                                   "info@client2.com"], env=environment)
        answers = []
        while writer.poll() is None:
            with PolicyClient(shimmed.policyd.policy) as client:
                asked = time.monotonic()
                assert client.ask("info@company.com") == "DUNNO"
                answers.append(time.monotonic() - asked)
        assert writer.returncode == 0 and time.monotonic() - begun > 0.6
        assert sorted(answers)[len(answers) // 2] < 0.1
        assert opens(shimmed, "slow@company.com") == "info@client2.com"
        traffic.wait(30)
        shimmed.set_shim()
    shimmed.check(traffic)
    shimmed.assert_no_errors()


# A read-only disk


@pytest.fixture
def disk(system):
    """The directory on a disk of its own, an ext4 in a file. As on a real one, an error of it makes it
    read-only, whoever has files open."""
    image = system.folder / "image"
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    folder = other_folder(system)
    mounted = system.directory / "mounted"
    mounted.mkdir()
    if subprocess.run(["mount", "-o", "loop", image, mounted], capture_output=True).returncode != 0:
        shutil.rmtree(folder)
        mounted.rmdir()
        pytest.skip("no loop device can be mounted here")
    starts = system.supervisor.starts
    subprocess.run(f"cp -a --sparse=always {folder}/. {mounted}/ && chmod 755 {mounted} && "
                   f"mount --move {mounted} {system.homing.path}", shell=True, check=True)
    shutil.rmtree(folder)
    mounted.rmdir()
    wait_until(lambda: system.supervisor.starts > starts)
    system.policyd.wait_until_ready()
    system.begin()
    yield image
    starts = system.supervisor.starts
    if subprocess.run(["umount", "-l", system.homing.path], capture_output=True).returncode == 0:
        wait_until(lambda: system.supervisor.starts > starts)
        system.policyd.wait_until_ready()


def test_the_disk_of_the_directory_becomes_read_only(system, disk):
    """Reading goes on, also in processes that come new; homingctl says why it cannot write. Only a new
    homing-policyd cannot know that nobody writes, and lets mail wait."""
    with system.traffic() as traffic:
        traffic.wait()
        subprocess.run(["mount", "-o", "remount,abort", system.homing.path], check=True)
        traffic.wait()
        for arguments in (["alias", "add", "never@company.com", "info@company.com"],
                          ["apply", str(system.homing.json)]):
            done = system.homing.ctl(*arguments, check=False)
            assert done.returncode != 0 and len(done.stderr.splitlines()) == 1, done
            assert re.search("directory.mdb.*: Read-only file system", done.stderr), done
        assert system.homing.route("address", "sales@company.com")["account"] == "info@company.com"
        assert system.homing.ctl("status").returncode == 0
        for name in ("dovecot/auth -w", "dovecot/auth"):
            kill(system.wait_for_process(name))
            traffic.wait()
        kill(system.policyd.process.pid)
        wait_until(lambda: system.said(system.policyd, "nothing can be looked up: .*Read-only file system"))
        # The disk is mended: here, the one below it.
        starts = system.supervisor.starts
        subprocess.run(["umount", "-l", system.homing.path], check=True)
        wait_until(lambda: system.supervisor.starts > starts)
        traffic.wait()
    system.check(traffic)
    system.assert_no_errors("another folder was put there|directory.mdb: open: Permission denied|Read-only")
    system.assert_told(system.policyd, "nothing can be looked up: .*directory.mdb-lock: .*: Read-only file system", 1)
