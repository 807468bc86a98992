"""Billed bytes are the inner bytes, to the byte, in both directions.

Compared with captures inside the tunnel. A capture is a fair yardstick only when nothing was dropped between
it and the pump, so TCP windows are kept below every queue on the way.
"""

from __future__ import annotations

import pytest

from bench.capture import Capture, totals
from bench.process import wait_for
from tests.netns.scene import Scene, inner_address

pytestmark = pytest.mark.netns

MEGABYTE = 1_000_000


def small_windows(host):
    for name in ("tcp_rmem", "tcp_wmem"):
        host.sysctl(f"net.ipv4.{name}", "'4096 65536 98304'")


def drops_of(host):
    """UDP datagrams that this host lost for want of room."""
    lines = [
        line.split() for line in host.output("cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:")
    ]
    table = dict(zip(lines[0][1:], lines[1][1:], strict=True))
    return int(table["RcvbufErrors"]), int(table["SndbufErrors"])


def exercise(client):
    assert client.download(5 * MEGABYTE) == 5 * MEGABYTE
    assert client.upload(3 * MEGABYTE) == 3 * MEGABYTE
    client.host.run("ping", "-n", "-c", "3", "-i", "0.05", "-s", "1000", "198.51.100.2")
    # Larger than the tunnel's MTU: fragments, each an IP packet of its own.
    client.host.run("ping", "-n", "-c", "2", "-i", "0.05", "-s", "4000", "198.51.100.2")


def test_without_offloads_the_bill_is_a_capture_on_the_exits_tun():
    with Scene() as scene:
        running = scene.up(env={"SALLYPORT_OFFLOAD": "none"})
        client = scene.client()
        for host in (client.host, scene.outside):
            small_windows(host)
        made = running.create()
        client.up(made["wg_config"])
        with Capture(scene.exit, running.interface) as capture:
            exercise(client)
            billed = running.quiet_bytes(made["id"])
            found = totals(capture.stop(), inner_address(made["wg_config"]))
        assert billed == (found.to_bytes, found.from_bytes)
        assert billed[0] > 5 * MEGABYTE


def test_with_offloads_the_bill_is_a_capture_on_the_clients_tun():
    """Debian's wireguard-go has no offloads: its TUN shows every packet alone."""
    with Scene() as scene:
        running = scene.up()
        client = scene.client()
        for host in (client.host, scene.outside):
            small_windows(host)
        made = running.create()
        client.up(made["wg_config"])
        with Capture(client.host, client.interface) as capture:
            exercise(client)
            billed = running.quiet_bytes(made["id"])
            found = totals(capture.stop(), inner_address(made["wg_config"]))
        assert drops_of(client.host) == drops_of(scene.exit) == (0, 0)
        assert billed == (found.to_bytes, found.from_bytes)
        assert billed[0] > 5 * MEGABYTE


def test_handshakes_and_keepalives_are_free():
    with Scene() as scene:
        running = scene.up()
        client = scene.client()
        made = running.create()
        assert "PersistentKeepalive = 25" in made["wg_config"]
        client.up(made["wg_config"])
        # The configured keepalive makes the handshake; nothing inner was sent.
        shown = ("wg", "show", running.interface, "latest-handshakes")
        wait_for(lambda: int(scene.exit.output(*shown).split()[1]), "a handshake", seconds=30)
        assert running.quiet_bytes(made["id"]) == (0, 0)


def test_two_clients_are_billed_apart_and_the_account_for_both():
    with Scene() as scene:
        running = scene.up()
        made = [running.create() for _ in range(2)]
        sizes = (2 * MEGABYTE, 5 * MEGABYTE)
        for session, size in zip(made, sizes, strict=True):
            client = scene.client()
            small_windows(client.host)
            client.up(session["wg_config"])
            assert client.download(size) == size
        bills = [running.quiet_bytes(session["id"]) for session in made]
        for (came, _), size in zip(bills, sizes, strict=True):
            # Headers are 52 of 1420 bytes; retransmissions may add a little.
            assert size < came < 1.1 * size
        assert running.api("GET", "/v1/usage")[1]["bytes_used"] == sum(map(sum, bills))
