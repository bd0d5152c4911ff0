"""Every SASL mechanism behind the route block; master users; certificates."""

import pytest

import dovecot
from homing import ACCOUNTS, CLIENT1_IP, COMPANY_IP, passwords_file

MECHANISMS = ["plain", "login", "cram_md5", "scram_sha_256"]
SETTINGS = {"auth_mechanisms": "plain login cram-md5 scram-sha-256"}


@pytest.fixture(scope="module")
def mechanisms(top, story):
    folder = top / "mechanisms"
    folder.mkdir()
    with dovecot.Dovecot(
            folder, [dovecot.route(story.path), dovecot.passwd_file(passwords_file(folder))],
            [dovecot.route(story.path), dovecot.static_userdb(story.vmail)],
            settings=SETTINGS) as server:
        yield server


@pytest.mark.smoke
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_mechanism_behind_the_route_block(mechanism, mechanisms):
    with mechanisms.auth() as client:
        attempt = getattr(client, mechanism)
        for login, ip, server_name, account in (
                ("info", COMPANY_IP, None, "info@company.com"),
                ("info", CLIENT1_IP, None, "info@client1.com"),
                ("info", CLIENT1_IP, "client2.com", "info@client2.com"),
                ("info%client2.com", CLIENT1_IP, None, "info@client2.com"),
                ("sales", COMPANY_IP, None, "info@company.com")):
            for other, password in ACCOUNTS.items():
                reply = attempt(login, password, ip=ip, server_name=server_name)
                assert reply.ok == (other == account), (login, other, reply)
                assert not reply.ok or reply.user == account
        for login in ("nobody", "info@elsewhere.example"):
            assert not attempt(login, ACCOUNTS["info@company.com"], ip=COMPANY_IP).ok


@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_mechanism_with_the_accounts_block(mechanism, own_server):
    with own_server.auth() as client:
        attempt = getattr(client, mechanism)
        assert attempt("info", ACCOUNTS["info@client1.com"],
                       ip=CLIENT1_IP).user == "info@client1.com"
        assert not attempt("info", ACCOUNTS["info@company.com"], ip=CLIENT1_IP).ok


def test_plain_scheme_in_the_accounts_block_serves_every_mechanism(place, start):
    """An administrator may import any scheme that Dovecot knows."""
    from homing import Homing, story
    import json
    homing = Homing(place)
    homing.apply(story(homing.vmail))
    lines = place / "accounts.jsonl"
    lines.write_text("".join(json.dumps({"account": name, "password": "{PLAIN}" + password}) + "\n"
                             for name, password in ACCOUNTS.items()))
    homing.ctl("account", "import", str(lines))
    homing.readable()
    server = start(dovecot.Dovecot(place / "server", [dovecot.accounts(homing.path)],
                                   [dovecot.accounts(homing.path)], settings=SETTINGS))
    with server.auth() as client:
        for mechanism in MECHANISMS:
            attempt = getattr(client, mechanism)
            reply = attempt("info", ACCOUNTS["info@client1.com"], ip=CLIENT1_IP)
            assert reply.ok and reply.user == "info@client1.com", (mechanism, reply)
            assert not attempt("info", ACCOUNTS["info@company.com"], ip=CLIENT1_IP).ok


@pytest.mark.parametrize("scheme", ["SHA512-CRYPT", "SSHA256", "PBKDF2", "SHA256"])
def test_schemes_of_dovecot_in_the_accounts_block(scheme, place, start):
    from homing import Homing, story
    import json
    import subprocess
    homing = Homing(place)
    homing.apply(story(homing.vmail))
    made = subprocess.run(["doveadm", "pw", "-s", scheme, "-p", "known"], capture_output=True,
                          text=True, check=True).stdout.strip()
    lines = place / "accounts.jsonl"
    lines.write_text(json.dumps({"account": "info@client1.com", "password": made}) + "\n")
    homing.ctl("account", "import", str(lines))
    homing.readable()
    server = start(dovecot.Dovecot(place / "server", [dovecot.accounts(homing.path)],
                                   [dovecot.accounts(homing.path)]))
    with server.auth() as client:
        assert client.plain("info", "known", ip=CLIENT1_IP).user == "info@client1.com"
        assert not client.plain("info", "unknown", ip=CLIENT1_IP).ok
        assert not client.plain("info", "known", ip=COMPANY_IP).ok


def test_external_with_a_bare_name_is_refused(story, place, start):
    """A certificate's name is no login: nobody said in which domain it is."""
    server = start(dovecot.Dovecot(
        place / "server",
        [dovecot.route(story.path), dovecot.Block(
            "static", "nopassword=y", ["fields {", "  nopassword = y", "}"])],
        [dovecot.route(story.path), dovecot.static_userdb(story.vmail)],
        settings={"auth_mechanisms": "plain external", "auth_ssl_username_from_cert": "yes"}))
    with server.auth() as client:
        reply = client.external("info@client2.com", ip=COMPANY_IP)
        assert reply.ok and reply.user == "info@client2.com", reply
        assert not client.external("info", ip=COMPANY_IP).ok
        assert not client.external("info", ip=CLIENT1_IP).ok


@pytest.fixture(scope="module")
def masters(top, story):
    folder = top / "masters"
    folder.mkdir()
    master = folder / "masters"
    master.write_text("admin:{PLAIN}of admin\n")
    master.chmod(0o644)
    first = dovecot.passwd_file(master)
    first.extra = ["master = yes", "result_success = continue"]
    with dovecot.Dovecot(
            folder / "server",
            [first, dovecot.route(story.path), dovecot.passwd_file(passwords_file(folder))],
            [dovecot.route(story.path), dovecot.static_userdb(story.vmail)],
            settings={"auth_master_user_separator": "*"}) as server:
        yield server


@pytest.mark.parametrize("login, ip, account", [
    ("info%client2.com*admin", COMPANY_IP, "info@client2.com"),
    ("info*admin", COMPANY_IP, "info@company.com"),
    ("info*admin", CLIENT1_IP, "info@client1.com"),
    ("sales@company.com*admin", CLIENT1_IP, "info@company.com"),
])
def test_master_user_opens_the_routed_account(login, ip, account, masters):
    assert masters.imap_owner(login, "of admin", ip=ip) == account


def test_master_user_needs_the_masters_password_and_a_real_account(masters):
    with masters.auth() as client:
        for login, password in (("info%client2.com*admin", ACCOUNTS["info@client2.com"]),
                                ("info%client2.com*admin", "wrong"),
                                ("info%client2.com*info", ACCOUNTS["info@company.com"]),
                                ("nobody@client2.com*admin", "of admin"),
                                ("info@elsewhere.example*admin", "of admin")):
            assert not client.plain(login, password, ip=COMPANY_IP).ok, login
        assert client.plain("info", ACCOUNTS["info@company.com"], ip=COMPANY_IP).ok


def as_master(block, **results):
    block.extra = ["master = yes"]
    block.results = results
    return block


def test_the_name_of_a_master_user_is_not_ours(story, place, start):
    """Even where the route block stands among the passdbs of master users."""
    master = place / "masters"
    master.write_text("admin:{PLAIN}of admin\ninfo:{PLAIN}of master info\n")
    master.chmod(0o644)
    server = start(dovecot.Dovecot(
        place / "server",
        [as_master(dovecot.route(story.path)),
         as_master(dovecot.passwd_file(master), result_success="continue"),
         dovecot.route(story.path), dovecot.passwd_file(passwords_file(place))],
        [dovecot.route(story.path), dovecot.static_userdb(story.vmail)],
        settings={"auth_master_user_separator": "*"}))
    with server.auth() as client:
        for name, password in (("admin", "of admin"), ("info", "of master info")):
            reply = client.plain(f"info%client2.com*{name}", password, ip=COMPANY_IP)
            assert reply.ok and reply.user == "info@client2.com", reply
        assert not client.plain("info%client2.com*info", ACCOUNTS["info@company.com"],
                                ip=COMPANY_IP).ok


def test_no_account_of_the_directory_is_a_master(own, place, start):
    """With `master = yes` on the accounts block, everybody would open everybody's mailbox."""
    server = start(dovecot.Dovecot(
        place / "server", [as_master(dovecot.accounts(own.path)), dovecot.accounts(own.path)],
        [dovecot.accounts(own.path)],
        settings={"auth_master_user_separator": "*",
                  "auth_mechanisms": "plain login cram-md5 scram-sha-256"}))
    with server.auth() as client:
        for login in ("info%client2.com*info", "info@client2.com*info@company.com"):
            for mechanism in MECHANISMS:
                assert not getattr(client, mechanism)(login, ACCOUNTS["info@company.com"],
                                                      ip=COMPANY_IP).ok, (login, mechanism)
        assert client.plain("info", ACCOUNTS["info@company.com"], ip=COMPANY_IP).ok
