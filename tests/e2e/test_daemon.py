"""homing-policyd as a process: how it starts, whom it becomes, what it tells systemd, how it ends.
What it answers is in test_policyd.py."""

import contextlib
import grp
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

import homing
from policyd import PROGRAM, SANITIZED, MapClient, Policyd, PolicyClient, connect, listen

KNOWN = "info@company.com"


def run(*arguments, **more):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=30,
                          stdin=subprocess.DEVNULL, **more)


def make(place, story, **options):
    return Policyd(place / "policyd", story.path, **options)


# The command line


@pytest.mark.parametrize("arguments, text", [
    ([], "nowhere to listen"),
    (["--policy"], "requires an argument"),
    (["--policy", "/run/policy"], "want unix:/PATH or inet:HOST:PORT"),
    (["--policy", "unix:policy"], "the path must begin with a /"),
    (["--policy", "unix:/" + "x" * 200], "the path is too long"),
    (["--map", "inet:127.0.0.1"], "want inet:HOST:PORT"),
    (["--map", "inet:::1:10025"], "want inet:HOST:PORT"),
    (["--map", "inet:[]:10025"], "want inet:HOST:PORT"),
    (["--map", "inet:127.0.0.1:0"], "want inet:HOST:PORT"),
    (["--map", "inet:127.0.0.1:65536"], "want inet:HOST:PORT"),
    (["--map", "inet:127.0.0.1:smtp"], "want inet:HOST:PORT"),
    (["--workers", "0"], "want a number from 1 to 64"),
    (["--workers", "2x"], "want a number from 1 to 64"),
    (["--max-connections", "-1"], "want a number from 1"),
    (["--socket-mode", "0999"], "no mode"),
    (["--socket-mode", "1777"], "no mode"),
    (["--trusted", "everybody"], "--trusted: \"everybody\""),
    (["--trusted", "192.0.2.1/24"], "--trusted: \"192.0.2.1/24\""),
    (["--user", "root"], "never runs as root"),
    (["--user", "0"], "never runs as root"),
    (["--no-such-option"], "unrecognized option"),
    (["policy"], "no arguments but options"),
])
def test_mistakes_on_the_command_line_are_told_with_64(arguments, text):
    result = run(*arguments)
    assert result.returncode == 64, result.stderr
    assert result.stderr.startswith("homing-policyd: ") and text in result.stderr, result.stderr


def test_help_and_version():
    text = run("--help")
    assert text.returncode == 0 and not text.stderr
    for option in ("--policy", "--map", "--metrics", "--directory", "--workers", "--userdb",
                   "--socket-mode", "--socket-group", "--trusted", "--user", "--max-connections",
                   "--dry-run", "--foreground", "--verbose", "--help", "--version"):
        assert option in text.stdout
    version = run("-V")
    assert version.returncode == 0 and re.fullmatch(r"homing-policyd [0-9.]+\n", version.stdout)


def test_a_user_that_does_not_exist_is_told_with_78(place):
    result = run("--foreground", "--user", "no-such-user", "--policy", f"unix:{place}/policy")
    assert result.returncode == 78 and "no user no-such-user" in result.stderr
    assert not (place / "policy").exists()


@pytest.mark.skipif(SANITIZED, reason="a build with sanitizers has no Landlock")
def test_a_file_in_place_of_the_folder_is_told(place):
    result = run("--foreground", "--user", "dovecot", "--directory", "/etc/passwd", "--policy",
                 f"unix:{place}/policy")
    assert result.returncode == 71
    assert "--directory /etc/passwd: not a folder" in result.stderr


# Endpoints


def test_a_socket_on_which_somebody_answers_is_left_alone(place):
    path = place / "policy"
    with contextlib.closing(listen(path)):
        result = run("--foreground", "--user", "dovecot", "--policy", f"unix:{path}")
        assert result.returncode == 69 and "another process listens" in result.stderr
        assert stat.S_ISSOCK(path.stat().st_mode)
        connect(path).close()


def test_a_file_that_is_no_socket_is_left_alone(place):
    path = place / "policy"
    path.write_text("precious")
    result = run("--foreground", "--user", "dovecot", "--policy", f"unix:{path}")
    assert result.returncode == 69 and "no socket" in result.stderr
    assert path.read_text() == "precious"


def test_a_port_that_is_taken_and_a_folder_that_is_missing_are_named(place):
    with contextlib.closing(listen(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        result = run("--foreground", "--user", "dovecot", "--map", f"inet:127.0.0.1:{port}")
        assert result.returncode == 69 and f"inet:127.0.0.1:{port}: " in result.stderr
    result = run("--foreground", "--user", "dovecot", "--map", f"unix:{place}/none/map")
    assert result.returncode == 69 and "make its folder first" in result.stderr


def test_a_start_that_fails_leaves_no_socket(place):
    result = run("--foreground", "--user", "dovecot", "--policy", f"unix:{place}/policy",
                 "--map", f"unix:{place}/none/map")
    assert result.returncode == 69 and not (place / "policy").exists()
    result = run("--foreground", "--user", "dovecot", "--policy", f"unix:{place}/policy",
                 "--socket-group", "no-such-group")
    assert result.returncode == 69 and "no group no-such-group" in result.stderr
    assert not (place / "policy").exists()


def test_the_socket_of_a_dead_daemon_is_replaced(place, story):
    for _ in range(3):
        daemon = make(place, story).start()
        with PolicyClient(daemon.policy) as client:
            assert client.ask(KNOWN) == "DUNNO"
        daemon.kill()
        assert daemon.policy.exists()


def test_unix_sockets_have_the_mode_and_the_group(place, story):
    with make(place, story, socket_mode="0620", socket_group="dovecot") as daemon:
        status = daemon.policy.stat()
        assert stat.S_IMODE(status.st_mode) == 0o620
        assert status.st_gid == grp.getgrnam("dovecot").gr_gid


def test_all_addresses_of_both_families(place, story):
    port = socket.create_server(("127.0.0.1", 0))
    number = port.getsockname()[1]
    port.close()
    with make(place, story, map=f"inet:*:{number}"):
        for address in (("127.0.0.1", number), ("::1", number)):
            with contextlib.suppress(OSError) if address[0] == "::1" else contextlib.nullcontext():
                with MapClient(address) as client:
                    assert client.ask("mailbox", KNOWN)[0] == "OK"


def test_inherited_sockets_need_a_name_that_is_known(place):
    with contextlib.closing(listen(place / "policy")) as server:
        environment = dict(os.environ, LISTEN_FDS="1", LISTEN_FDNAMES="smtp")
        command = f'exec 3<&{server.fileno()}; LISTEN_PID=$$ exec "$0" "$@"'
        result = subprocess.run(["bash", "-c", command, PROGRAM, "--foreground", "--user", "dovecot"],
                                env=environment, pass_fds=[server.fileno()], capture_output=True,
                                text=True, timeout=20)
        assert result.returncode == 78 and "FileDescriptorName" in result.stderr, result.stderr
        environment["LISTEN_PID"] = "1"  # somebody else's
        result = subprocess.run([PROGRAM, "--foreground"], env=environment, capture_output=True,
                                text=True, timeout=20)
        assert result.returncode == 64 and "nowhere to listen" in result.stderr


# What it becomes


def process_status(pid):
    return dict(re.findall(r"(\w+):\s*(.*)", Path(f"/proc/{pid}/status").read_text()))


def test_nothing_is_left_of_root(place, story):
    with make(place, story, workers=2) as daemon:
        status = process_status(daemon.process.pid)
        assert "0" not in status["Uid"].split() and "0" not in status["Gid"].split()
        assert "0" not in status["Groups"].split()
        assert status["NoNewPrivs"] == "1"
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[capabilities], 16) == 0
        limits = Path(f"/proc/{daemon.process.pid}/limits").read_text()
        assert re.search(r"Max core file size\s+0\s+0", limits)
        if not SANITIZED:
            for task in Path(f"/proc/{daemon.process.pid}/task").iterdir():
                assert "Seccomp:\t2" in (task / "status").read_text()
            assert Path(f"/proc/{daemon.process.pid}/fd").stat().st_uid == 0  # not dumpable


def test_the_sandbox_holds_in_the_build_without_sanitizers():
    """The unit tests run with sanitizers, which leave no room for a sandbox."""
    build = Path(PROGRAM).resolve().parents[1]
    for test in (build / "tests/test_sandbox", build.parent / "release/tests/test_sandbox"):
        if test.exists() and "asan" not in subprocess.run(["ldd", test], capture_output=True,
                                                          text=True).stdout:
            result = subprocess.run([test], capture_output=True, text=True, timeout=60)
            assert result.returncode == 0, result.stdout + result.stderr
            return
    pytest.skip("there is no build without sanitizers beside this one")


# Foreground, background, systemd


def processes_of(word):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(word).encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def is_running(pid):
    """A process that ended may wait for ever for a parent that looks: what is the first process here
    need not be an init."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid, seconds=15):
    end = time.monotonic() + seconds
    while is_running(pid):
        assert time.monotonic() < end, f"{pid} is still there"
        time.sleep(0.05)


def test_in_the_background_it_returns_once_it_answers(place, story):
    path = place / "policy"
    result = run("--user", "dovecot", "--directory", story.path, "--policy", f"unix:{path}", cwd="/tmp")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    with PolicyClient(path) as client:
        assert client.ask(KNOWN) == "DUNNO"
    [pid] = processes_of(path)
    assert os.getsid(pid) == pid and os.readlink(f"/proc/{pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
    os.kill(pid, signal.SIGTERM)
    wait_until_gone(pid)


def test_a_relative_directory_is_the_starters(place, story):
    path = place / "policy"
    folder = Path(story.path)
    assert run("--user", "dovecot", "--directory", folder.name, "--policy", f"unix:{path}",
               cwd=folder.parent).returncode == 0
    with PolicyClient(path) as client:
        assert client.ask(KNOWN) == "DUNNO"
    [pid] = processes_of(path)
    os.kill(pid, signal.SIGTERM)
    wait_until_gone(pid)


def test_what_keeps_it_from_the_background_is_told_to_the_starter(place):
    result = run("--user", "dovecot", "--policy", f"unix:{place}/none/policy")
    assert result.returncode == 69 and "make its folder first" in result.stderr
    assert not processes_of(place / "none/policy")


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_is_told(place, story, kind):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        name = str(place / "notify") if kind == "path" else f"\0homing-test-{os.getpid()}"
        systemd.bind(name)
        systemd.settimeout(20)
        with make(place, story, environment={"NOTIFY_SOCKET": name.replace("\0", "@")}) as daemon:
            assert b"READY=1" in systemd.recv(4096).split(b"\n")
            with PolicyClient(daemon.policy) as client:
                assert client.ask(KNOWN) == "DUNNO"
            assert daemon.stop() == 0
            assert b"STOPPING=1" in systemd.recv(4096).split(b"\n")


# The directory


def test_a_change_of_the_directory_is_one_line(place):
    own = homing.tell_story(place / "directory")
    with make(place, own) as daemon:
        before = daemon.metrics()["homing_policyd_directory_sequence"]
        own.ctl("alias", "add", "new@company.com", "info@company.com")
        daemon.wait_for_log(f"sequence={before + 1:.0f}: changed, was {before:.0f}")
        assert daemon.metrics()["homing_policyd_directory_sequence"] == before + 1


@pytest.mark.skipif(SANITIZED, reason="a build with sanitizers has no Landlock")
@pytest.mark.parametrize("systemd", [True, False])
def test_another_folder_in_its_place_is_for_the_next_process(place, systemd):
    own = homing.tell_story(place / "directory")
    other = homing.tell_story(place / "other")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(place / "notify"))
        environment = {"NOTIFY_SOCKET": str(place / "notify")} if systemd else {}
        daemon = make(place, own, environment=environment).start()
        own.path.rename(place / "directory" / "away")
        other.path.rename(own.path)
        daemon.wait_for_log("another folder was put there")
        if systemd:
            assert daemon.process.wait(10) == 75
            daemon.start()
        else:
            with PolicyClient(daemon.policy) as client:
                assert client.ask(KNOWN).startswith("451 4.3.0 ")
            assert daemon.stop() == 0
            daemon.start()
        with PolicyClient(daemon.policy) as client:
            assert client.ask(KNOWN) == "DUNNO"
        assert daemon.stop() == 0


# Limits


def limited(soft, hard):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return limit


def test_the_limit_of_open_files_is_raised_as_far_as_it_goes(place):
    command = [PROGRAM, "--foreground", "--user", "dovecot", "--policy", f"unix:{place}/policy",
               "--directory", str(place / "none"), "--max-connections", "1000", "--workers", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True,
                          preexec_fn=limited(100, 4000)) as process:
        try:
            lines = iter(process.stderr.readline, "")
            assert "max_connections=1000" in next(line for line in lines if "started" in line)
            limits = Path(f"/proc/{process.pid}/limits").read_text()
            assert int(re.search(r"Max open files\s+(\d+)", limits)[1]) > 1100
        finally:
            process.terminate()
        process.stderr.read()
        assert process.wait(20) == 0


def lower_limit(pid, limit):
    """Of a running process, as its own user: root may lack the capability."""
    status = process_status(pid)
    uid, gid = (int(status[kind].split()[0]) for kind in ("Uid", "Gid"))
    return subprocess.run(["prlimit", "--pid", str(pid), f"--nofile={limit}"], user=uid, group=gid,
                          extra_groups=[], capture_output=True).returncode == 0


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_descriptors_it_waits_and_does_not_spin(place, story):
    with make(place, story, workers=1) as daemon, contextlib.ExitStack() as clients:
        pid = daemon.process.pid
        if not lower_limit(pid, f"{daemon.descriptors() + 5}:"):
            pytest.skip("prlimit may not lower the limit of another process here")
        for _ in range(20):
            clients.enter_context(PolicyClient(daemon.policy, timeout=5))
        daemon.wait_for_log("no connection can be accepted")
        before = cpu_seconds(pid)
        time.sleep(1)
        assert cpu_seconds(pid) - before < 0.3
        assert daemon.log().count("no connection can be accepted") == 1
        clients.close()
        with PolicyClient(daemon.policy) as client:
            assert client.ask(KNOWN) == "DUNNO"


# The end


def test_a_second_sigterm_ends_it_at_once(place):
    own = homing.Homing(place / "directory")
    own.apply({"main_domain": "company.com", "domains": {"company.com": {"accounts": "dovecot"}}})
    with contextlib.closing(listen(place / "auth-userdb")) as userdb:
        (place / "auth-userdb").chmod(0o666)
        daemon = make(place, own, userdb=place / "auth-userdb").start()
        with PolicyClient(daemon.policy) as client:
            client.send(client.request(KNOWN))
            accepted, _ = userdb.accept()  # and never answers
            daemon.signal(signal.SIGTERM)
            daemon.wait_for_log("stopping")
            time.sleep(0.3)
            assert daemon.alive()
            begin = time.monotonic()
            daemon.signal(signal.SIGTERM)
            assert daemon.process.wait(10) == 0
            assert time.monotonic() - begin < 1
            accepted.close()


@pytest.mark.parametrize("what", ["the answer", "a second sigterm", "some seconds"])
def test_at_the_end_it_waits_for_what_dovecot_owes_until(what, place):
    own = homing.Homing(place / "directory")
    own.apply({"main_domain": "company.com", "domains": {"company.com": {"accounts": "dovecot"}}})
    with contextlib.closing(listen(place / "auth-userdb")) as userdb:
        (place / "auth-userdb").chmod(0o666)
        daemon = make(place, own, userdb=place / "auth-userdb").start()
        with PolicyClient(daemon.policy) as client:
            client.send(client.request(KNOWN))
            dovecot, _ = userdb.accept()
            dovecot.sendall(b"VERSION\t1\t1\nSPID\t1\n")
            question = b""
            while question.count(b"\n") < 2:
                question += dovecot.recv(4096)
            begin = time.monotonic()
            daemon.signal(signal.SIGTERM)
            assert client.reply().startswith("451 4.3.0 ")
            assert client.closed()
        time.sleep(0.5)
        assert daemon.alive()
        if what == "the answer":
            number = re.search(rb"USER\t(\d+)", question)[1]
            dovecot.sendall(b"NOTFOUND\t" + number + b"\n")
        elif what == "a second sigterm":
            daemon.signal(signal.SIGTERM)
        assert daemon.process.wait(15) == 0
        took = time.monotonic() - begin
        assert 7 < took < 9.9 if what == "some seconds" else took < 7.5
        dovecot.close()


def test_sigint_is_sigterm_and_sigpipe_nothing(place, story):
    with make(place, story) as daemon:
        daemon.signal(signal.SIGPIPE)
        with PolicyClient(daemon.policy) as client:
            assert client.ask(KNOWN) == "DUNNO"
        daemon.signal(signal.SIGINT)
        assert daemon.process.wait(10) == 0
        assert re.search(r"stopping: .*\n.*stopped", daemon.log())


# The metrics' own listener


def test_metrics_take_few_clients_and_little_time(place, story):
    with make(place, story) as daemon:
        time.sleep(0.5)  # for the client that waited until the daemon was there to be gone
        with contextlib.ExitStack() as clients:
            idle = [clients.enter_context(contextlib.closing(connect(daemon.metrics_tcp)))
                    for _ in range(64)]
            time.sleep(0.3)
            with contextlib.closing(connect(daemon.metrics_tcp)) as one_more:
                one_more.settimeout(5)
                with contextlib.suppress(ConnectionError):
                    assert one_more.recv(1) == b""
            begin = time.monotonic()
            idle[0].settimeout(15)
            assert idle[0].recv(1) == b""
            assert 7 < time.monotonic() - begin < 13
        assert daemon.metrics()["homing_policyd_directory_sequence"] > 0


def test_metrics_come_to_a_client_that_sends_a_byte_at_a_time(place, story):
    with make(place, story) as daemon, contextlib.closing(connect(daemon.metrics_tcp)) as client:
        for byte in b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n":
            client.sendall(bytes([byte]))
        reply = b""
        while more := client.recv(65536):
            reply += more
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n") and b"homing_policyd_" in reply


def test_metrics_cut_a_request_that_does_not_end(place, story):
    with make(place, story) as daemon, contextlib.closing(connect(daemon.metrics_tcp)) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000)
            reply = client.recv(65536)
            assert reply.startswith(b"HTTP/1.1 4"), reply
        assert daemon.metrics()
