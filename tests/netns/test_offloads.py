"""Every set of offloads against every other, over a path with room and over one that is too narrow."""

from __future__ import annotations

import sys

import pytest

from bench import wireguard
from bench.process import wait_for
from tests.netns.one_queue import keep_order
from tests.netns.scene import OURS

pytestmark = pytest.mark.netns

BYTES = 4_000_000
DATAGRAMS, DATAGRAM_BYTES = 40, 1300
ADDRESS = "10.7.0.2"
PORT = 9000
ECHO = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.bind((sys.argv[1], int(sys.argv[2])))
    while True:
        s.sendto(*s.recvfrom(65536))
"""
# Datagrams of one size, sent back to back; prints the numbers of those that come back whole, in their order.
BLAST = """
import socket, sys
count, size = int(sys.argv[3]), int(sys.argv[4])
sent = [i.to_bytes(2, "big") * (size // 2) for i in range(count)]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(10)
    s.connect((sys.argv[1], int(sys.argv[2])))
    for data in sent:
        s.send(data)
    print(*(sent.index(s.recv(65536)) for _ in sent))
"""


class Pair:
    """Two hosts and a tunnel of ours, each end with its own SALLYPORT_OFFLOAD."""

    def __init__(self, scene, left, right):
        self.scene = scene
        one, two = scene.lab.host("l"), scene.lab.host("r")
        self.wires = scene.lab.wire(one, two)
        one.address(self.wires[0], "192.0.2.1/24")
        two.address(self.wires[1], "192.0.2.2/24")
        for host in (one, two):
            keep_order(host)
        keys = wireguard.new_keys(), wireguard.new_keys()
        self.ends = [
            wireguard.start(host, OURS, env={"SALLYPORT_OFFLOAD": knob, "LOG_LEVEL": "verbose"})
            for host, knob in ((one, left), (two, right))
        ]
        to_left = wireguard.peer(keys[0].public, "10.7.0.1/32")
        to_right = wireguard.peer(keys[1].public, "10.7.0.2/32", "192.0.2.2:51820")
        self.ends[1].configure(wireguard.config(keys[1], to_left, listen_port=51820))
        self.ends[0].configure(wireguard.config(keys[0], to_right))
        self.ends[0].up("10.7.0.1/24")
        self.ends[1].up("10.7.0.2/24")

    def exchange(self):
        """TCP both ways, and datagrams there and back: each of them, unharmed, in order."""
        left, right = self.ends[0].host, self.ends[1].host
        self.scene.serve(right, 8000, ADDRESS)
        url, curl = f"http://{ADDRESS}:8000", ("curl", "-sS", "--max-time", "20")
        got = left.output(*curl, "-o", "/dev/null", "-w", "%{size_download}", f"{url}/bytes/{BYTES}")
        assert int(got) == BYTES
        file = self.scene.lab.directory() / "upload"
        file.write_bytes(bytes(BYTES))
        assert int(left.output(*curl, "-T", str(file), url)) == BYTES
        where = ADDRESS, str(PORT)
        right.start(sys.executable, "-c", ECHO, *where)
        wait_for(lambda: right.listens(PORT, "udp"), "the echo listens")
        came = left.output(sys.executable, "-c", BLAST, *where, str(DATAGRAMS), str(DATAGRAM_BYTES))
        assert [int(word) for word in came.split()] == list(range(DATAGRAMS))


@pytest.mark.parametrize(
    ("left", "right"), [("none", "none"), ("none", "uso"), ("uso", "none"), ("tso", "tso"), ("tso", "uso")]
)
def test_ends_with_different_offloads_understand_each_other(scene, left, right):
    Pair(scene, left, right).exchange()


def test_a_path_too_narrow_for_segmentation_is_found_out_and_used_without_it(scene):
    """The kernel refuses to segment into datagrams above the path's MTU; single ones it fragments."""
    pair = Pair(scene, "uso", "uso")
    for end, wire in zip(pair.ends, pair.wires, strict=True):
        end.host.run("ip", "route", "change", "192.0.2.0/24", "dev", wire, "mtu", "1280")
    pair.exchange()
    for end in pair.ends:
        wait_for(lambda end=end: "too large for a path" in end.process.stderr, "the log says so")
