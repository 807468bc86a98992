"""What a client may not do: reach another client, the host, private nets, or send mail.

Every wall has its positive control: what is refused through the tunnel can be reached from the exit host,
or by another way, in the same test.
"""

from __future__ import annotations

import sys

import pytest

from bench.process import wait_for
from tests.netns.scene import EXIT, OUTSIDE, PRIVATE, WEB_PORT, inner_address

pytestmark = pytest.mark.netns

SILENCE_SECONDS = 1.0  # what was not let through by then is not let through
REJECTED = (25, 465, 587, 2525, 6660, 6665, 6669, 6697)


@pytest.fixture(scope="module")
def pair(scene, running):
    """Two clients that are up, with their addresses in the tunnel."""
    found = []
    for _ in range(2):
        client = scene.client()
        config = running.create()["wg_config"]
        client.up(config)
        client.host.route("0.0.0.0/1", "dev", client.interface)
        client.host.route("128.0.0.0/1", "dev", client.interface)
        # The endpoint itself must not go into its own tunnel, the rest of the exit's addresses should.
        client.host.route(
            f"{EXIT}/32", "via", client.host.output("ip", "route", "show", "default").split()[2]
        )
        found.append((client, inner_address(config)))
    return found


def reach(host, address, port):
    script = f"import socket; socket.create_connection(('{address}', {port}), 10)"
    return host.run(sys.executable, "-c", script, check=False).returncode == 0


def test_the_way_out_is_open(pair):
    for client, _ in pair:
        assert client.connects(OUTSIDE, WEB_PORT) == "open"
        wait_for(lambda client=client: client.pings(OUTSIDE), "a ping")


def test_clients_cannot_reach_each_other(scene, pair):
    (one, _), (two, address) = pair
    scene.serve(two.host, 8000)
    assert reach(two.host, address, 8000)
    assert one.connects(address, 8000, SILENCE_SECONDS) in ("silent", "refused")
    assert not one.pings(address)


def test_clients_cannot_reach_the_host(scene, running, pair):
    client, address = pair[0]
    scene.serve(scene.exit, 8000)
    own = (
        scene.exit.output("sh", "-c", f"ip -4 -o address show dev {running.interface}")
        .split()[3]
        .partition("/")[0]
    )
    assert reach(scene.exit, own, 8000)
    other = "192.0.2.5"  # the exit's end of the *other* client's wire
    for target in (own, other):
        assert client.connects(target, 8000, SILENCE_SECONDS) != "open"
        assert client.connects(target, 8080, SILENCE_SECONDS) != "open"
        assert not client.pings(target)
    # The same host over the client's own wire is nobody's business: the rules match the tunnel alone.
    assert client.connects("192.0.2.1", 8000) == "open"
    # EXIT goes around the tunnel above, for the outer packets. Into the tunnel with it for once, by source.
    client.host.run("ip", "rule", "add", "from", address, "to", EXIT, "ipproto", "icmp", "table", "77")
    client.host.run("ip", "route", "add", "default", "dev", client.interface, "table", "77")
    assert not client.pings(EXIT, address)


@pytest.mark.parametrize("address", PRIVATE)
def test_clients_cannot_reach_private_nets_behind_the_exit(scene, pair, address):
    # Link-local needs a route of its own before the exit host could reach it at all.
    scene.exit.run("ip", "route", "replace", f"{address}/32", "via", OUTSIDE)
    assert reach(scene.exit, address, WEB_PORT)
    client, _ = pair[0]
    assert client.connects(address, WEB_PORT, SILENCE_SECONDS) != "open"


def test_multicast_does_not_leave(scene, pair):
    client, _ = pair[0]
    # A metric of its own, or the kernel would share its next hop, and so the cached "this is multicast",
    # with the routes of the other destinations.
    client.host.route("224.0.0.0/4", "dev", client.interface, "metric", "7")
    seen = scene.outside.start(
        "tcpdump", "-n", "-p", "-i", "any", "--immediate-mode", "-c", "1", "udp", "port", "5999"
    )
    wait_for(lambda: "listening on" in seen.stderr, "tcpdump listens")
    script = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 8)\n"
        "[s.sendto(b'x', (group, 5999)) for group in ('224.0.0.251', '239.1.2.3')]"
    )
    client.host.run(sys.executable, "-c", script)
    # A packet that may leave, sent after them: when it is there, they would be.
    client.host.run(sys.executable, "-c", script.replace("'224.0.0.251', '239.1.2.3'", f"'{OUTSIDE}',"))
    wait_for(lambda: f"{OUTSIDE}.5999" in seen.stdout, "the packet that may leave")
    assert "224.0.0" not in seen.stdout
    assert "239.1.2" not in seen.stdout


@pytest.mark.parametrize("port", REJECTED)
def test_mail_and_chat_ports_are_answered_with_a_reset(scene, pair, port):
    scene.serve(scene.outside, port)
    assert reach(scene.exit, OUTSIDE, port)
    client, _ = pair[0]
    assert client.connects(OUTSIDE, port) == "refused"


@pytest.mark.parametrize("port", [24, 26, 6659, 6670, 6698])
def test_their_neighbours_are_open(scene, pair, port):
    scene.serve(scene.outside, port)
    assert pair[0][0].connects(OUTSIDE, port) == "open"


def test_a_client_cannot_use_anothers_address(scene, running, pair):
    """Dropped by the data plane before it is billed or forwarded."""
    (client, own), (_, other) = pair
    client.host.address(client.interface, f"{other}/32")
    assert not client.pings(OUTSIDE, other)
    wait_for(lambda: client.pings(OUTSIDE, own), "a ping from the own address")


def test_other_forwarding_of_the_host_lives_on(scene, running):
    """Chain policies stay accept: two networks that the host itself forwards between still meet."""
    one, two = scene.lab.host("f"), scene.lab.host("g")
    a, near = scene.lab.wire(one, scene.exit)
    b, far = scene.lab.wire(two, scene.exit)
    for host, interface, net in ((one, a, "10.201.1"), (two, b, "10.201.2")):
        host.address(interface, f"{net}.2/24")
        host.route("default", "via", f"{net}.1")
    for interface, net in ((near, "10.201.1"), (far, "10.201.2")):
        scene.exit.address(interface, f"{net}.1/24")
        scene.exit.sysctl(f"net.ipv4.conf.{interface}.forwarding", "1")
    assert one.run("ping", "-n", "-c", "1", "-W", "10", "10.201.2.2", check=False).returncode == 0
    rules = scene.exit.output("nft", "list", "ruleset")
    assert "policy drop" not in rules
