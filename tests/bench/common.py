"""What the benches share: the build, running homingctl, and results in RESULTS.md."""

import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
CACHE = Path(os.environ.get("HOMING_TEST_CACHE", "/var/cache/homing-tests"))
RESULTS = TOP / "tests" / "bench" / "RESULTS.md"
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8",
               "PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"}


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def build(folder):
    """A build as packages have it, without sanitizers."""
    folder = Path(folder)
    if not (folder / "build.ninja").exists():
        run("meson", "setup", folder, TOP, "-Dtests=false", "-Dbench=true")
    run("ninja", "-C", folder)
    return folder


def run(*command, text=None, **more):
    done = subprocess.run([str(word) for word in command], input=text, text=True,
                          capture_output=True, env=ENVIRONMENT, **more)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit {done.returncode}\n"
                         f"{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def run_json(*command, **more):
    return json.loads(run(*command, **more))


def timed(*command):
    """Seconds, and the peak of its resident memory in MiB, mapped pages of files included."""
    words = [str(word) for word in command]
    begin = time.monotonic()
    process = subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - begin
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: exit {process.returncode}\n{errors.decode()}")
    return seconds, usage.ru_maxrss / 1024


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return (f"{os.cpu_count()} processors ({model.group(1) if model else platform.machine()}), "
            f"{system()}, {time.strftime('%Y-%m-%d')}")


def system():
    found = re.search(r'^PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text(), re.M)
    return found.group(1) if found else "?"


def table(head, rows):
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in
             [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)


def write_section(name, text):
    """Puts a section in RESULTS.md in the place of the one of that name, or at its end."""
    old = RESULTS.read_text() if RESULTS.exists() else (
        "# Measured\n\nEach section is written by the command that it names. A time on a shared "
        "machine says little; what\ncounts is the ratio to the peer that was measured in the same "
        "run.\n")
    section = f"## {name}\n\n{text.strip()}\n"
    parts = re.split(r"^(?=## )", old, flags=re.M)
    for number, part in enumerate(parts):
        if part.startswith(f"## {name}\n"):
            parts[number] = section + "\n" if number + 1 < len(parts) else section
            break
    else:
        parts[-1] = parts[-1].rstrip("\n") + "\n\n"
        parts.append(section)
    RESULTS.write_text("".join(parts))
    print(section)
