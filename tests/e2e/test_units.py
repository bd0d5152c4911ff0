"""systemd's units of homing-policyd, as they would be installed: without a systemd that runs."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from policyd import PROGRAM

SOURCE = Path(__file__).parents[2] / "packaging" / "systemd"
# Next to the program: what the build made of homing-policyd.service.in.
SERVICE = Path(PROGRAM).resolve().parents[1] / "packaging" / "homing-policyd.service"
SOCKETS = ["homing-policyd-policy.socket", "homing-policyd-map.socket",
           "homing-policyd-metrics.socket"]


def analyze(*arguments, path=None):
    environment = dict(os.environ, LC_ALL="C.UTF-8")
    if path:
        environment["SYSTEMD_UNIT_PATH"] = f"{path}:"
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True,
                          env=environment, timeout=60)


def knows(option):
    return shutil.which("systemd-analyze") and option in analyze("--help").stdout


@pytest.fixture
def units(place):
    """The units, with the program where it is now: it need not be installed."""
    text = SERVICE.read_text()
    changed = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={Path(PROGRAM).resolve()}", text)
    assert changed != text
    (place / SERVICE.name).write_text(changed)
    for name in SOCKETS:
        shutil.copy(SOURCE / name, place)
    return place


def settings(path):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(path)
    return parser


@pytest.mark.skipif(not knows("--offline"), reason="this systemd-analyze has no --offline")
def test_the_service_is_exposed_little(units):
    result = analyze("security", "--offline=true", "--no-pager", str(units / SERVICE.name))
    match = re.search(r"Overall exposure level for homing-policyd\.service: ([0-9.]+)", result.stdout)
    assert match, result.stdout + result.stderr
    assert float(match[1]) <= 1.5, result.stdout


@pytest.mark.skipif(not knows("verify"), reason="there is no systemd-analyze")
def test_systemd_finds_no_mistake_in_the_units(units):
    result = analyze("verify", "--man=no", *(str(units / name) for name in [SERVICE.name, *SOCKETS]),
                     path=units)
    mine = [line for line in (result.stdout + result.stderr).splitlines() if "homing" in line]
    assert not mine and (result.returncode == 0 or not result.stderr), result.stderr


def test_the_sockets_have_the_names_that_the_daemon_knows():
    for name in SOCKETS:
        socket = settings(SOURCE / name)["Socket"]
        service = name.removeprefix("homing-policyd-").removesuffix(".socket")
        assert socket["FileDescriptorName"] == service
        assert socket["Service"] == "homing-policyd.service"


def test_postfix_alone_may_use_the_unix_sockets():
    for name in SOCKETS[:2]:
        socket = settings(SOURCE / name)["Socket"]
        assert socket["ListenStream"].startswith("/var/spool/postfix/homing/")
        assert (socket["SocketMode"], socket["SocketGroup"]) == ("0660", "postfix")
    assert settings(SOURCE / SOCKETS[2])["Socket"]["ListenStream"] == "127.0.0.1:9791"


def test_the_service_may_not_read_passwords():
    service = settings(SERVICE)["Service"]
    assert service["User"] == service["Group"] == "homing-policyd"
    assert service["SupplementaryGroups"] == "homing"


def test_nothing_is_left_to_fill_in():
    assert "@" not in re.sub(r"@system-service|@privileged|@resources", "", SERVICE.read_text())
