"""Behind haproxy: the client's own destination counts, not the address that the proxy comes to."""

import shutil
import subprocess
import textwrap
import time
import socket

import pytest

from dovecot import PROXIED_IP, VERSION, free_ports
from homing import ACCOUNTS, CLIENT1_IP, COMPANY_IP, OTHER_IP

# Dovecot 2.3 reads the TLS name in a PROXY header and tells nobody; 2.4.0 and 2.4.1 read it from
# memory that they have given back.
NAMED = pytest.mark.skipif(
    VERSION < (2, 4, 2), reason="Dovecot before 2.4.2 loses the name in a PROXY header")
pytestmark = pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed")


@pytest.fixture(scope="module")
def haproxy(top, story_server, tls):
    """Three listeners on the three addresses: plain, TLS passed through, TLS ended here (its name
    goes on in the PROXY header)."""
    plain, through, ended = free_ports(3)
    folder = top / "haproxy"
    folder.mkdir()
    config = folder / "haproxy.cfg"
    binds = {}
    for port, more in ((plain, ""), (through, ""), (ended, f" ssl crt {tls.both}")):
        binds[port] = "\n".join(f"    bind {ip}:{port}{more}"
                                for ip in (COMPANY_IP, CLIENT1_IP, OTHER_IP))
    target = f"{PROXIED_IP}:{story_server.ports['haproxy']}"
    target_tls = f"{PROXIED_IP}:{story_server.ports['haproxys']}"
    config.write_text(textwrap.dedent("""\
        defaults
            mode tcp
            timeout connect 5s
            timeout client 60s
            timeout server 60s
        listen plain
        {plain}
            server dovecot {target} send-proxy
        listen through
        {through}
            server dovecot {target_tls} send-proxy-v2
        listen ended
        {ended}
            server dovecot {target} send-proxy-v2 proxy-v2-options authority,ssl
        """).format(plain=binds[plain], through=binds[through], ended=binds[ended], target=target,
                    target_tls=target_tls))
    process = subprocess.Popen(["haproxy", "-db", "-f", str(config)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(process.stderr.read())
        try:
            socket.create_connection((COMPANY_IP, ended), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    yield {"plain": plain, "through": through, "ended": ended}
    process.terminate()
    process.wait(20)


@pytest.mark.parametrize("how, login, ip, server_name, account", [
    ("plain", "info", COMPANY_IP, None, "info@company.com"),
    ("plain", "info", CLIENT1_IP, None, "info@client1.com"),
    ("plain", "info", OTHER_IP, None, "info@company.com"),
    ("plain", "info%client2.com", CLIENT1_IP, None, "info@client2.com"),
    ("plain", "info@mail.client2.com", CLIENT1_IP, None, "info@client2.com"),
    ("plain", "sales", COMPANY_IP, None, "info@company.com"),
    ("through", "info", CLIENT1_IP, "client1.com", "info@client1.com"),
    ("through", "info", COMPANY_IP, "client2.com", "info@client2.com"),
    ("through", "info", CLIENT1_IP, "imap.client2.com", "info@client2.com"),
    pytest.param("ended", "info", COMPANY_IP, "client2.com", "info@client2.com", marks=NAMED),
    pytest.param("ended", "info", CLIENT1_IP, "company.com", "info@company.com", marks=NAMED),
])
def test_proxy_protocol_keeps_the_address_and_the_tls_name(how, login, ip, server_name, account,
                                                           haproxy, story_server):
    assert story_server.imap_owner(login, ACCOUNTS[account], ip=ip, server_name=server_name,
                                   port=haproxy[how]) == account
