#!/usr/bin/env python3
"""sources.py BUILD FOLDER FLAGS...: what analysers are to look at, from the build's compile_commands.json.

In FOLDER are written: `files`, the sources that become part of what is installed; compile_commands.json,
for them alone; and `gcc`, a command a line for each source of ours, those of the tests too, which compiles it
with FLAGS into nothing. Each source is there once, however many programs it is part of."""

import json
import os
import shlex
import sys
from pathlib import Path

OURS = ("router/", "auth-module/", "plugins/", "policy-daemon/")
# cmocka's assertions leave a test by longjmp, which gcc cannot know; and a test that crashes has failed.
TESTS = ("-Wno-analyzer-null-dereference", "-Wno-analyzer-null-argument",
         "-Wno-analyzer-possible-null-dereference", "-Wno-analyzer-possible-null-argument")


def compiler(words):
    """The command without its source, its object and the list of headers that the build wants."""
    words = iter(words[:-1])
    for word in words:
        if word in ("-o", "-MQ", "-MF"):
            next(words)
        elif word not in ("-MD", "-c") and not word.startswith("-fdiagnostics-color"):
            yield word
    yield "-c"


top = Path(__file__).resolve().parents[2]
build, folder, flags = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
folder.mkdir(parents=True, exist_ok=True)
entries, commands, seen = [], [], set()
for entry in json.loads((build / "compile_commands.json").read_text()):
    path = Path(os.path.normpath(Path(entry["directory"], entry["file"])))
    if path in seen or top not in path.parents:
        continue
    seen.add(path)
    ours = str(path.relative_to(top)).startswith(OURS)
    if ours:
        entries.append(dict(entry, file=str(path)))
    command = [*compiler(shlex.split(entry["command"])), *flags, *(() if ours else TESTS),
               "-o", "/dev/null", str(path)]
    commands.append(f"{shlex.join(['cd', entry['directory']])} && {shlex.join(command)}")

(folder / "compile_commands.json").write_text(json.dumps(entries, indent=1))
(folder / "files").write_text("".join(entry["file"] + "\n" for entry in entries))
(folder / "gcc").write_text("\n".join(commands) + "\n")
