"""The manual pages have every command, option, key and setting that the programs have, and no other.

What the programs have is asked of them where they can be asked, and read from the tables in their sources
where not. Whether the pages are well-formed is tests/man's to say.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
MAN = TOP / "packaging" / "man"
HOMINGCTL = os.environ.get("HOMINGCTL") or shutil.which("homingctl")
POLICYD = (os.environ.get("HOMING_POLICYD_RELEASE") or os.environ.get("HOMING_POLICYD")
           or shutil.which("homing-policyd"))

needs_homingctl = pytest.mark.skipif(not HOMINGCTL, reason="HOMINGCTL names no program")
needs_policyd = pytest.mark.skipif(not (POLICYD and Path(POLICYD).exists()), reason="no homing-policyd")

GLOBAL = {"--directory", "--json", "--help", "--version"}


# The pages


def mdoc(line):
    """The words of a line of mdoc as they are printed, without the macros that mark them."""
    line = re.sub(r'\\\(dq', '"', line.replace("\\&", ""))
    words = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', line)]
    text, option, glued = "", False, False
    for word in words:
        if word == "Ns":
            glued = True
            continue
        if word == "Brq":
            text, glued = text + "{", True
            continue
        if re.fullmatch(r"\.?(Fl|Ic|Ar|Op|Oo|Oc|Xo|Xc|Pa|Cm|Li|No|Ql|Pq|Po|Pc|Sq|Dq|Ev|Nm|It|Xr|Sy|Em|Pp)", word):
            option = word.lstrip(".") == "Fl"
            continue
        text += ("" if glued else " ") + ("-" if option and word not in ",|:;.()" else "") + word
        glued = False
    return text.strip()


class Page:
    def __init__(self, name):
        self.name = name
        self.lines = [line for line in (MAN / name).read_text().splitlines() if not line.startswith('.\\"')]
        self.text = "\n".join(mdoc(line) for line in self.lines)

    def section(self, title):
        """The lines of a section or subsection, up to the next one of its kind."""
        kind, = {line[:3] for line in self.lines if line in (f".Sh {title}", f".Ss {title}")}
        start = self.lines.index(f"{kind} {title}") + 1
        ends = (".Sh",) if kind == ".Sh" else (".Sh", ".Ss")
        end = next((n for n in range(start, len(self.lines)) if self.lines[n].startswith(ends)),
                   len(self.lines))
        return self.lines[start:end]


def top_items(lines):
    """The items of the outermost lists: (head, all lines of it). A head may go over several lines (Xo, Xc)."""
    depth, items, head = 0, [], False
    for line in lines:
        if line.startswith(".Bl"):
            depth += 1
        elif line.startswith(".El"):
            depth -= 1
        elif line.startswith(".It") and depth == 1:
            items.append([mdoc(line), [line]])
            head = "Xo" in line and "Xc" not in line
            continue
        if depth == 0:
            head = False
            continue
        if items:
            items[-1][1].append(line)
            if head and line.strip() == ".Xc":
                head = False
            elif head:
                items[-1][0] = f"{items[-1][0]} {mdoc(line)}".strip()
    return items


def options_in(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


# homingctl


def run(*words, **more):
    return subprocess.run([HOMINGCTL, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, **more)


def commands():
    done = run("--help")
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^  ([a-z][a-z-]*(?: [a-z][a-z-]*)?) +[A-Z]", done.stdout, re.M)
    assert len(found) > 30, done.stdout
    return found


def table_of_options():
    """Of router/homingctl/options.c: name, letter, whether it has a value."""
    found = re.findall(r'\{"(--[a-z-]+)", (?:0|\'(.)\'), (true|false)\}',
                       (TOP / "router/homingctl/options.c").read_text())
    assert len(found) > 30
    return [(name, letter, value == "true") for name, letter, value in found]


def taken(command, folder):
    """The options that the command takes when it is called with them. Nothing is there for it to change."""
    found = set()
    for name, _, value in table_of_options():
        if name in GLOBAL:
            continue
        # One argument that no command can use, in case that one would do without any.
        words = [*command.split(), f"{name}={'false' if value else ''}".rstrip("="), str(folder / "nothing")]
        done = run("--directory", str(folder / "none"), *words,
                   env={"PATH": "/nonexistent", "MAIL_CONFIG": str(folder / "none")})
        if f"{command} does not take {name};" not in done.stderr:
            found.add(name)
    assert not (folder / "none").exists()
    return found


def documented():
    """What homingctl.1 says: command -> options. An option may also stand in the text before a section's list,
    and then counts for those of its commands that take it."""
    page = Page("homingctl.1")
    found, shared = {}, {}
    for title in ("CONFIGURATION", "ROUTING", "ACCOUNTS", "OTHER NAMES", "SHARED MAILBOXES", "LOOKING AFTER IT"):
        lines = page.section(title)
        front = lines[:next(n for n, line in enumerate(lines) if line.startswith(".Bl"))]
        for head, body in top_items(lines):
            command = next((name for name in sorted(commands(), key=len, reverse=True)
                            if head == name or head.startswith(name + " ")), None)
            if command is None:
                continue  # not of a command, as what the JSON of an answer has
            found.setdefault(command, set()).update(*(options_in(mdoc(line)) for line in body))
            shared[command] = options_in("\n".join(mdoc(line) for line in front))
    return found, shared


@needs_homingctl
def test_every_command_has_its_place_in_homingctl_1():
    found, _ = documented()
    assert sorted(found) == sorted(commands())


@needs_homingctl
def test_every_option_is_in_its_commands_help_and_in_homingctl_1(tmp_path):
    found, shared = documented()
    letters = {f"-{letter}": name for name, letter, _ in table_of_options() if letter}
    wrong, all_taken = [], set()
    for command in commands():
        truth = taken(command, tmp_path)
        all_taken |= truth
        text = run(*command.split(), "--help").stdout
        assert "%%" not in text, text
        helped = options_in(text) | {letters[word] for word in re.findall(r"(?<![\w-])-[a-zA-Z]\b", text)
                                     if word in letters}
        page = found.get(command, set()) | (shared.get(command, set()) & truth)
        for where, said in (("its --help", helped), ("homingctl.1", page)):
            wrong += [f"{command}: {name} is not in {where}" for name in sorted(truth - said)]
        wrong += [f"{command}: {name} is in its --help, but not taken"
                  for name in sorted(helped - truth - GLOBAL)]
        wrong += [f"{command}: {name} is in homingctl.1, but there is no such option"
                  for name in sorted(page - {name for name, _, _ in table_of_options()})]
    assert not wrong, "\n".join(wrong)
    unused = {name for name, _, _ in table_of_options()} - all_taken - GLOBAL
    assert not unused, f"options of no command: {unused}"


@needs_homingctl
def test_options_of_all_commands_and_letters_are_in_homingctl_1():
    page = Page("homingctl.1")
    for name, letter, _ in table_of_options():
        assert name in options_in(page.text), name
        if letter:
            assert re.search(rf"(?<![\w-])-{letter}\b", page.text), f"-{letter} of {name}"
    for name in GLOBAL:
        assert name in options_in(run("--help").stdout), name


@needs_homingctl
def test_every_command_and_option_is_in_the_completion_of_bash():
    text = (TOP / "packaging/homingctl.bash-completion").read_text()
    missing = [word for command in commands() for word in command.split()
               if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)]
    missing += [name for name, _, _ in table_of_options() if name not in options_in(text)]
    assert not missing


# homing-policyd


@needs_policyd
def test_every_option_of_homing_policyd_is_in_its_help_and_its_page():
    source = (TOP / "policy-daemon/options.c").read_text()
    truth = {"--" + name for name in re.findall(r'\{"([a-z-]+)", (?:required|no)_argument', source)}
    letters = set(re.findall(r"OPTION_[A-Z]+ = '(.)'", source))
    assert len(truth) > 10 and len(letters) > 5
    text = subprocess.run([POLICYD, "--help"], capture_output=True, text=True, check=True).stdout
    assert options_in(text) == truth
    page = Page("homing-policyd.8")
    heads = " ".join(head for head, _ in top_items(page.section("OPTIONS")))
    assert options_in(heads) == truth
    assert set(re.findall(r"(?<![\w-])-(\w)\b", heads)) == letters
    assert set(re.findall(r"(?<![\w-])-(\w)\b", text)) == letters
    synopsis = " ".join(mdoc(line) for line in page.section("SYNOPSIS"))
    assert options_in(synopsis) == truth


@needs_policyd
def test_every_metric_is_in_homing_policyd_8():
    source = "".join(path.read_text() for path in (TOP / "policy-daemon").glob("metrics*.c"))
    names = set(re.findall(r'put_(?:head|alone|labelled)\(out, "([a-z_]+)"|"homing_policyd_([a-z_]+[a-z])', source))
    names = {one or other for one, other in names}
    assert len(names) > 10, names
    heads = " ".join(mdoc(line) for line in Page("homing-policyd.8").section("METRICS"))
    missing = [name for name in sorted(names) if not re.search(rf"\b{name}\b", heads)]
    assert not missing


# homing.json


def mistakes(config, place):
    path = place / "homing.json"
    path.write_text(config)
    done = run("check", str(path))
    assert done.returncode == 78, done.stdout + done.stderr
    return done.stdout + done.stderr


def keys_that_are_expected(config, place):
    """What homingctl says where a key is like no other."""
    said = mistakes(config, place)
    listed = re.search(r"no such key, expected one of (.*)", said)
    assert listed, said
    return set(re.findall(r"[a-z_]+", listed[1]))


@needs_homingctl
@pytest.mark.parametrize("where, config, least", [
    ("KEYS", '{"qqqqqqqqqqqqqqq": 1}', 4),
    ("KEYS", '{"account_defaults": {"qqqqqqqqqqqqqqq": 1}}', 3),
    ("Keys of a domain", '{"domains": {"a.example": {"qqqqqqqqqqqqqqq": 1}}}', 7),
    ("Keys of a router record", '{"router": [{"qqqqqqqqqqqqqqq": 1}]}', 2),
])
def test_every_key_of_homing_json_is_in_its_page(where, config, least, place):
    keys = keys_that_are_expected(config, place)
    assert len(keys) >= least
    heads = " ".join(mdoc(line) for line in Page("homing.json.5").section(where) if line.startswith(".It"))
    missing = [key for key in keys if not re.search(rf"\b{key}\b", heads)]
    assert not missing
    source = "".join(path.read_text() for path in (TOP / "router").glob("config-*.c"))
    assert all(f'"{key}"' in source for key in keys)


@needs_homingctl
@pytest.mark.parametrize("key, value", [("accounts", '"qqqqqqq"'), ("unknown", '"qqqqqqq"')])
def test_every_word_for_a_key_of_a_domain_is_in_its_page(key, value, place):
    said = mistakes('{"main_domain": "a.example", "domains": {"a.example": {"%s": %s}}}' % (key, value), place)
    words = re.findall(r'"([a-z]+)(?::[A-Z]+)?"', said[said.index("expected"):])
    assert len(words) == 3, said
    page = Page("homing.json.5").text
    assert [word for word in words if not re.search(rf"\b{word}\b", page)] == []


# Dovecot's settings


def settings_of(*patterns):
    found = set()
    for pattern in patterns:
        for path in TOP.glob(pattern):
            found |= set(re.findall(r'(?:SETTING_DEFINE_\w+\(|mail_user_plugin_getenv(?:_bool)?\(\w+, )"(homing_\w+)"',
                                    path.read_text()))
    return found


def test_every_setting_of_the_auth_module_is_in_dovecot_homing_5():
    found = settings_of("auth-module/settings*.c")
    assert found >= {"homing_mode", "homing_directory"}
    heads = " ".join(head for head, _ in top_items(Page("dovecot-homing.5").section("Dovecot 2.4")))
    assert [name for name in found if not re.search(rf"\b{name}\b", heads)] == []
    source = (TOP / "auth-module/settings.c").read_text()
    words = set(re.findall(r'strn?cmp\([^,]*, "([a-z]+)=?"', source))
    assert words >= {"route", "accounts", "directory"}
    args = " ".join(mdoc(line) for line in Page("dovecot-homing.5").section("Dovecot 2.3"))
    assert [word for word in words if not re.search(rf"\b{word}\b", args)] == []


def test_every_setting_of_the_plugins_is_in_homing_sharing_7():
    found = settings_of("plugins/*.c")
    assert found >= {"homing_directory", "homing_allow_anyone"}
    heads = " ".join(head for head, _ in top_items(Page("homing-sharing.7").section("SETTINGS")))
    assert [name for name in found if not re.search(rf"\b{name}\b", heads)] == []


# The whole


def test_every_page_is_installed_and_in_a_package():
    meson = (TOP / "packaging/meson.build").read_text()
    packages = "".join(path.read_text() for path in (TOP / "packaging/debian").glob("*.install"))
    for page in sorted(path.name for path in MAN.iterdir()):
        assert f"'{page}'" in meson, f"{page}: not in packaging/meson.build"
        assert re.search(rf"man{page[-1]}/{re.escape(page)}$|man{page[-1]}/?(\*|$)", packages, re.M), \
            f"{page}: in no packaging/debian/*.install"


def test_every_build_option_is_in_the_readme_of_packaging_with_its_default():
    options = dict(re.findall(r"^option\('([a-z-]+)', type : '[a-z]+', value : '?([^',]*)'?,",
                              (TOP / "meson.options").read_text(), re.M))
    assert len(options) == (TOP / "meson.options").read_text().count("option(")
    text = (TOP / "packaging/README.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| ([^|]*) \|", text, re.M))
    assert rows == {name: default or "empty" for name, default in options.items()}


def test_the_format_that_homing_directory_5_names_is_the_code_s():
    number = re.search(r"STORE_FORMAT = (\d+)", (TOP / "router/store.h").read_text())[1]
    readers = re.search(r"STORE_MAX_READERS = (\d+)", (TOP / "router/store.h").read_text())[1]
    page = Page("homing-directory.5").text
    assert f"writes format {number}," in page
    assert f"format {int(number) + 1} was written by a newer Homing" in page
    assert f"reads up to {number}:" in page
    assert f"Up to {readers} processes" in page
