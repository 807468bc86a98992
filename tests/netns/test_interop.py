"""Ours against ours and against wireguard-go, in both roles, IPv4 and IPv6 inside and outside."""

from __future__ import annotations

import pytest

from bench import wireguard
from bench.process import wait_for
from tests.netns.scene import OURS, PEER

pytestmark = pytest.mark.netns

PAIRS = {"ours to ours": (OURS, OURS), "ours to peer": (OURS, PEER), "peer to ours": (PEER, OURS)}
OUTER = {"v4": ("192.0.2.1/24", "192.0.2.2/24", "192.0.2.2:51820"),
         "v6": ("2001:db8::1/64", "2001:db8::2/64", "[2001:db8::2]:51820")}  # fmt: skip
INNER = ("10.7.0", "fd00:7:")
BYTES = 3_000_000


class Pair:
    """Two hosts with a tunnel; `left` knows the endpoint and so begins the handshake."""

    def __init__(self, scene, left, right, outer="v4", preshared=False, inner_v6=True):
        self.lab = scene.lab
        one, two = scene.lab.host("l"), scene.lab.host("r")
        a, b = scene.lab.wire(one, two)
        near, far, endpoint = OUTER[outer]
        one.address(a, near)
        two.address(b, far)
        self.keys = wireguard.new_keys(), wireguard.new_keys()
        psk = wireguard.new_preshared_key() if preshared else None
        self.left, self.right = wireguard.start(one, left), wireguard.start(two, right)
        to_left = wireguard.peer(self.keys[0].public, "10.7.0.1/32, fd00:7::1/128", preshared_key=psk)
        self.right.configure(wireguard.config(self.keys[1], to_left, listen_port=51820))
        to_right = wireguard.peer(self.keys[1].public, "10.7.0.2/32, fd00:7::2/128", endpoint, psk)
        self.left.configure(wireguard.config(self.keys[0], to_right))
        for end, number in ((self.left, 1), (self.right, 2)):
            if not inner_v6:  # then nothing is in the tunnel but what the test sends
                end.host.sysctl(f"net.ipv6.conf.{end.name}.disable_ipv6", "1")
            end.up(f"10.7.0.{number}/24", *([f"fd00:7::{number}/64"] if inner_v6 else []))

    def exchange(self, scene, *more):
        """Bytes both ways over both inner families."""
        scene.serve(self.right.host, 8000, "::")
        for address in ("10.7.0.2", "[fd00:7::2]"):
            url = f"http://{address}:8000"
            curl = ("curl", "-sS", "--max-time", "20", *more)
            got = self.left.host.output(
                *curl, "-o", "/dev/null", "-w", "%{size_download}", f"{url}/bytes/{BYTES}"
            )
            assert int(got) == BYTES
            file = self.lab.directory() / "upload"
            file.write_bytes(bytes(BYTES))
            assert int(self.left.host.output(*curl, "-T", str(file), url)) == BYTES


@pytest.mark.parametrize("outer", list(OUTER))
@pytest.mark.parametrize("programs", list(PAIRS))
def test_bytes_go_both_ways(scene, programs, outer):
    pair = Pair(scene, *PAIRS[programs], outer=outer)
    pair.exchange(scene)
    for end in (pair.left, pair.right):
        received, sent = end.transfer()
        assert received > 2 * BYTES
        assert sent > 2 * BYTES
        assert int(end.wg("show", "latest-handshakes").split()[1]) > 0
    assert (
        pair.right.wg("show", "endpoints")
        .split()[1]
        .startswith("192.0.2.1:" if outer == "v4" else "[2001:db8::1]:")
    )


@pytest.mark.parametrize("programs", list(PAIRS))
def test_with_a_preshared_key_and_not_with_the_wrong_one(scene, programs):
    pair = Pair(scene, *PAIRS[programs], preshared=True)
    ping = ("ping", "-n", "-c", "1", "-W", "10", "10.7.0.2")
    pair.left.host.run(*ping)
    # A changed preshared key keeps the session, and takes effect with the next handshake.
    key = wireguard.new_preshared_key()
    file = scene.lab.directory() / "psk"
    file.write_text(key)
    for end, other in ((pair.left, 1), (pair.right, 0)):
        end.wg("set", "peer", pair.keys[other].public, "preshared-key", str(file))
    pair.left.host.run(*ping)


@pytest.mark.parametrize("programs", list(PAIRS))
def test_the_side_without_endpoint_answers_and_both_count_alike(scene, programs):
    """Handshake and ten pings: the numbers of the kernel's own test."""
    pair = Pair(scene, *PAIRS[programs], inner_v6=False)  # router solicitations would be data too
    pair.left.host.run("ping", "-n", "-c", "10", "-i", "0.02", "-W", "10", "10.7.0.2")

    def level():
        (got, sent), (other_got, other_sent) = pair.left.transfer(), pair.right.transfer()
        return got == other_sent and sent == other_got and got >= 92 + 10 * 128

    wait_for(level, "both sides count the same")
    received, sent = pair.left.transfer()
    assert received == 92 + 10 * 128
    assert sent - 148 - 10 * 128 in (0, 32)  # the initiator may confirm the key with an empty packet


def test_the_listening_port_moves_while_it_runs(scene):
    pair = Pair(scene, PEER, OURS)
    pair.left.host.run("ping", "-n", "-c", "1", "-W", "10", "10.7.0.2")
    pair.right.wg("set", "listen-port", "51999")
    assert pair.right.host.listens(51999, "udp")
    assert not pair.right.host.listens(51820, "udp")
    pair.right.host.run("ping", "-n", "-c", "1", "-W", "10", "10.7.0.1")
    pair.left.host.run("ping", "-n", "-c", "1", "-W", "10", "10.7.0.2")
