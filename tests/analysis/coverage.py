#!/usr/bin/env python3
"""coverage.py JSON: how much of each file was reached, from gcovr's JSON, as the tables of tests/COVERAGE.md.
With --missing, the lines that were not, each with its text. Ends with 1 where router or protocols are
below 95%."""

import json
import sys
from pathlib import Path

LEAST = 95
TOP = Path(__file__).resolve().parents[2]
# What parses or speaks to somebody else, beside the core.
PROTOCOLS = {
    "policy-daemon": "buffer connection decide known maps metrics-http netstring policy serve socketmap "
                     "trusted userdb userdb-kept userdb-line userdb-linger userdb-link",
    "auth-module": "answers passdb question userdb",
    "plugins": "backend change files grants prefix words",
}


def part_of(name):
    folder, stem = name.split("/")[0], Path(name).stem
    if name.startswith("router/homingctl/"):
        return "homingctl"
    if folder == "router":
        return "router"
    if stem in PROTOCOLS[folder].split():
        return "protocols"
    return {"policy-daemon": "daemon", "auth-module": "plugins"}.get(folder, folder)


def main():
    parts, low = {}, []
    for entry in json.loads(Path(sys.argv[1]).read_text())["files"]:
        # one line may be there several times, of inline functions
        lines = {}
        for line in entry["lines"]:
            if not line.get("gcovr/noncode"):
                lines[line["line_number"]] = lines.get(line["line_number"], 0) + line["count"]
        if lines:
            parts.setdefault(part_of(entry["file"]), []).append((entry["file"], lines))
    if "--missing" in sys.argv:
        for file, lines in sorted(sum(parts.values(), [])):
            text = (TOP / file).read_text().splitlines()
            for number in sorted(number for number, count in lines.items() if not count):
                print(f"{file}:{number}: {text[number - 1].strip()}")
    else:
        for part in ("router", "protocols", "daemon", "plugins", "homingctl"):
            files = sorted(parts.get(part, []))
            reached = [sum(1 for count in lines.values() if count) for _, lines in files]
            whole = sum(len(lines) for _, lines in files)
            share = 100 * sum(reached) / max(whole, 1)
            print(f"\n## {part}: {sum(reached)} of {whole} lines, {share:.1f}%\n\n| file | lines | reached | |")
            print("|---|---:|---:|---:|")
            for (file, lines), count in zip(files, reached):
                print(f"| {file} | {len(lines)} | {count} | {100 * count / len(lines):.0f}% |")
            if part in ("router", "protocols") and share < LEAST:
                low.append(part)
            print(f"{part} {share:.1f}%", file=sys.stderr)
    sys.exit(1 if low else 0)


main()
