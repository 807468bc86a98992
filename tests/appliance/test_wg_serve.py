"""`sallyport-wg` at work: ready means configurable; every way it is told to end ends it, leaving nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from bench.lab import Host, Lab
from bench.process import Process, wait_for
from tests.netns.scene import OURS

pytestmark = pytest.mark.netns


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def foreground(host: Host, name: str) -> Process:
    process = host.start(str(OURS), "-f", name)
    wait_for(lambda: os.path.exists(f"/var/run/wireguard/{name}.sock"), "the control socket is there")
    return process


def test_the_parent_returns_when_it_can_be_configured(lab: Lab) -> None:
    host, name = lab.host("h"), lab.name("w")
    host.run(str(OURS), name)
    assert "listening port" in host.output("wg", "show", name)
    again = host.run(str(OURS), name, check=False)
    assert again.returncode == 4
    assert name in again.stderr
    assert again.stderr.count("\n") == 1
    host.run("ip", "link", "del", name)
    wait_for(lambda: not os.path.exists(f"/var/run/wireguard/{name}.sock"), "the socket is gone")


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "link", "socket"])
def test_every_way_to_end_it_ends_it_cleanly(lab: Lab, how: str) -> None:
    host, name = lab.host("h"), lab.name("w")
    process = foreground(host, name)
    if how == "link":
        host.run("ip", "link", "del", name)
    elif how == "socket":
        os.unlink(f"/var/run/wireguard/{name}.sock")
    else:
        process.send(signal.Signals[how])
    assert process.wait(30) == 0, process.stderr
    assert not host.has_interface(name)
    assert not os.path.exists(f"/var/run/wireguard/{name}.sock")


def test_a_killed_ones_socket_is_replaced_at_once(lab: Lab) -> None:
    host, name = lab.host("h"), lab.name("w")
    process = foreground(host, name)
    process.send(signal.SIGKILL)
    process.wait(30)
    assert os.path.exists(f"/var/run/wireguard/{name}.sock")
    host.run(str(OURS), name)
    assert "listening port" in host.output("wg", "show", name)


def test_mtu_changes_reach_the_data_plane(lab: Lab) -> None:
    one, two = lab.host("a"), lab.host("b")
    near, far = lab.wire(one, two)
    one.address(near, "192.0.2.1/30")
    two.address(far, "192.0.2.2/30")
    names = [lab.name("w"), lab.name("x")]
    keys = []
    for host, name in zip((one, two), names, strict=True):
        host.run(str(OURS), name)
        private = host.output("wg", "genkey").strip()
        file = lab.directory() / name
        file.write_text(private)
        file.chmod(0o600)
        host.run("wg", "set", name, "private-key", str(file))
        keys.append(host.output("wg", "show", name, "public-key").strip())
    port = two.output("wg", "show", names[1], "listen-port").strip()
    one.run(
        "wg", "set", names[0], "peer", keys[1], "endpoint", f"192.0.2.2:{port}", "allowed-ips", "10.7.0.2/32"
    )
    two.run("wg", "set", names[1], "peer", keys[0], "allowed-ips", "10.7.0.1/32")
    for host, name, address in zip((one, two), names, ("10.7.0.1/30", "10.7.0.2/30"), strict=True):
        host.run("ip", "link", "set", name, "mtu", "8900", "up")
        host.address(name, address)
    # 8872 + 28 = 8900 inner bytes: sealed at the old MTU's padding rule it would still pass, but fragments
    # of the outer datagram show that nothing on the way is bound to 1420.
    one.run("ping", "-n", "-c", "2", "-W", "10", "-M", "do", "-s", "8872", "10.7.0.2")
