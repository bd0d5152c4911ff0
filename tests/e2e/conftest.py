"""End-to-end tests: a real Dovecot, private, with our module. tests/run starts them."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import dovecot  # noqa: E402
import homing  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: also on releases of Debian that are not out yet")
    config.addinivalue_line("markers", "alone: measures times, so nothing else may run beside it")
    if os.environ.get("HOMING_PRIVATE") != "1":
        pytest.exit("start these with tests/run, or packaging/with-modules BUILD pytest …: "
                    "they need a mount namespace with our module in Dovecot's folder", 64)


def pytest_report_header(config):
    return f"Dovecot {'.'.join(map(str, dovecot.VERSION))}"


@pytest.fixture(scope="session")
def top():
    """Short, because paths of UNIX sockets have a limit; open, because Dovecot's users read it."""
    path = Path(tempfile.mkdtemp(prefix="homing-e2e-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def numbered(top, counter=[0]):
    counter[0] += 1
    path = top / str(counter[0])
    path.mkdir()
    path.chmod(0o755)
    return path


@pytest.fixture
def place(top):
    """A folder of one test."""
    return numbered(top)


@pytest.fixture(scope="session")
def tls(top):
    return dovecot.Tls(top / "tls", homing.TLS_NAMES)


def serve(server):
    """Runs the server, and lets no crash of it pass unseen."""
    with server:
        yield server
        assert server.alive(), server.log()
    bad = [line for line in server.log().splitlines()
           if "Panic:" in line or "killed with signal" in line or "core dumped" in line]
    assert not bad, bad


@pytest.fixture
def start(request):
    """start(server) runs it until the test's end."""
    running = []

    def run(server):
        generator = serve(server)
        running.append((generator, server))
        return next(generator)

    yield run
    for generator, server in running:
        failed = getattr(request.node, "failed", False)
        if failed:
            print(f"--- configuration\n{server.render()}\n--- log, its end\n"
                  f"{server.log()[-6000:]}")
        for _ in generator:
            pass


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.failed = True
        server = item.funcargs.get("story_server") or item.funcargs.get("own_server")
        if server is not None:
            report.sections.append(("end of Dovecot's log", server.log()[-4000:]))


@pytest.fixture(scope="module")
def story(top):
    """The directory of the story; the passwords are elsewhere."""
    return homing.tell_story(numbered(top))


@pytest.fixture(scope="module")
def story_server(story, tls):
    """The route block before a passwd-file, for a module's tests that change nothing."""
    yield from serve(dovecot.Dovecot(
        story.folder / "server",
        passdbs=[dovecot.route(story.path),
                 dovecot.passwd_file(homing.passwords_file(story.folder))],
        userdbs=[dovecot.route(story.path), dovecot.static_userdb(story.vmail)], tls=tls))


@pytest.fixture(scope="module")
def own(top):
    """The directory of the story with its passwords."""
    return homing.tell_story(numbered(top), passwords=True)


@pytest.fixture(scope="module")
def own_server(own, tls):
    """The accounts block alone, as passdb and userdb."""
    yield from serve(dovecot.Dovecot(
        own.folder / "server", passdbs=[dovecot.accounts(own.path)],
        userdbs=[dovecot.accounts(own.path)], tls=tls))
