"""homingctl as its users meet it: commands, answers, exit codes, mistakes, and accidents.

The program is the one that the environment variable HOMINGCTL names. No Dovecot is needed, but
for the tests of `config` and `check --live`, which ask a doveconf if there is one.
"""

import json
import os
import pty
import random
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

HOMINGCTL = os.environ.get("HOMINGCTL") or shutil.which("homingctl")

pytestmark = pytest.mark.skipif(not HOMINGCTL, reason="HOMINGCTL names no program")

USAGE, DATA, NO_INPUT, NO_USER, CANT_CREATE = 64, 65, 66, 67, 73
IO_ERROR, TRY_AGAIN, NO_PERMISSION, CONFIG = 74, 75, 77, 78

STORY = {
    "main_domain": "company.com",
    "account_defaults": {
        "home": "/var/vmail/%{domain}/%{local}",
        "uid": "vmail",
        "gid": "vmail",
    },
    "domains": {
        "company.com": {
            "aliases": ["mail.company.com"],
            "addresses": ["192.0.2.1", "2001:db8::1"],
        },
        "client1.com": {"addresses": ["192.0.2.2", "2001:db8:1::/48"]},
        "client2.com": {
            "aliases": ["mail.client2.com"],
            "server_names": ["*.client2.com"],
        },
        "sqlsite.org": {"accounts": "external"},
    },
    "router": [
        {"match": "*-admin@*", "to": "postmaster@company.com"},
        {"match": "old.example", "to": "company.com"},
        {"match": "spamtrap@*", "to": "discard:"},
        {"match": "closed@client1.com", "to": "error:5.1.6 this address has moved"},
    ],
}


class Ctl:
    """Runs the program on a directory of its own and checks the exit code."""

    def __init__(self, directory):
        self.directory = Path(directory)

    def run(self, *args, code=0, input=None, directory=True):
        command = [HOMINGCTL]
        if directory:
            command += ["--directory", str(self.directory)]
        if isinstance(input, str):
            input = input.encode()
        done = subprocess.run(
            command + [str(arg) for arg in args],
            input=input if input is not None else b"",
            capture_output=True,
            timeout=120,
        )
        done.out = done.stdout.decode()
        done.err = done.stderr.decode()
        if code is not None:
            assert done.returncode == code, f"{args}: {done.returncode}\n{done.out}\n{done.err}"
        return done

    def __call__(self, *args, **more):
        return self.run(*args, **more).out

    def err(self, *args, **more):
        return self.run(*args, **more).err

    def json(self, *args, **more):
        return json.loads(self.run(*args, "--json", **more).out)

    def accounts(self, domain=None):
        return self("account", "list", *([domain] if domain else [])).split()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "homing.json"
    path.write_text(json.dumps(STORY, indent=2))
    return path


@pytest.fixture
def ctl(tmp_path, config):
    """A directory with the story's domains, and an account info in three of them."""
    ctl = Ctl(tmp_path / "homing")
    ctl("apply", config)
    for domain in ("company.com", "client1.com", "client2.com"):
        ctl("account", "add", f"info@{domain}")
    return ctl


@pytest.fixture
def empty(tmp_path):
    return Ctl(tmp_path / "homing")


def lines_of(accounts):
    return "".join(json.dumps(account) + "\n" for account in accounts)


# The command line


COMMANDS = [
    "check", "apply", "export", "route", "account add", "account show", "account list",
    "account delete", "account rename", "account import", "password set", "password verify",
    "password delete", "alias add", "alias list", "alias delete", "forwarder add",
    "forwarder list", "forwarder delete", "group add", "group remove", "group list",
    "group delete", "verify", "config dovecot", "status",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(empty, command):
    text = empty(*command.split(), "--help")
    assert text.startswith(f"Usage: homingctl {command}")
    assert all(len(line) <= 100 for line in text.splitlines())
    assert empty("help", *command.split()) == text


def test_general_help_names_every_command(empty):
    text = empty("--help")
    for command in COMMANDS:
        assert f"\n  {command} " in text


def test_version(empty):
    assert empty("--version").startswith("homingctl ")


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nonsense"],
        ["account"],
        ["account", "nonsense"],
        ["--nonsense"],
        ["status", "--nonsense"],
        ["status", "extra"],
        ["status", "--force"],
        ["account", "add"],
        ["account", "add", "a", "b"],
        ["account", "add", "a", "--home"],
        ["account", "rename", "a"],
        ["route", "info"],
        ["route", "--login", "--address", "info"],
        ["route", "--login", "info", "--local-ip", "nowhere"],
        ["route", "--batch", "--login"],
        ["route", "--batch", "info"],
        ["export", "--with-passwords"],
        ["check", "--live", "file"],
        ["check", "file", "-c", "x"],
        ["--json=yes", "status"],
        ["config", "dovecot", "--dovecot-version", "new"],
        ["--directory", "/a", "--directory", "/b", "status"],
    ],
    ids=" ".join,
)
def test_wrong_command_lines_are_64_and_say_why(empty, args):
    done = empty.run(*args, code=USAGE, directory=False)
    assert done.err.startswith("homingctl: ")
    assert done.out == ""


def test_directory_option_may_stand_anywhere_and_twice_is_usage(ctl):
    where = str(ctl.directory)
    for args in (
        ["--directory", where, "account", "list"],
        ["account", "--directory", where, "list"],
        ["account", "list", f"--directory={where}"],
        ["account", "list", "-d", where],
    ):
        assert len(ctl(*args, directory=False).split()) == 3


def test_a_name_with_a_dash_comes_behind_two_dashes(ctl):
    assert "no such option" in ctl.err("account", "show", "-x@company.com", code=USAGE)
    ctl("account", "show", "--", "-x@company.com", code=None)


def test_full_output_is_74(ctl):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [HOMINGCTL, "-d", ctl.directory, "account", "list"], stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == IO_ERROR
    assert b"cannot write" in done.stderr


# check, apply, export


def test_check_accepts_the_story(empty, config):
    assert empty("check", config) == "fine: 4 domains, 4 router records\n"
    assert empty.json("check", config) == {"mistakes": []}
    assert not empty.directory.exists()


IN_ETC = """
mount -t tmpfs tmpfs /etc
mkdir -p /etc/homing/homing.d
for file in homing.json homing.d/one.json homing.d/other.txt; do
	if [ -e "$0/$file" ]; then cp "$0/$file" "/etc/homing/$file"; fi
done
exec "$@"
"""


def in_etc(folder, *command, code=0):
    """The command, where /etc/homing is a copy of the folder."""
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-ec", IN_ETC, folder,
                           *command], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace")
def test_without_a_file_the_usual_place_is_read(empty, tmp_path):
    place = tmp_path / "etc"
    (place / "homing.d").mkdir(parents=True)
    ctl = [HOMINGCTL, "--directory", str(empty.directory)]
    missing = in_etc(place, *ctl, "apply", code=NO_INPUT).stderr
    assert "neither /etc/homing/homing.json nor a *.json in /etc/homing/homing.d" in missing
    (place / "homing.d" / "other.txt").write_text("no JSON")
    assert "neither" in in_etc(place, *ctl, "check", code=NO_INPUT).stderr
    (place / "homing.json").write_text('{"main_domain": "a.com", "domains": {"a.com": {}}}')
    in_etc(place, *ctl, "check")
    assert not empty.directory.exists()
    in_etc(place, *ctl, "apply")
    assert list(empty.json("export")["domains"]) == ["a.com"]
    (place / "homing.d" / "one.json").write_text('{"domains": {"b.com": {}}}')
    in_etc(place, *ctl, "apply")
    assert sorted(empty.json("export")["domains"]) == ["a.com", "b.com"]
    (place / "homing.d" / "one.json").write_text('{"domains": {"b.com": {"colour": 1}}}')
    assert "/etc/homing/homing.d/one.json:1:" in in_etc(place, *ctl, "apply", code=CONFIG).stderr


def test_the_template_of_packages_is_refused_until_it_is_filled_in(empty):
    packaging = Path(__file__).resolve().parents[2] / "packaging"
    assert "main_domain" in empty.err("apply", packaging / "homing.json", code=CONFIG)
    assert not empty.directory.exists()
    empty("apply", packaging / "homing-example.json")


def test_every_mistake_is_reported_with_its_place(empty, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text(
        '{\n  "main_domain": "nowhere.com",\n  "domains": {\n'
        '    "a.com": { "colour": 1 },\n    "b.com": { "aliases": ["a.com"] },\n'
        '    "c.com": { "addresses": ["192.0.2.300"] }\n  }\n}\n'
    )
    done = empty.run("check", bad, code=CONFIG)
    lines = done.err.splitlines()
    places = [line for line in lines if line.startswith(f"{bad}:")]
    assert len(places) >= 4
    for line in places:
        number, column = line[len(str(bad)) + 1 :].split(":")[:2]
        assert int(number) > 0 and int(column) > 0
    assert any(":4:" in line and "colour" in line for line in places)
    assert lines[-1].startswith("homingctl: ") and "nothing is changed" in lines[-1]
    assert len(empty.json("check", bad, code=CONFIG)["mistakes"]) == len(places)


def test_apply_with_a_mistake_changes_nothing(ctl, tmp_path):
    before = ctl("export")
    bad = tmp_path / "bad.json"
    bad.write_text('{"main_domain": "x.com", "domains": {}}')
    ctl("apply", bad, code=CONFIG)
    bad.write_text('{"main_domain": ')
    ctl("apply", bad, code=CONFIG)
    assert ctl("export") == before


def test_missing_file_is_66(empty, tmp_path):
    assert "missing.json" in empty.err("check", tmp_path / "missing.json", code=NO_INPUT)
    empty("apply", tmp_path / "missing.json", code=NO_INPUT)


def test_dry_run_says_what_would_change_and_changes_nothing(ctl, config):
    story = json.loads(config.read_text())
    del story["domains"]["client1.com"]
    story["domains"]["new.org"] = {}
    story["router"].pop()
    config.write_text(json.dumps(story))
    before = ctl("export"), ctl.json("status")["files"][0]["sequence"]
    text = ctl("apply", config, "--dry-run")
    assert 'remove domains."client1.com"' in text
    assert 'add    domains."new.org"' in text
    assert (ctl("export"), ctl.json("status")["files"][0]["sequence"]) == before
    report = ctl.json("apply", config, "-n")
    assert report["dry_run"] is True
    assert {"add", "remove"} <= {change["what"] for change in report["changes"]}


def test_dry_run_leaves_nothing_behind_in_a_new_place(empty, config, tmp_path):
    before = sorted(tmp_path.iterdir())
    text = empty("apply", config, "--dry-run")
    assert 'add    domains."client1.com"' in text and "add    router[3]" in text
    assert sorted(tmp_path.iterdir()) == before
    report = empty.json("apply", config, "-n")
    assert sorted(tmp_path.iterdir()) == before
    empty.directory.mkdir()
    assert empty("apply", config, "--dry-run") == text
    assert list(empty.directory.iterdir()) == []
    counts = empty.json("apply", config)
    assert counts["added"] == report["added"] == len(report["changes"])


def test_apply_counts_changes_and_warns_of_names_left_behind(ctl, config):
    assert ctl("apply", config) == "nothing changed\n"
    story = json.loads(config.read_text())
    del story["domains"]["client1.com"]
    story["router"].pop()
    config.write_text(json.dumps(story))
    done = ctl.run("apply", config)
    assert "removed" in done.out
    assert "client1.com is removed, but 1 of its accounts" in done.err
    assert ctl.accounts("client1.com") == ["info@client1.com"]
    ctl("route", "--login", "info@client1.com", code=NO_USER)


def test_export_is_taken_by_apply_again(ctl, tmp_path):
    exported = tmp_path / "exported.json"
    exported.write_text(ctl("export"))
    assert ctl("apply", exported) == "nothing changed\n"
    assert json.loads(exported.read_text())["main_domain"] == "company.com"


def test_files_have_their_permissions(ctl):
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in ctl.directory.iterdir()}
    assert modes["directory.mdb"] == 0o640
    assert modes["credentials.mdb"] == 0o640
    assert stat.S_IMODE(ctl.directory.stat().st_mode) == 0o750


# route


@pytest.mark.parametrize(
    "args, account",
    [
        (["--login", "info"], "info@company.com"),
        (["--login", "info", "--local-ip", "192.0.2.1"], "info@company.com"),
        (["--login", "info", "--local-ip", "192.0.2.2"], "info@client1.com"),
        (["--login", "info", "--local-ip", "::ffff:192.0.2.2"], "info@client1.com"),
        (["--login", "info", "--local-ip", "2001:db8:1::7"], "info@client1.com"),
        (["--login", "info%client2.com"], "info@client2.com"),
        (["--login", "info", "--server-name", "imap.client2.com"], "info@client2.com"),
        (["--login", "info@mail.client2.com"], "info@client2.com"),
        (["--login", "INFO@Client2.COM"], "info@client2.com"),
        (["--address", "info@old.example"], "info@company.com"),
        (["--address", "info+lists@client1.com"], "info@client1.com"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_the_story(ctl, args, account):
    answer = ctl.json("route", *args)
    assert (answer["result"], answer["account"]) == ("account", account)
    assert answer["steps"] and all({"rule", "from", "to"} <= set(s) for s in answer["steps"])
    assert ctl("route", *args).startswith(f"account {account}")


def test_route_json_has_the_keys_of_each_result(ctl):
    answer = ctl.json("route", "--address", "info+Lists@client1.com")
    assert (answer["input"], answer["detail"], answer["mailbox"]) == (
        "info+Lists@client1.com", "Lists", None,
    )  # fmt: skip
    answer = ctl.json("route", "--address", "Some.One@elsewhere.net")
    assert (answer["result"], answer["address"], answer["relay"]) == (
        "remote", "Some.One@elsewhere.net", False,
    )  # fmt: skip
    assert ctl.json("route", "--address", "spamtrap@client1.com")["result"] == "discard"
    answer = ctl.json("route", "--address", "closed@client1.com", code=NO_USER)
    assert (answer["result"], answer["reason"], answer["smtp"], answer["status"]) == (
        "refuse", "error", 550, "5.1.6",
    )  # fmt: skip
    answer = ctl.json("route", "--address", "nobody@client1.com", code=NO_USER)
    assert (answer["reason"], answer["smtp"], answer["status"]) == (
        "unknown-account", 550, "5.1.1",
    )  # fmt: skip
    ctl("forwarder", "add", "team@client1.com", "info", "else@where.net")
    answer = ctl.json("route", "--address", "team@client1.com")
    assert answer["result"] == "forward"
    assert sorted(answer["targets"]) == ["else@where.net", "info@company.com"]
    assert ctl.json("route", "--address", "any@sqlsite.org")["external"] is True


def test_explain_can_be_followed(ctl):
    text = ctl("route", "--login", "info", "--local-ip", "192.0.2.2", "--explain")
    lines = text.splitlines()
    assert lines[0] == "typed: info (a login, to the server's address 192.0.2.2)"
    assert lines[1].startswith("   1. ")
    assert any("local-ip" in line and "info@client1.com" in line for line in lines)
    assert "because: " in text
    assert lines[-1] == "result: it opens the account info@client1.com."
    text = ctl("route", "--address", "nobody@client1.com", "--explain", code=NO_USER)
    assert "result: it is refused (unknown-account) with 550 5.1.1" in text


def test_refused_names_are_67_and_a_missing_directory_is_75(ctl, empty, tmp_path):
    ctl("route", "--login", "nobody", code=NO_USER)
    ctl("route", "--login", "info@elsewhere.net", code=NO_USER)
    ctl("route", "--login", "", code=NO_USER)
    nowhere = Ctl(tmp_path / "nowhere")
    done = nowhere.run("route", "--login", "info", code=TRY_AGAIN)
    assert "directory.mdb" in done.err and done.out == ""


def test_batch_answers_line_by_line(ctl):
    questions = (
        "login\tinfo\t192.0.2.2\t\n"
        "login\tinfo\t\timap.client2.com\n"
        "address\tinfo@old.example\n"
        "login\tnobody\t\t\n"
    )
    done = ctl.run("route", "--batch", input=questions)
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [answer.get("account") for answer in answers] == [
        "info@client1.com", "info@client2.com", "info@company.com", None,
    ]  # fmt: skip
    assert answers[3]["reason"] == "unknown-account"
    assert "steps" not in answers[0]
    done = ctl.run("route", "--batch", "--explain", input=questions)
    assert json.loads(done.out.splitlines()[0])["steps"]


def test_batch_reports_bad_lines_and_goes_on(ctl):
    bad = (
        b"nonsense\tinfo\t\t\nlogin\n\nlogin\tinfo\tnowhere\t\nlogin\ta\tb\tc\td\n"
        b"login\tinfo\0x\t\t\nlogin\t\xff\xfe\t\t\nlogin\tinfo\t\ta\0b\nlogin\tinfo\t\t"
    )
    done = ctl.run("route", "--batch", input=bad, code=DATA)
    answers = [json.loads(line) for line in done.out.splitlines()]
    errors = [answer["line"] for answer in answers if "error" in answer]
    assert errors == [1, 2, 3, 4, 5, 8]
    assert [answers[i]["reason"] for i in (5, 6)] == ["malformed", "malformed"]
    assert answers[8]["account"] == "info@company.com"


def test_batch_answers_at_once_on_a_pipe(ctl):
    with subprocess.Popen(
        [HOMINGCTL, "-d", ctl.directory, "route", "--batch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        for _ in range(3):
            process.stdin.write(b"login\tinfo\t\t\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["account"] == "info@company.com"
        process.stdin.close()
        assert process.wait(10) == 0


# accounts and passwords


def test_account_add_show_list_delete(ctl):
    ctl("group", "add", "staff")
    ctl("account", "add", "Anna", "--home", "/srv/anna", "--uid", "1000", "--gid", "mail",
        "--group", "staff@company.com")  # fmt: skip
    shown = ctl.json("account", "show", "anna")
    assert shown["account"] == "anna@company.com"
    assert (shown["home"], shown["uid"], shown["gid"]) == ("/srv/anna", "1000", "mail")
    assert shown["groups"] == ["staff@company.com"]
    assert shown["password"] is False
    assert "/srv/anna" in ctl("account", "show", "anna@company.com")
    shown = ctl.json("account", "show", "info@client1.com")
    assert shown["home"] == "/var/vmail/client1.com/info"
    assert ctl.accounts() == [
        "info@client1.com", "info@client2.com", "anna@company.com", "info@company.com",
    ]  # fmt: skip
    assert ctl.accounts("client1.com") == ["info@client1.com"]
    assert ctl.json("account", "list", "client1.com") == ["info@client1.com"]
    assert ctl.json("account", "list", "sqlsite.org") == []
    ctl("account", "delete", "anna")
    ctl("account", "show", "anna", code=NO_USER)
    assert ctl("group", "list") == "staff@company.com:\n"
    assert ctl("verify").endswith("0 problems\n")


def test_names_that_are_taken_missing_or_bad(ctl):
    assert "info@company.com" in ctl.err("account", "add", "info", code=CANT_CREATE)
    ctl("account", "add", "INFO@COMPANY.COM", code=CANT_CREATE)
    ctl("account", "delete", "nobody", code=NO_USER)
    ctl("account", "show", "nobody@client1.com", code=NO_USER)
    ctl("account", "rename", "nobody", "somebody", code=NO_USER)
    for bad in ("a b", "a@", "@company.com", "a@b@company.com", "a/b", "..", "", "a%b", "*"):
        done = ctl.run("account", "add", "--", bad, code=DATA)
        assert done.err.startswith("homingctl: ")
    assert ctl.run("account", "add", "a@nowhere.net", code=None).returncode in (DATA, NO_USER)
    err = ctl.run("account", "add", "a@sqlsite.org", code=None)
    assert err.returncode == DATA and "sqlsite.org" in err.err
    assert len(ctl.accounts()) == 3


def test_control_characters_never_reach_the_terminal(ctl):
    evil = "a\x1b[31m\nhomingctl: forged"
    for args in (
        ["account", "add", evil],
        ["route", "--login", evil],
        ["route", "--login", evil, "--explain"],
        ["route", "--address", evil, "--json"],
        ["check", evil],
        ["account", "import", evil],
        [evil],
        ["--" + evil],
    ):
        done = ctl.run(*args, code=None)
        assert done.returncode != 0
        assert "\x1b" not in done.out + done.err
        assert "\nhomingctl: forged" not in done.out + done.err


def test_unicode_names_are_printed_as_they_are(ctl):
    ctl("account", "add", "Jürgen@client1.com")
    assert ctl.accounts("client1.com") == ["info@client1.com", "jürgen@client1.com"]


def test_delete_asks_for_force_where_something_leads_to_it(ctl):
    ctl("alias", "add", "sales", "info")
    ctl("forwarder", "add", "all", "info", "info@client1.com")
    assert "sales@company.com" in ctl.err("account", "delete", "info", code=None)
    assert "info@company.com" in ctl.accounts()
    ctl("account", "delete", "info", "--force")
    assert ctl("alias", "list") == ""
    assert ctl("forwarder", "list") == "all@company.com: info@client1.com\n"
    assert ctl("verify").endswith("0 problems\n")


def test_what_was_typed_in_capitals_before_the_domain_was_ours_is_followed(ctl, config):
    """It is stored as typed; letters outside ASCII have two cases too."""
    ctl("alias", "add", "chef@company.com", "MÜLLER@later.example")
    ctl("forwarder", "add", "both@company.com", "Mu\u0308ller@later.example", "info@company.com")
    ctl("group", "add", "staff@company.com", "MÜLLER@later.example")
    story = json.loads(config.read_text())
    story["domains"]["later.example"] = {}
    config.write_text(json.dumps(story))
    ctl("apply", config)
    ctl("account", "add", "müller@later.example")
    shown = ctl.json("account", "show", "müller@later.example")
    assert shown["aliases"] == ["chef@company.com"] and shown["groups"] == ["staff@company.com"]
    assert "chef@company.com" in ctl.err("account", "delete", "müller@later.example", code=CANT_CREATE)
    ctl("account", "rename", "müller@later.example", "maier@later.example")
    assert ctl("alias", "list").split() == ["chef@company.com:", "maier@later.example"]
    assert "maier@later.example" in ctl("forwarder", "list") and "maier@later.example" in ctl("group", "list")
    ctl("verify")
    ctl("account", "delete", "--force", "maier@later.example")
    assert ctl("alias", "list") == "" and "@later.example" not in ctl("forwarder", "list") + ctl("group", "list")
    ctl("verify")


def test_rename_takes_everything_along(ctl):
    ctl("group", "add", "staff", "info")
    ctl("alias", "add", "sales", "info")
    ctl("password", "set", "info", "--stdin", input="secret\n")
    ctl("account", "rename", "info", "office@client1.com")
    assert ctl.json("route", "--login", "sales")["account"] == "office@client1.com"
    assert ctl("group", "list") == "staff@company.com: office@client1.com\n"
    assert ctl("password", "verify", "office@client1.com", "--stdin", input="secret") == "right\n"
    assert ctl.json("account", "show", "office@client1.com")["home"] == "/var/vmail/company.com/info"
    ctl("account", "rename", "office@client1.com", "info@client1.com", code=CANT_CREATE)
    assert ctl("verify").endswith("0 problems\n")


def granted(ctl):
    """All grants: owner, mailbox, identifier, rights."""
    return {(row["owner"], row["mailbox"], row["who"], row["rights"])
            for row in ctl.json("share", "list")}


def test_grants_go_along_with_accounts_and_groups(ctl):
    ctl("account", "add", "bob@client1.com")
    ctl("group", "add", "staff@client1.com", "bob@client1.com")
    ctl("share", "grant", "info@company.com", "Box", "bob@client1.com", "lr")
    ctl("share", "grant", "info@company.com", "Box", "$staff@client1.com", "l")
    ctl("share", "grant", "bob@client1.com", "*", "info@company.com", "lrs")
    assert ctl.json("status")["holds"]["sharing"] == {"owners": 2, "mailboxes": 2, "grants": 3}
    assert "3 grants on 2 mailboxes of 2 owners" in ctl("status")
    ctl("account", "rename", "bob@client1.com", "robert@client2.com")
    moved = {
        ("info@company.com", "Box", "robert@client2.com", "lr"),
        ("info@company.com", "Box", "$staff@client1.com", "l"),
        ("robert@client2.com", "*", "info@company.com", "lrs"),
    }
    assert granted(ctl) == moved
    ctl("account", "add", "bob@client1.com")  # somebody else
    assert granted(ctl) == moved
    ctl("account", "delete", "robert@client2.com")
    assert granted(ctl) == {("info@company.com", "Box", "$staff@client1.com", "l")}
    ctl("group", "delete", "staff@client1.com")
    ctl("group", "add", "staff@client1.com", "bob@client1.com")
    assert granted(ctl) == set()
    ctl("share", "verify")


def test_a_directory_without_the_file_of_grants_goes_on_working(ctl):
    for path in ctl.directory.glob("sharing.mdb*"):
        path.unlink()
    ctl("account", "rename", "info@client1.com", "office@client1.com")
    ctl("account", "delete", "office@client1.com")
    assert "sharing" not in ctl.json("status")["holds"]


def test_a_lock_file_of_grants_that_is_gone_is_made_again(ctl):
    lock = ctl.directory / "sharing.mdb-lock"
    lock.unlink()
    ctl("status")
    assert lock.exists()
    assert ctl.json("status")["holds"]["sharing"]["grants"] == 0


def test_passwords(ctl):
    ctl("password", "verify", "info", "--stdin", input="x", code=NO_USER)
    ctl("password", "set", "info", "--stdin", input="pass word \t ü\nsecond line\n")
    assert ctl("password", "verify", "info", "--stdin", input="pass word \t ü") == "right\n"
    assert ctl("password", "verify", "info", "--stdin", input="Pass", code=NO_USER) == "wrong\n"
    assert ctl.json("account", "show", "info")["password"] is True
    ctl("password", "delete", "info")
    assert ctl.json("account", "show", "info")["password"] is False
    ctl("account", "add", "bob", "--password-stdin", input="hers\n")
    assert ctl("password", "verify", "bob", "--stdin", input="hers\n") == "right\n"
    ctl("password", "set", "nobody", "--stdin", input="x\n", code=NO_USER)


@pytest.mark.parametrize("bad", ["", "\n", "a\0b\n", "x" * 1025], ids=["none", "empty", "NUL", "long"])
def test_bad_passwords_are_65(ctl, bad):
    ctl("password", "set", "info", "--stdin", input=bad, code=DATA)
    ctl("account", "add", "new", "--password-stdin", input=bad, code=DATA)
    assert "new@company.com" not in ctl.accounts()


def test_a_password_is_not_read_unasked(ctl):
    assert "--stdin" in ctl.err("password", "set", "info", input="x\n", code=USAGE)


def read_until(fd, wanted):
    text = b""
    while wanted not in text:
        text += os.read(fd, 1000)
    return text


def test_on_a_terminal_the_password_is_asked_twice_without_echo(ctl):
    pid, fd = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where we run in the background
        os.execv(HOMINGCTL, [HOMINGCTL, "-d", str(ctl.directory), "password", "set", "info"])
    seen = read_until(fd, b"password: ")
    time.sleep(0.2)
    os.write(fd, b"geheim\n")
    seen += read_until(fd, b"once more: ")
    time.sleep(0.2)
    os.write(fd, b"geheim\n")
    try:
        while chunk := os.read(fd, 1000):
            seen += chunk
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(fd)
    assert b"geheim" not in seen
    assert ctl("password", "verify", "info", "--stdin", input="geheim") == "right\n"


def test_a_terminal_gets_its_echo_back_after_an_interrupt(ctl):
    import termios

    pid, fd = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where we run in the background
        os.execv(HOMINGCTL, [HOMINGCTL, "-d", str(ctl.directory), "password", "set", "info"])
    read_until(fd, b"password: ")
    time.sleep(0.2)
    assert not termios.tcgetattr(fd)[3] & termios.ECHO
    os.write(fd, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGINT
    assert termios.tcgetattr(fd)[3] & termios.ECHO
    os.close(fd)


def test_a_hash_of_dovecots_alone_is_said_so(ctl, tmp_path):
    file = tmp_path / "accounts"
    file.write_text(lines_of([{"account": "old@client1.com", "password": "{SCRAM-SHA-256}x,y,z"}]))
    ctl("account", "import", file)
    done = ctl.run("password", "verify", "old@client1.com", "--stdin", input="x", code=DATA)
    assert "x,y,z" not in done.err


# import and export


def test_import_and_export_are_each_others_way_back(ctl, tmp_path):
    ctl("group", "add", "staff@client1.com")
    accounts = [
        {"account": "b@client1.com", "password": "{PLAIN}one", "home": "/srv/b", "uid": "7",
         "gid": "8", "groups": ["staff@client1.com"]},
        {"account": "a@client1.com"},
        {"account": "very.long.name.of.an.account@client2.com", "password": "{PLAIN}two"},
        {"account": "very.long.name.of.an.accounts@client2.com"},
        {"account": "käthe@client2.com", "home": "/srv/\"k\\"},
    ]  # fmt: skip
    file = tmp_path / "accounts"
    file.write_text("\n" + lines_of(accounts) + "  \n")
    assert ctl("account", "import", file) == "5 accounts imported\n"
    exported = ctl("export", "--accounts", "--with-passwords")
    got = [json.loads(line) for line in exported.splitlines()]
    assert [a["account"] for a in got] == ctl.accounts()
    for account in accounts:
        assert account in got
    assert "{PLAIN}" not in ctl("export", "--accounts")
    file.write_text(exported)
    assert ctl.json("account", "import", file, "--replace") == {"imported": 8}
    assert ctl("export", "--accounts", "--with-passwords") == exported
    assert ctl("verify").endswith("0 problems\n")


def test_import_reads_a_pipe(ctl):
    text = lines_of({"account": f"user{n}@client1.com"} for n in range(5000))
    assert ctl("account", "import", "-", input=text) == "5000 accounts imported\n"
    assert len(ctl.accounts("client1.com")) == 5001


def test_import_reports_every_bad_line_and_imports_nothing(ctl, tmp_path):
    ctl("alias", "add", "sales@client1.com", "info")
    bad = [
        ("not json", "", "not JSON"),
        ("[1]", "", "not a JSON object"),
        ('{"account":"a@client1.com"} x', "", "not JSON"),
        ('{"account":"a@client1.com","account":"b@client1.com"}', "", "not JSON"),
        ("{}", "account", "missing"),
        ('{"account":7}', "account", "not a string"),
        ('{"account":"a b@client1.com"}', "account", ""),
        ('{"account":"bare"}', "account", ""),
        ('{"account":"a@nowhere.net"}', "account", "none of the directory's"),
        ('{"account":"a@sqlsite.org"}', "account", "outside the directory"),
        ('{"account":"p1@client1.com","password":"plain"}', "password", ""),
        ('{"account":"p2@client1.com","password":"{X}a\\nb"}', "password", ""),
        ('{"account":"p3@client1.com","home":"srv"}', "home", "absolute"),
        ('{"account":"p4@client1.com","uid":-1}', "uid", ""),
        ('{"account":"p5@client1.com","gid":"a b"}', "gid", "white space"),
        ('{"account":"p6@client1.com","groups":"staff"}', "groups", "list"),
        ('{"account":"p7@client1.com","groups":["x@client1.com",3]}', "groups[1]", "not a string"),
        ('{"account":"p8@client1.com","groups":["x"]}', "groups[0]", ""),
        ('{"account":"p9@client1.com","colour":"red"}', "colour", "no such key"),
        ('{"account":"info@client1.com"}', "account", "exists already"),
        ('{"account":"sales@client1.com"}', "account", "alias"),
        ('{"account":"good@client1.com"}', None, None),
        ('{"account":"GOOD@client1.com"}', "account", "the same account as in line 22"),
    ]
    file = tmp_path / "accounts"
    file.write_text("".join(line + "\n" for line, _, _ in bad))
    err = ctl.err("account", "import", file, code=DATA)
    reported = {}
    for line in err.splitlines():
        if line.startswith(f"{file}:"):
            number, rest = line[len(str(file)) + 1 :].split(": ", 1)
            reported[int(number)] = rest
    for number, (line, key, why) in enumerate(bad, 1):
        if key is None:
            assert number not in reported
        else:
            assert number in reported, line
            assert reported[number].startswith(f"{key}: " if key else ""), reported[number]
            assert why in reported[number]
    assert f"{len(bad) - 1} mistakes: nothing is imported" in err
    assert len(ctl.accounts()) == 3


def test_import_prints_a_hundred_mistakes_and_counts_the_rest(ctl, tmp_path):
    file = tmp_path / "accounts"
    file.write_text("{}\n" * 250 + "x" * 100_000 + "\n")
    err = ctl.err("account", "import", file, code=DATA).splitlines()
    assert len([line for line in err if line.startswith(f"{file}:")]) == 100
    assert err[-2:] == [
        "homingctl: and 151 more",
        f"homingctl: {file}: 251 mistakes: nothing is imported",
    ]


def test_import_takes_lines_of_any_shape_of_json(ctl, tmp_path):
    file = tmp_path / "accounts"
    file.write_bytes(
        b' { "account" : "one@client1.com" , "groups" : [ ] }\r\n'
        b'{"\\u0061ccount":"t\\u0077o@client1.com","uid":1000,"gid":null}\n'
        b'{"gid":"g","account":"three@client1.com"}'
    )
    assert ctl("account", "import", file) == "3 accounts imported\n"
    assert ctl.json("account", "show", "two@client1.com")["uid"] == "1000"


@pytest.mark.parametrize("garbage", [b"\0", b'{"account":"a@client1.com"}\0\n', b"\xff\xfe\n", b'{"account":"\xff@client1.com"}\n'])  # fmt: skip
def test_import_refuses_garbage(ctl, tmp_path, garbage):
    file = tmp_path / "accounts"
    file.write_bytes(garbage)
    ctl("account", "import", file, code=DATA)
    assert len(ctl.accounts()) == 3


def test_import_of_nothing_and_of_a_missing_file(ctl, tmp_path):
    assert ctl("account", "import", "-", input="") == "0 accounts imported\n"
    ctl("account", "import", tmp_path / "missing", code=NO_INPUT)


def test_import_of_unsorted_accounts_of_many_domains(ctl, config, tmp_path):
    story = json.loads(config.read_text())
    domains = [f"d{n}.example" for n in range(700)]
    story["domains"].update({domain: {} for domain in domains})
    config.write_text(json.dumps(story))
    ctl("apply", config)
    names = [f"user.with.a.name.{n}@{domain}" for n in range(20) for domain in domains]
    random.Random(1).shuffle(names)
    file = tmp_path / "accounts"
    file.write_text(lines_of({"account": name} for name in names))
    ctl("account", "import", file)
    assert set(ctl.accounts()) >= set(names)


# aliases, forwarders, groups


def test_aliases(ctl):
    ctl("alias", "add", "sales", "info@client1.com")
    ctl("alias", "add", "any@sqlsite.org", "info")
    assert ctl("alias", "list") == (
        "sales@company.com: info@client1.com\nany@sqlsite.org: info@company.com\n"
    )
    assert ctl.json("alias", "list", "sqlsite.org") == [
        {"alias": "any@sqlsite.org", "target": "info@company.com"}
    ]
    assert ctl.json("route", "--login", "sales")["account"] == "info@client1.com"
    ctl("alias", "add", "sales", "info", code=CANT_CREATE)
    ctl("account", "add", "sales", code=CANT_CREATE)
    ctl("forwarder", "delete", "sales", code=NO_USER)
    ctl("alias", "delete", "sales", "any@sqlsite.org")
    ctl("alias", "delete", "sales", code=NO_USER)
    assert ctl.json("alias", "list") == []


def test_forwarders(ctl):
    ctl("forwarder", "add", "team", "info", "x@elsewhere.net")
    assert ctl.json("forwarder", "list") == [
        {"forwarder": "team@company.com", "targets": ["info@company.com", "x@elsewhere.net"]}
    ]
    ctl("route", "--login", "team", code=NO_USER)
    ctl("forwarder", "delete", "team")
    ctl("route", "--address", "team@company.com", code=NO_USER)


def test_groups(ctl):
    ctl("group", "add", "staff", "info", "info@client1.com")
    ctl("group", "add", "staff", "info@client2.com")
    assert ctl.json("group", "list") == [
        {
            "group": "staff@company.com",
            "members": ["info@client1.com", "info@client2.com", "info@company.com"],
        }
    ]
    assert ctl.json("account", "show", "info")["groups"] == ["staff@company.com"]
    answer = ctl.json("route", "--address", "staff@company.com")
    assert sorted(answer["targets"]) == ["info@client1.com", "info@client2.com", "info@company.com"]
    ctl("group", "remove", "staff", "info")
    ctl("group", "remove", "staff", "info", code=NO_USER)
    assert ctl.json("account", "show", "info")["groups"] == []
    ctl("group", "delete", "staff")
    assert ctl("group", "list") == ""
    assert ctl("verify").endswith("0 problems\n")


# verify, status


def test_verify_finds_what_a_record_hides(ctl, config):
    ctl("account", "add", "shop-admin@client1.com")
    done = ctl.run("verify", code=DATA)
    assert "shop-admin@client1.com: " in done.out
    found = ctl.json("verify", code=DATA)
    assert {item["name"] for item in found["found"]} == {"shop-admin@client1.com"}


def test_verify_finds_names_of_removed_domains_and_dangling_targets(ctl, config):
    ctl("alias", "add", "sales", "info@client1.com")
    ctl("forwarder", "add", "all", "info@client1.com", "info")
    ctl("group", "add", "staff", "info@client1.com")
    assert ctl("verify").endswith("0 problems\n")
    story = json.loads(config.read_text())
    story["domains"]["client1.com"]["accounts"] = "directory"
    story["router"].append({"match": "client1.com", "to": "error:5.1.1 gone"})
    config.write_text(json.dumps(story))
    ctl("apply", config)
    found = {item["name"] for item in ctl.json("verify", code=DATA)["found"]}
    assert found >= {
        "sales@company.com", "all@company.com", "staff@company.com", "info@client1.com",
    }  # fmt: skip
    del story["domains"]["client1.com"]
    story["router"] = []
    config.write_text(json.dumps(story))
    ctl("apply", config)
    assert "info@client1.com: out of reach" in ctl("verify", code=DATA)


def test_status(ctl):
    status = ctl.json("status")
    assert [Path(file["path"]).name for file in status["files"]][:2] == [
        "directory.mdb", "credentials.mdb",
    ]  # fmt: skip
    file = status["files"][0]
    assert file["format"] == 2 and file["sequence"] > 0 and file["transaction"] > 0
    assert file["size"] >= file["used"] > 0 and file["map"] >= file["size"]
    assert status["holds"] == {
        "main_domain": "company.com", "domains": 4, "records": 4, "names": 3, "passwords": 0,
        "passwords_without_account": 0, "sharing": {"owners": 0, "mailboxes": 0, "grants": 0},
    }  # fmt: skip
    sequence = file["sequence"]
    ctl("account", "add", "another")
    assert ctl.json("status")["files"][0]["sequence"] == sequence + 1
    assert "main domain company.com" in ctl("status")


def test_passwords_without_an_account_are_told_and_open_nothing(ctl):
    ctl("account", "add", "gone", "--password-stdin", input="secret")
    credentials = ctl.directory / "credentials.mdb"
    before = credentials.read_bytes()
    ctl("account", "delete", "gone")
    credentials.write_bytes(before)  # as after a kill between the two commits
    ctl("password", "verify", "gone", "--stdin", input="secret", code=NO_USER)
    holds = ctl.json("status")["holds"]
    assert (holds["passwords"], holds["passwords_without_account"]) == (1, 1)
    assert "1 passwords belong to no account: homingctl verify names them" in ctl("status")
    assert "gone@company.com: an orphan password" in ctl("verify", code=DATA)
    ctl("account", "add", "gone")
    assert ctl.json("status")["holds"]["passwords"] == 0
    assert ctl.json("account", "show", "gone")["password"] is False


def test_status_names_readers(ctl):
    with subprocess.Popen(
        [HOMINGCTL, "-d", ctl.directory, "route", "--batch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdin.write(b"login\tinfo\t\t\n")
        process.stdin.flush()
        process.stdout.readline()
        readers = ctl.json("status")["files"][0]["readers"]
        assert [(r["pid"], r["program"]) for r in readers] == [(process.pid, "homingctl")]
        process.kill()
        process.wait()
    assert ctl.json("status")["files"][0]["readers"] == []


def test_status_makes_a_missing_lock_file_again(ctl):
    (ctl.directory / "directory.mdb-lock").unlink()
    ctl("status")
    assert (ctl.directory / "directory.mdb-lock").exists()


@pytest.mark.parametrize("args", [["status"], ["account", "list"], ["export"], ["verify"], ["account", "add", "x"], ["account", "import", "-"]], ids=" ".join)  # fmt: skip
def test_a_missing_directory_is_66(empty, args):
    done = empty.run(*args, code=NO_INPUT)
    assert str(empty.directory) in done.err
    assert "`homingctl apply FILE` makes a directory" in done.err
    assert not empty.directory.exists()


def test_a_missing_or_wrong_directory_says_what_to_do(empty, config, tmp_path):
    done = empty.run("route", "--login", "info", code=TRY_AGAIN)
    assert "`homingctl apply FILE` makes" in done.err and "--directory" in done.err
    file = Ctl(config)  # a file in the place of the folder
    for args in (["route", "--login", "info"], ["apply", config], ["status"], ["verify"]):
        done = file.run(*args, code=TRY_AGAIN if args[0] == "route" else IO_ERROR)
        assert "choose another --directory" in done.err, args
    deep = Ctl(tmp_path / "missing" / "homing")
    done = deep.run("apply", config, code=None)
    assert done.returncode != 0 and "the folder above it is missing" in done.err


def damage(path, how):
    if how == "random":
        path.write_bytes(random.Random(3).randbytes(path.stat().st_size))
    elif how == "truncated":
        os.truncate(path, 4096)
    elif how == "empty":
        os.truncate(path, 0)
    elif how == "directory":
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("how", ["random", "truncated", "empty", "directory"])
def test_a_damaged_directory_is_told_and_never_crashes(ctl, how):
    damage(ctl.directory / "directory.mdb", how)
    for args in (["account", "list"], ["status"], ["verify"], ["account", "add", "x"]):
        done = ctl.run(*args, code=None)
        assert done.returncode in (IO_ERROR, NO_INPUT), (args, done.err)
        assert "directory.mdb" in done.err
    ctl("route", "--login", "info", code=TRY_AGAIN)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_who_may_not_read_is_told(ctl, tmp_path):
    def become_nobody():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    done = subprocess.run(
        [HOMINGCTL, "-d", ctl.directory, "account", "list"],
        preexec_fn=become_nobody,
        capture_output=True,
    )
    assert done.returncode == NO_PERMISSION


# accidents


def test_fifty_killed_imports_leave_whole_transactions(ctl, tmp_path):
    batch, chance = 4000, random.Random(7)
    files = []
    for n in range(51):
        file = tmp_path / f"batch{n}"
        file.write_text(
            lines_of(
                {"account": f"u{n:02}-{i:05}@client1.com", "password": "{PLAIN}x"}
                for i in range(batch)
            )
        )
        files.append(file)
    command = [HOMINGCTL, "-d", str(ctl.directory), "account", "import"]
    start = time.monotonic()
    subprocess.run(command + [files[50]], check=True, capture_output=True)
    duration = time.monotonic() - start
    finished = killed = 0
    for file in files[:50]:
        process = subprocess.Popen(command + [file], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(chance.uniform(0, duration * 1.2))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        finished += process.returncode == 0
        answer = ctl.json("route", "--login", "info@client1.com")
        assert answer["account"] == "info@client1.com"
    accounts = ctl.accounts("client1.com")
    counts = {}
    for account in accounts:
        counts[account[:3]] = counts.get(account[:3], 0) + 1
    del counts["inf"]
    assert set(counts.values()) == {batch}
    assert finished < len(counts) + 1 and killed > 10
    # A password may be there before its account, never an account of a batch without its own.
    exported = ctl("export", "--accounts", "--with-passwords").splitlines()
    for line in exported:
        account = json.loads(line)
        if account["account"].startswith("u"):
            assert account["password"] == "{PLAIN}x"
    status = ctl.json("status")
    assert status["holds"]["names"] == 3 + batch * len(counts)
    ctl("account", "add", "after@client1.com")


FULL_DISK = """
set -e
mount -t tmpfs -o size=8m,mode=755 tmpfs "$1"
"$2" --directory "$1/homing" apply "$3"
"$2" --directory "$1/homing" account add info@client1.com
set +e
"$2" --directory "$1/homing" account import "$4" 2>"$5"
echo "import $?"
"$2" --directory "$1/homing" route --login info@client1.com
echo "route $?"
"$2" --directory "$1/homing" account list | wc -l
"$2" --directory "$1/homing" account add after@client1.com 2>>"$5"
echo "add $?"
"""


def test_a_full_disk_is_told_and_the_old_data_served(tmp_path, config):
    mount = tmp_path / "mount"
    mount.mkdir()
    accounts = tmp_path / "accounts"
    accounts.write_text(
        lines_of(
            {"account": f"user{n}@client1.com", "password": "{PLAIN}" + "x" * 200}
            for n in range(40000)
        )
    )
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", mount]).returncode != 0:
        pytest.skip("needs root, to mount a small file system")
    errors = tmp_path / "errors"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", FULL_DISK, "sh", mount, HOMINGCTL, config, accounts, errors],
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = done.stdout.splitlines()
    assert f"import {IO_ERROR}" in lines, done
    assert "route 0" in lines
    assert "account info@client1.com" in lines
    assert lines[lines.index("route 0") + 1].strip() == "1"
    assert "No space left" in errors.read_text()
    assert "add 0" in lines or f"add {IO_ERROR}" in lines


# Dovecot


def doveconf_version():
    program = shutil.which("doveconf")
    if not program:
        return None
    out = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    return out.split()[0] if out else None


DOVECONF = doveconf_version()
needs_doveconf = pytest.mark.skipif(not DOVECONF, reason="no doveconf here")


@pytest.mark.parametrize("version", ["2.3", "2.3.19.1", "2.4", "2.4.1-4"])
def test_config_dovecot_is_complete(ctl, version):
    text = ctl("config", "dovecot", "--dovecot-version", version)
    new = version.startswith("2.4")
    assert "%" in next(x for x in text.splitlines() if x.startswith("auth_username_chars = "))
    for block in ("passdb", "userdb"):
        first, second = (f"{block} homing_route {{", f"{block} homing_accounts {{") if new else (
            f"{block} {{\n  driver = homing\n  args = route",
            f"{block} {{\n  driver = homing\n  args = accounts")
        assert text.index(first) < text.index(second)
    assert text.count("passdb homing_route {" if new else "  args = route directory=") >= 1
    assert str(ctl.directory) in text
    assert "extra_groups = homing" in text and "vsz_limit = " in text
    assert text.count("{") == text.count("}")
    assert ("auth_default_domain =" if new else "auth_default_realm =") in text


def test_config_dovecot_leaves_accounts_out_where_nobody_needs_them(empty, tmp_path):
    file = tmp_path / "external.json"
    file.write_text('{"main_domain":"a.com","domains":{"a.com":{"accounts":"external"}}}')
    empty("apply", file)
    text = empty("config", "dovecot", "--dovecot-version", "2.3")
    assert "\n#  args = accounts" in text and "\n  args = accounts" not in text


def test_config_dovecot_refuses_what_it_cannot_write(ctl):
    ctl("--directory", "/a b", "config", "dovecot", directory=False, code=USAGE)
    ctl("config", "dovecot", "--dovecot-version", "2.2.36", code=CONFIG)


def live(ctl, text, tmp_path, code=CONFIG):
    output = tmp_path / "doveconf.output"
    output.write_text(text)
    script = tmp_path / "doveconf"
    script.write_text(f"#!/bin/sh\ncat {output}\n")
    script.chmod(0o755)
    return ctl.json("check", "--live", "--doveconf", script, code=code)["findings"]


GROUP = "root"

LIVE_23 = """\
auth_cache_size = 10 M
auth_default_realm = 
auth_mechanisms = plain login
auth_username_chars = abc@%
auth_username_format = %Lu
auth_username_translation = 
default_internal_user = nobody
default_vsz_limit = 4 G
passdb {
  args = route directory=DIRECTORY
  deny = no
  driver = homing
  master = no
  mechanisms = 
  result_failure = continue
  result_internalfail = continue
  result_success = return-ok
  skip = never
  username_filter = 
}
passdb {
  args = cache_key=%u dovecot
  driver = pam
}
service auth {
  extra_groups = EXTRA
  group = 
  user = $default_internal_user
  vsz_limit = 18446744073709551615 B
}
service auth-worker {
  user = 
  vsz_limit = 18446744073709551615 B
}
userdb {
  args = 
  driver = prefetch
}
userdb {
  args = route directory=DIRECTORY
  driver = homing
  result_failure = continue
  skip = never
}
userdb {
  args = uid=vmail
  driver = static
}
"""

LIVE_24 = """\
dovecot_config_version = 2.4.1
auth_cache_size = 10M
auth_default_domain = 
auth_username_chars = abc@%
auth_username_format = %{user | lower}
default_internal_user = nobody
default_vsz_limit = 4 G
passdb_deny = no
passdb_result_failure = continue
passdb_skip = never
service_vsz_limit = 0
passdb homing_route {
  driver = homing
  homing_directory = DIRECTORY
  homing_mode = route
}
passdb passwd-file {
  passwd_file_path = /etc/dovecot/users
}
userdb homing_route {
  driver = homing
  homing_directory = DIRECTORY
  homing_mode = route
}
service auth {
  extra_groups = EXTRA
}
"""


def fill(text, ctl):
    group = (ctl.directory / "directory.mdb").group()
    return text.replace("DIRECTORY", str(ctl.directory)).replace("EXTRA", group)


@pytest.mark.parametrize("text", [LIVE_23, LIVE_24], ids=["2.3", "2.4"])
def test_good_settings_have_no_findings(ctl, tmp_path, text):
    assert live(ctl, fill(text, ctl), tmp_path, code=0) == []


SECOND_23 = "passdb {\n  args = cache_key=%u dovecot\n  driver = pam\n}\n"

FINDINGS = [
    ("no percent", "23", "auth_username_chars = abc@%", "auth_username_chars = abc@",
     "auth_username_chars"),
    ("default realm", "23", "auth_default_realm = ", "auth_default_realm = company.com",
     "auth_default_realm"),
    ("default domain", "24", "auth_default_domain = ", "auth_default_domain = company.com",
     "auth_default_domain"),
    ("format", "23", "format = %Lu", "format = %Ln", "auth_username_format"),
    ("format 2.4", "24", "%{user | lower}", "%{user | username | lower}", "auth_username_format"),
    ("format of a protocol", "24", "service auth {", "protocol imap {\n  auth_username_format = "
     "%{user | username}\n}\nservice auth {", "protocol imap auth_username_format"),
    ("digest", "23", "plain login", "plain digest-md5", "auth_mechanisms"),
    ("not first", "23", "passdb {\n  args = route", SECOND_23 + "passdb {\n  args = route",
     "passdb { driver = homing }"),
    ("not first 2.4", "24", "passdb homing_route {",
     "passdb first {\n  driver = pam\n}\npassdb homing_route {", "passdb homing_route"),
    ("no route passdb", "24", "passdb homing_route {\n  driver = homing",
     "passdb homing_route {\n  driver = pam", "passdb"),
    ("no route userdb", "24", "userdb homing_route {\n  driver = homing",
     "userdb homing_route {\n  driver = static", "userdb"),
    ("cache key", "23", "cache_key=%u", "cache_key=%n", "passdb { driver = pam }"),
    ("cache key of nothing", "23", "cache_key=%u", "cache_key=%r", "passdb { driver = pam }"),
    ("name without domain", "23", "args = cache_key=%u dovecot\n  driver = pam",
     "args = username_format=%n /etc/x\n  driver = passwd-file", "passdb { driver = passwd-file }"),
    ("name without domain 2.4", "24", "  passwd_file_path",
     "  auth_username_format = %{user|username}\n  passwd_file_path", "passdb passwd-file"),
    ("query", "24", "  passwd_file_path = /etc/dovecot/users",
     "  driver = sql\n  query = SELECT x FROM t WHERE n='%{user | username}'",
     "passdb passwd-file"),
    ("wrong password is right", "23", "result_failure = continue\n  result_internalfail",
     "result_failure = return-ok\n  result_internalfail", "passdb { driver = homing }"),
    ("broken is right", "24", "  passwd_file_path", "  result_internalfail = return-ok\n  x",
     "passdb passwd-file"),
    ("deny", "23", "deny = no", "deny = yes", "passdb { driver = homing }"),
    ("skip", "23", "skip = never\n  username", "skip = authenticated\n  username",
     "passdb { driver = homing }"),
    ("filter", "23", "username_filter = ", "username_filter = *@x", "passdb { driver = homing }"),
    ("userdb failure", "23", "driver = homing\n  result_failure = continue\n  skip",
     "driver = homing\n  result_failure = return-fail\n  skip", "userdb { driver = homing }"),
    ("limit", "23", "default_vsz_limit = 4 G", "default_vsz_limit = 1 M", "service auth"),
    ("limit 2.4", "24", "default_vsz_limit = 4 G", "default_vsz_limit = 1 M", "service auth"),
    ("mode", "24", "  homing_mode = route", "  homing_mode = other", "passdb homing_route"),
]  # fmt: skip


@pytest.mark.parametrize(
    "version, old, new, setting", [row[1:] for row in FINDINGS], ids=[row[0] for row in FINDINGS]
)
def test_each_harmful_setting_is_found(ctl, tmp_path, version, old, new, setting):
    text = LIVE_23 if version == "23" else LIVE_24
    assert old in text
    found = live(ctl, fill(text.replace(old, new), ctl), tmp_path)
    assert setting in {finding["setting"] for finding in found}, found
    assert all(finding["problem"] and finding["change"] for finding in found)


@pytest.mark.parametrize(
    "old, new",
    [
        ("cache_key=%u", "cache_key=%n@%d"),
        ("cache_key=%u", "cache_key=%u%r"),
        ("cache_key=%u", "cache_key=%n%{local_ip}%{local_name}"),
        ("auth_cache_size = 10 M", "auth_cache_size = 0"),
        ("auth_username_chars = abc@%", "auth_username_chars = "),
        ("format = %Lu", "format = %Ln@%Ld"),
        ("service auth {\n", "protocol imap {\n  auth_default_realm = x\n}\nservice auth {\n"),
        ("service auth {\n", "protocol lmtp {\n  auth_username_format = %Ln\n}\nservice auth {\n"),
    ],
)
def test_harmless_settings_are_not_found(ctl, tmp_path, old, new):
    assert live(ctl, fill(LIVE_23.replace(old, new), ctl), tmp_path, code=0) == []


def test_a_service_that_may_not_read_is_found(ctl, tmp_path):
    text = fill(LIVE_23.replace("extra_groups = EXTRA", "extra_groups = "), ctl)
    found = live(ctl, text, tmp_path)
    assert [finding["setting"] for finding in found] == ["service auth"]
    assert "extra_groups" in found[0]["change"]


def test_a_missing_directory_is_found(ctl, tmp_path):
    found = live(ctl, LIVE_23.replace("DIRECTORY", "/nonexistent/homing"), tmp_path)
    assert "/nonexistent/homing" in {finding["setting"] for finding in found}


def test_live_prints_the_line_to_change(ctl, tmp_path):
    live(ctl, LIVE_23.replace("abc@%", "abc@"), tmp_path)
    text = ctl("check", "--live", "--doveconf", tmp_path / "doveconf", code=CONFIG)
    assert "    change: auth_username_chars = abc@%\n" in text


def test_live_with_a_doveconf_that_fails(ctl, tmp_path):
    assert "doveconf" in ctl("check", "--live", "--doveconf", "false", code=CONFIG)
    assert "No such file" in ctl.err("check", "--live", "--doveconf", "/no/doveconf", code=NO_INPUT)


@pytest.mark.parametrize("output", ["", "}\n}\n", "a {\n" * 100, "{ = }", "= = =\n\0\x1b[0m", "passdb {\n"])
def test_live_survives_any_output(ctl, tmp_path, output):
    live(ctl, output, tmp_path)


@needs_doveconf
def test_config_dovecot_is_taken_by_this_dovecot_and_check_live_agrees(ctl, tmp_path):
    conf = tmp_path / "dovecot.conf"
    head = ""
    if not DOVECONF.startswith("2.3"):
        version = DOVECONF.split("-")[0]
        head = f"dovecot_config_version = {version}\ndovecot_storage_version = {version}\n"
    conf.write_text(head + ctl("config", "dovecot"))
    done = subprocess.run(["doveconf", "-n", "-c", conf], capture_output=True, text=True)
    if "Unknown setting: homing" in done.stderr:
        pytest.skip("Homing's settings module is not installed in this Dovecot")
    assert done.returncode == 0, done.stderr
    assert "auth_username_chars" in done.stdout
    found = ctl.json("check", "--live", "-c", conf, code=None)["findings"]
    assert {finding["setting"] for finding in found} <= {"service auth"}, found


@needs_doveconf
def test_check_live_of_a_plain_dovecot_says_what_is_missing(ctl, tmp_path):
    conf = tmp_path / "dovecot.conf"
    head = ""
    if not DOVECONF.startswith("2.3"):
        version = DOVECONF.split("-")[0]
        head = f"dovecot_config_version = {version}\ndovecot_storage_version = {version}\n"
    conf.write_text(head)
    found = ctl.json("check", "--live", "-c", conf, code=CONFIG)["findings"]
    assert {"auth_username_chars", "passdb", "userdb"} <= {f["setting"] for f in found}
