"""Behind haproxy: the client's own destination counts, not the address that the proxy comes to."""

import shutil
import socket
import subprocess
import time

import pytest

import dovecot
import mailclient
from homing import ACCOUNTS, CLIENT1_IP, COMPANY_IP, OTHER_IP, passwords_file
from test_story import DELIVERIES, STORY, assert_delivered, row_id

# Dovecot 2.3 reads the TLS name in a PROXY header and tells nobody; 2.4.0 and 2.4.1 read it from
# memory that they have given back.
NAMED = pytest.mark.skipif(dovecot.VERSION < (2, 4, 2),
                           reason="Dovecot before 2.4.2 loses the name in a PROXY header")
pytestmark = pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed")

SERVICES = ["imap", "imaps", "pop3", "pop3s", "lmtp"]
# How haproxy passes a connection on: its way in, the way on, what it says of it, where to.
HOWS = {
    "plain": ("", "send-proxy", ""),
    "through": ("", "send-proxy-v2", "s"),  # TLS, which Dovecot ends
    "ended": (" ssl crt {both}", "send-proxy-v2 proxy-v2-options authority,ssl", ""),
}
PATHS = [("imap", "plain"), ("imap", "through"), ("imap", "ended"),
         ("pop3", "plain"), ("pop3", "through"), ("pop3", "ended"), ("lmtp", "plain")]


def listener(service, port):
    secure = "    ssl = yes\n" if service.endswith("s") else ""
    address = "listen" if dovecot.NEW else "address"
    program = service if service == "lmtp" else service.rstrip("s") + "-login"
    return (f"service {program} {{\n  inet_listener behind-{service} {{\n"
            f"    {address} = {dovecot.PROXIED_IP}\n    port = {port}\n    haproxy = yes\n"
            f"{secure}  }}\n}}\n")


@pytest.fixture(scope="module")
def proxied(top, story, tls):
    """A Dovecot with listeners for a proxy, and their ports."""
    folder = top / "proxied"
    folder.mkdir()
    server = dovecot.Dovecot(
        folder, [dovecot.route(story.path), dovecot.passwd_file(passwords_file(folder))],
        [dovecot.route(story.path), dovecot.static_userdb(story.vmail)], tls=tls)
    # Behind those that the server has chosen but does not yet listen on.
    count = len(server.ports) + len(SERVICES)
    ports = dict(zip(SERVICES, dovecot.free_ports(count)[-len(SERVICES):]))
    server.raw = "".join(listener(service, port) for service, port in ports.items())
    with server:
        yield ports
        assert server.alive(), server.log()


def write_config(path, ports, targets, both):
    """A listener on the three addresses for each of PATHS."""
    text = ("defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n"
            "    timeout server 60s\n")
    for (protocol, how), port in ports.items():
        bind, send, secure = HOWS[how]
        text += f"listen {protocol}-{how}\n"
        for ip in (COMPANY_IP, CLIENT1_IP, OTHER_IP):
            text += f"    bind {ip}:{port}{bind.format(both=both)}\n"
        text += f"    server dovecot {dovecot.PROXIED_IP}:{targets[protocol + secure]} {send}\n"
    path.write_text(text)


@pytest.fixture(scope="module")
def haproxy(top, proxied, tls):
    """The ports of PATHS."""
    ports = dict(zip(PATHS, dovecot.free_ports(len(PATHS))))
    config = top / "haproxy.cfg"
    write_config(config, ports, proxied, tls.both)
    process = subprocess.Popen(["haproxy", "-db", "-f", str(config)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(process.stderr.read())
        try:
            socket.create_connection((COMPANY_IP, ports["lmtp", "plain"]), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    yield ports
    process.terminate()
    process.wait(20)


def hows_of(server_name):
    return ("through", "ended") if server_name else ("plain", "through", "ended")


ROWS = [pytest.param(how, *row[1:], id=f"{row_id(row)}-{how}",
                     marks=[NAMED] if how == "ended" and row[3] else [])
        for row in STORY for how in hows_of(row[3])]


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@pytest.mark.parametrize("how, login, ip, server_name, account", ROWS)
def test_proxy_protocol_keeps_the_address_and_the_tls_name(protocol, how, login, ip, server_name,
                                                           account, haproxy, tls):
    owner = mailclient.imap_owner if protocol == "imap" else mailclient.pop3_owner
    way = "clear" if how == "plain" else "tls"
    assert owner(way, ip, haproxy[protocol, how], login, ACCOUNTS[account], server_name,
                 tls) == account


@pytest.mark.parametrize("recipient, account", DELIVERIES)
def test_delivery_through_a_proxy_ignores_the_address(recipient, account, haproxy, story):
    for ip in (COMPANY_IP, CLIENT1_IP, OTHER_IP):
        assert_delivered(story.vmail, account, recipient, "clear", ip, haproxy["lmtp", "plain"])
