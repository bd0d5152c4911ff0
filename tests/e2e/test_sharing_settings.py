"""`homingctl config dovecot --sharing` and `check --live` for shared mailboxes, on settings that are
given as doveconf prints them. test_sharing_config.py pastes the former into a real Dovecot."""

import re

import pytest

from test_homingctl import (CONFIG, LIVE_23, LIVE_24, NO_INPUT, USAGE, config, ctl,  # noqa: F401
                            fill, live)

SHARING_23 = """\
mail_access_groups = EXTRA
mail_location = maildir:~/Maildir
mail_plugins = " quota"
namespace inbox {
  inbox = yes
  prefix = 
  separator = /
  type = private
}
namespace homing_shared {
  disabled = no
  list = children
  location = maildir:%%h/Maildir:INDEXPVT=~/shared/%%u
  prefix = shared/%%u/
  separator = /
  subscriptions = no
  type = shared
}
plugin {
  acl = vfile
  homing_directory = DIRECTORY
}
protocols = " imap lmtp"
protocol imap {
  mail_plugins = " quota acl homing_acl imap_acl imap_homing_acl"
}
protocol lmtp {
  mail_plugins = " quota acl homing_acl"
}
protocol lda {
  mail_plugins = " quota acl homing_acl"
}
protocol doveadm {
  mail_plugins = " quota acl homing_acl"
}
service imap {
  user = 
}
"""

SHARING_24 = """\
acl_driver = homing
homing_directory = DIRECTORY
mail_access_groups {
  EXTRA = yes
}
mail_driver = maildir
mail_path = ~/Maildir
mail_plugins {
  acl = yes
  homing_acl = yes
}
namespace inbox {
  inbox = yes
  separator = /
}
namespace homing_shared {
  mail_driver = maildir
  mail_index_private_path = ~/shared/%{owner_user}
  mail_path = %{owner_home}/Maildir
  list = children
  prefix = shared/$user/
  separator = /
  subscriptions = no
  type = shared
}
protocols {
  imap = yes
  lmtp = yes
}
protocol imap {
  mail_plugins {
    imap_acl = yes
    imap_homing_acl = yes
  }
}
protocol lmtp {
  mail_plugins = sieve acl homing_acl
}
"""


def text_of(version):
    return LIVE_23 + SHARING_23 if version == "23" else LIVE_24 + SHARING_24


@pytest.mark.parametrize("version", ["23", "24"])
def test_good_settings_have_no_findings(ctl, tmp_path, version):  # noqa: F811
    assert live(ctl, fill(text_of(version), ctl), tmp_path, code=0) == []


IMAP = "mail_plugins = \" quota acl homing_acl imap_acl imap_homing_acl\""
LDA = "protocol lda {\n  mail_plugins = \" quota acl homing_acl\""

FINDINGS = [
    ("nothing in lmtp", "23", "protocol lmtp {\n  mail_plugins = \" quota acl homing_acl\"",
     "protocol lmtp {\n  mail_plugins = sieve", "protocol lmtp", "acl and homing_acl"),
    ("nothing in lmtp", "24", "mail_plugins = sieve acl homing_acl", "mail_plugins = sieve",
     "protocol lmtp", "mail_plugins { acl = yes homing_acl = yes } }"),
    ("acl alone", "23", IMAP, "mail_plugins = \" acl imap_acl\"", "protocol imap",
     "counts for nothing"),
    ("turned off", "24", "    imap_acl = yes", "    homing_acl = no\n    imap_acl = yes",
     "protocol imap", "counts for nothing"),
    ("ours alone", "23", IMAP, "mail_plugins = homing_acl imap_acl imap_homing_acl",
     "protocol imap", "without acl"),
    ("nothing in doveadm", "23", "protocol doveadm {", "protocol submission {",
     "protocol doveadm", "grants do not follow"),
    ("nothing in lda", "23", LDA, "protocol lda {\n  mail_plugins = sieve", "protocol lda",
     "$mail_plugins acl homing_acl }"),
    ("no imap_acl", "24", "    imap_acl = yes\n", "", "protocol imap", "imap_acl = yes"),
    ("no imap_homing_acl", "23", " imap_homing_acl", "", "protocol imap", "imap_homing_acl"),
    ("imap_acl for all", "23", LDA, LDA[:-1] + " imap_acl\"", "protocol lda", "for imap alone"),
    ("acl off", "23", "  acl = vfile\n", "", "plugin/acl", "off"),
    ("acl off", "24", "acl_driver = homing", "acl_driver = ", "acl_driver", "off"),
    ("another driver", "24", "acl_driver = homing", "acl_driver = vfile", "acl_driver", "vfile"),
    ("global file", "23", "acl = vfile", "acl = vfile:/etc/dovecot/acls", "plugin/acl",
     "/etc/dovecot/acls"),
    ("global file", "24", "acl_driver = homing", "acl_driver = homing\nacl_global_path = /etc/a",
     "acl_global_path", "/etc/a"),
    ("globals only", "23", "  acl = vfile", "  acl = vfile\n  acl_globals_only = yes",
     "acl_globals_only", ""),
    ("ignored", "23", "  acl = vfile", "  acl = vfile\n  acl_ignore_namespace = shared/*",
     "namespace homing_shared", "passes it by"),
    ("ignored", "24", "  list = children", "  acl_ignore = yes\n  list = children",
     "namespace homing_shared", "passes it by"),
    ("ignored everywhere", "24", "acl_driver", "acl_ignore = yes\nacl_driver", "acl_ignore", ""),
    ("no namespace", "23", "type = shared", "type = public", "namespace", "type = shared"),
    ("no namespace", "24", "shared/$user/", "shared/", "namespace", "type = shared"),
    ("separator", "23", "prefix = \n  separator = /", "prefix = \n  separator = .",
     "namespace homing_shared", "every login"),
    ("separator", "24", "inbox = yes\n  separator = /", "inbox = yes",
     "namespace homing_shared", "namespace inbox { separator = / }"),
    ("one's own mail", "23", "maildir:%%h/Maildir", "maildir:~/Maildir",
     "namespace homing_shared", "not to the owner's"),
    ("one's own mail", "24", "%{owner_home}/Maildir", "~/Maildir", "namespace homing_shared",
     "not to the owner's"),
    ("subscriptions", "23", "subscriptions = no", "subscriptions = yes",
     "namespace homing_shared", "with the owner's"),
    ("not listed", "24", "list = children", "list = no", "namespace homing_shared", "not listed"),
    ("group", "23", "mail_access_groups = EXTRA", "mail_access_groups = ", "mail_access_groups",
     "mail processes"),
    ("group", "24", "  EXTRA = yes", "  mail = yes", "mail_access_groups", "mail processes"),
    ("chroot", "23", "mail_location", "mail_chroot = /var/vmail\nmail_location", "mail_chroot",
     ""),
    ("whole filesystem", "24", "mail_driver = maildir\nmail_path",
     "mail_full_filesystem_access = yes\nmail_path", "mail_full_filesystem_access", ""),
    ("other directory", "23", "  homing_directory = DIRECTORY", "  homing_directory = /elsewhere",
     "homing_directory", "/elsewhere"),
    ("userdb", "23", "service auth {", "service auth {\n  unix_listener auth-userdb {\n"
     "    mode = 0600\n  }", "unix_listener auth-userdb", "owner's home"),
    ("limit", "23", "service imap {", "service imap {\n  vsz_limit = 1 M", "service imap", "MiB"),
    ("limit", "24", "protocols {", "service lmtp {\n  vsz_limit = 1 M\n}\nprotocols {",
     "service lmtp", "MiB"),
]  # fmt: skip


@pytest.mark.parametrize("version, old, new, setting, words", [row[1:] for row in FINDINGS],
                         ids=[f"{row[0]}, {row[1]}" for row in FINDINGS])
def test_each_harmful_setting_is_found(ctl, tmp_path, version, old, new, setting,  # noqa: F811
                                       words):
    text = text_of(version)
    assert old in text
    found = live(ctl, fill(text.replace(old, new), ctl), tmp_path)
    # this one and no other: whoever follows the advice is done
    assert {finding["setting"] for finding in found} == {setting}, found
    assert any(words in finding["problem"] + finding["change"] for finding in found), found


HARMLESS = [
    ("23", "protocols = \" imap lmtp\"", "protocols = imap", "protocol lmtp {\n  mail_plugins = \""
     " quota acl homing_acl\"", "protocol lmtp {\n  mail_plugins = "),
    ("23", "acl = vfile", "acl = vfile:cache_secs=300", "", ""),
    ("23", "  acl = vfile", "  acl = vfile\n  acl_ignore_namespace = public/*", "", ""),
    ("23", "list = children", "list = no", "shared/%%u/", "~%%n/"),
    ("24", "list = children", "list = no", "shared/$user/", "~$username/"),
    ("24", "  EXTRA = yes", "  mail = yes", "service auth {", "service imap {\n  extra_groups = "
     "EXTRA\n}\nservice auth {"),
    ("23", "service auth {", "service auth {\n  unix_listener auth-userdb {\n    mode = 0666\n  }",
     "", ""),
]


@pytest.mark.parametrize("version, old, new, other, another", HARMLESS)
def test_harmless_settings_are_not_found(ctl, tmp_path, version, old, new, other,  # noqa: F811
                                         another):
    text = text_of(version)
    assert old in text and other in text
    text = text.replace(old, new).replace(other, another) if other else text.replace(old, new)
    assert live(ctl, fill(text, ctl), tmp_path, code=0) == []


def notes(ctl, text, tmp_path):  # noqa: F811
    live(ctl, text, tmp_path, code=0)
    return ctl.json("check", "--live", "--doveconf", tmp_path / "doveconf")["notes"]


@pytest.mark.parametrize("version, old, new, setting", [
    ("23", "  acl = vfile", "  acl = vfile\n  acl_shared_dict = file:/var/x", "acl_shared_dict"),
    ("24", "acl_driver = homing", "acl_driver = homing\nacl_sharing_map {\n  dict file {\n  }\n}",
     "acl_sharing_map"),
    ("23", ":INDEXPVT=~/shared/%%u", "", "namespace homing_shared"),
    ("24", "  mail_index_private_path = ~/shared/%{owner_user}\n", "", "namespace homing_shared"),
])  # fmt: skip
def test_what_only_is_good_to_know_is_a_note(ctl, tmp_path, version, old, new,  # noqa: F811
                                             setting):
    told = notes(ctl, fill(text_of(version).replace(old, new), ctl), tmp_path)
    assert [note["setting"] for note in told] == [setting]
    assert told[0]["note"] in ctl("check", "--live", "--doveconf", tmp_path / "doveconf")


def test_nothing_is_said_of_who_shares_nothing(ctl, tmp_path):  # noqa: F811
    stock = SHARING_23.replace(" homing_acl", "").replace("  homing_directory = DIRECTORY\n", "")
    stock = stock.replace(" imap_homing_acl", "").replace("location = maildir:%%h", "location = x")
    assert live(ctl, fill(LIVE_23 + stock, ctl), tmp_path, code=0) == []


def test_grants_that_nobody_asks_for_are_found(ctl, tmp_path):  # noqa: F811
    ctl("share", "grant", "info@company.com", "Box", "info@client1.com", "lr")
    found = live(ctl, fill(LIVE_23, ctl), tmp_path)
    assert [finding["setting"] for finding in found] == ["mail_plugins"]
    assert "(1)" in found[0]["problem"] and "--sharing" in found[0]["change"]


def test_accounts_of_different_users_of_the_system_are_found(ctl, tmp_path):  # noqa: F811
    ctl("account", "add", "other@client1.com", "--uid", "4711")
    found = live(ctl, fill(text_of("23"), ctl), tmp_path)
    assert [finding["setting"] for finding in found] == ["account_defaults"]
    assert "4711" in found[0]["problem"]


def test_a_missing_file_of_grants_is_found(ctl, tmp_path):  # noqa: F811
    for path in ctl.directory.glob("sharing.mdb*"):
        path.unlink()
    found = live(ctl, fill(text_of("23"), ctl), tmp_path)
    assert [finding["setting"] for finding in found] == [f"{ctl.directory}/sharing.mdb"]


def test_grants_that_may_not_be_written_are_found(ctl, tmp_path):  # noqa: F811
    (ctl.directory / "sharing.mdb").chmod(0o640)
    found = live(ctl, fill(text_of("24"), ctl), tmp_path)
    assert [finding["setting"] for finding in found] == ["mail_access_groups"]
    assert "sharing.mdb" in found[0]["problem"]


# config dovecot --sharing


def doveconf(tmp_path, text):
    (tmp_path / "doveconf.output").write_text(text)
    script = tmp_path / "doveconf"
    script.write_text(f"#!/bin/sh\ncat {tmp_path}/doveconf.output\n")
    script.chmod(0o755)
    return script


def shown(ctl, tmp_path, version, text, *options):  # noqa: F811
    return ctl("config", "dovecot", "--sharing", "--dovecot-version", version, "--doveconf",
               doveconf(tmp_path, text), *options)


def block(text, head):
    return re.search(rf"^{re.escape(head)} {{\n(.*?)^}}", text, re.M | re.S)[1]


@pytest.mark.parametrize("version", ["2.3", "2.4"])
def test_it_has_all_that_shared_mailboxes_need(ctl, version):  # noqa: F811
    text = ctl("config", "dovecot", "--sharing", "--dovecot-version", version)
    for protocol in ("imap", "lmtp", "lda", "doveadm"):
        loaded = re.findall(r"\w+", block(text, f"protocol {protocol}"))
        assert "acl" in loaded and "homing_acl" in loaded
        assert ("imap_acl" in loaded) == (protocol == "imap")
    assert ("acl_driver = homing" if version == "2.4" else "  acl = vfile") in text
    assert f"homing_directory = {ctl.directory}" in text
    assert "mail_access_groups" in text and "vsz_limit = " in text
    assert text.count("{") - text.count("%{") == text.count("}") - text.count("%{")
    namespace = block(text, "namespace homing_shared")
    assert "prefix = shared/" + ("$user/" if version == "2.4" else "%%u/") in namespace
    assert "  separator = /\n" in namespace
    assert "  separator = /\n" in block(text, "namespace inbox")


LOCATIONS = [
    ("maildir:~/Maildir", "maildir:%%h/Maildir"),
    ("sdbox:~/sdbox:INDEX=/var/index/%u", "sdbox:%%h/sdbox:INDEX=/var/index/%%u"),
    ("mdbox:%h/mdbox:ALT=~/alt", "mdbox:%%h/mdbox:ALT=%%h/alt"),
    ("maildir:/var/vmail/%d/%Ln:LAYOUT=fs", "maildir:/var/vmail/%%d/%%Ln:LAYOUT=fs"),
    ("maildir:/m/%{domain}/%1.2n:INDEXPVT=~/x:CONTROL=~/c",
     "maildir:/m/%%{domain}/%%1.2n:CONTROL=%%h/c"),
    ("mbox:~/mail:INBOX=/var/mail/%u", "mbox:%%h/mail:INBOX=/var/mail/%%u"),
    ("maildir:/a~b/%%/%u", "maildir:/a~b/%%%%/%%u"),
]  # fmt: skip


@pytest.mark.parametrize("own, owners", LOCATIONS)
def test_an_owners_mail_is_where_ones_own_is(ctl, tmp_path, own, owners):  # noqa: F811
    text = shown(ctl, tmp_path, "2.3", f"mail_location = {own}\n")
    assert f"\n  location = {owners}:INDEXPVT=~/shared/%%u\n" in text
    assert "CHANGE" not in text


@pytest.mark.parametrize("own", ["maildir:/m/%{userdb:x}/%u", "maildir:/m/%s", "~/Maildir"])
def test_what_cannot_be_said_of_an_owner_is_told(ctl, tmp_path, own):  # noqa: F811
    assert "CHANGE THIS LINE: for " + own in shown(ctl, tmp_path, "2.3", f"mail_location = {own}\n")


PATHS = [
    ("~/Maildir", "%{owner_home}/Maildir"),
    ("%{home}/Maildir", "%{owner_home}/Maildir"),
    ("/m/%{user | domain}/%{ user|username|lower }", "/m/%{owner_user | domain}/%{owner_user|"
     "username|lower }"),
]  # fmt: skip


@pytest.mark.parametrize("own, owners", PATHS)
def test_an_owners_mail_is_where_ones_own_is_in_2_4(ctl, tmp_path, own, owners):  # noqa: F811
    text = shown(ctl, tmp_path, "2.4", f"mail_driver = mdbox\nmail_path = {own}\n"
                 f"mail_control_path = {own}\nmail_inbox_path = \n")
    namespace = block(text, "namespace homing_shared")
    assert f"  mail_path = {owners}\n" in namespace
    assert f"  mail_control_path = {owners}\n" in namespace
    assert "  mail_driver = mdbox\n" in namespace and "mail_inbox_path" not in namespace
    assert "CHANGE" not in text


def test_a_default_path_of_2_4_is_said(ctl, tmp_path):  # noqa: F811
    text = shown(ctl, tmp_path, "2.4", "mail_driver = sdbox\nmail_path = \n")
    assert "  mail_path = %{owner_home}/sdbox\n" in text
    text = shown(ctl, tmp_path, "2.4", "mail_path = /m/%{userdb:x}\n")
    assert "CHANGE THIS LINE: for /m/%{userdb:x}" in text


SEPARATORS = [
    ("2.3", "mail_location = maildir:~/Maildir\n", [], "."),
    ("2.3", "mail_location = maildir:~/Maildir:LAYOUT=fs\n", [], "/"),
    ("2.3", "mail_location = sdbox:~/sdbox\n", [], "/"),
    ("2.3", "mail_location = maildir:~/Maildir\n", ["--separator", "/"], "/"),
    ("2.3", "namespace x {\n  inbox = yes\n  separator = |\n}\n", [], "|"),
    # doveconf of 2.4 prints the layout fs for everybody, but it is not Maildir's
    ("2.4", "mail_driver = maildir\nmailbox_list_layout = fs\n", [], "."),
    ("2.4", "mail_driver = maildir\nmaildir {\n  mailbox_list_layout = fs\n}\n", [], "/"),
    ("2.4", "mail_driver = mdbox\nmailbox_list_layout = fs\n", [], "/"),
]  # fmt: skip


@pytest.mark.parametrize("version, settings, options, sign", SEPARATORS)
def test_the_separator_stays_unless_asked_for(ctl, tmp_path, version, settings,  # noqa: F811
                                              options, sign):
    text = shown(ctl, tmp_path, version, settings, *options)
    name = "x" if "namespace x" in settings else "inbox"
    user = "$user" if version == "2.4" else "%%u"
    assert f"  separator = {sign}\n" in block(text, f"namespace {name}")
    assert f"  separator = {sign}\n  prefix = shared{sign}{user}{sign}\n" in text
    assert ("will see" in text) == ("--separator" in options)


def test_the_tilde_form_and_a_prefix_of_the_inbox(ctl, tmp_path):  # noqa: F811
    inbox = "namespace inbox {\n  inbox = yes\n  prefix = INBOX/\n  separator = /\n}\n"
    text = shown(ctl, tmp_path, "2.3", inbox, "--tilde")
    assert "\n  prefix = INBOX/~%%n/\n" in text and "\n  list = no\n" in text
    text = shown(ctl, tmp_path, "2.4", inbox)
    assert "\n  prefix = INBOX/shared/$user/\n" in text and "\n  list = children\n" in text


def test_groups_and_limits_that_are_there_stay(ctl, tmp_path):  # noqa: F811
    text = shown(ctl, tmp_path, "2.3", "mail_access_groups = mail\nservice imap {\n"
                 "  vsz_limit = 4 G\n}\nservice lmtp {\n  vsz_limit = 256 M\n}\n")
    assert re.search(r"^mail_access_groups = mail, \w+$", text, re.M)
    assert "service imap {" not in text and "service lmtp {" in text


def test_wrong_command_lines(ctl, tmp_path):  # noqa: F811
    ctl("config", "dovecot", "--tilde", code=USAGE)
    ctl("config", "dovecot", "--sharing", "--separator", "//", code=USAGE)
    ctl("config", "dovecot", "--sharing", "--separator", "%", code=USAGE)
    ctl("config", "dovecot", "--sharing", "--doveconf", "/no/doveconf", "--dovecot-version", "2.3",
        code=NO_INPUT)
    ctl("config", "dovecot", "--sharing", "--doveconf", "false", "--dovecot-version", "2.3",
        code=CONFIG)
