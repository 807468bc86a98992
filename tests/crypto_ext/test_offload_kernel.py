"""join.c and split.c against the kernel itself, in a network namespace that forwards between three TUNs.

A superpacket that join.c made is written to the first TUN. Forwarded to a TUN without offloads, it leaves as
the packets that the kernel cuts it into: they must be those that were joined. Forwarded to a TUN with
offloads, it comes out whole: what split.c makes of it must be what the kernel cut.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crypto_ext.joining import TIMESTAMPS, build, join, run_of
from tests.crypto_ext.packets import ACK, CWR, FIN, PSH, TCP, UDP, V6, Packet, cut
from tests.crypto_ext.test_split import ECN, Header, header_of, split

pytestmark = pytest.mark.netns

TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
CSUM_TSO_ECN, USO = 0x01 | 0x02 | 0x04 | 0x08, 0x20 | 0x40
CLONE_NEWNET = 0x40000000
VNET = struct.Struct("=BBHHHH")
Read = tuple[Header, bytes]


def within(name: str, work: Callable[[], dict[str, int]]) -> dict[str, int]:
    """Runs work in a namespace, in a thread that ends afterwards: setns concerns one thread."""
    results: list[dict[str, int]] = []

    def enter() -> None:
        with open(f"/run/netns/{name}", "rb") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        results.append(work())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return results[0]


class Forwarder:
    """TUN `a` is written to, `b` has offloads, `c` has none; routes decide which of the two is reached."""

    def __init__(self, name: str):
        self.name = name
        self.fds = within(name, self.make)
        for command in (
            *(f"link set dev {tun} up" for tun in "abc"),
            "route add 10.0.0.0/8 dev a", "-6 route add fd00::/16 dev a",
        ):  # fmt: skip
            self.ip(command)

    def ip(self, command: str) -> None:
        subprocess.run(["ip", "-n", self.name, *command.split()], check=True)

    def make(self) -> dict[str, int]:
        for setting in ("ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"):
            Path("/proc/sys/net", setting).write_text("1")
        for scope in ("all", "default"):
            Path(f"/proc/sys/net/ipv4/conf/{scope}/rp_filter").write_text("0")
        fds = {}
        for tun in "abc":
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", tun.encode(), flags))
            fds[tun] = fd
        self.uso = True
        try:
            fcntl.ioctl(fds["b"], TUNSETOFFLOAD, CSUM_TSO_ECN | USO)
        except OSError:  # before Linux 6.2 there is no UDP to compare
            self.uso = False
            fcntl.ioctl(fds["b"], TUNSETOFFLOAD, CSUM_TSO_ECN)
        return fds

    def send(self, header: Header, data: bytes, to: str, destination: bytes, count: int) -> list[Read]:
        """What comes out at TUN `to` for that destination: `count` packets, and what briefly follows."""
        self.ip(f"route replace 198.51.100.0/24 dev {to}")
        self.ip(f"-6 route replace 2001:db8::/32 dev {to}")
        os.write(self.fds["a"], VNET.pack(*header) + data)
        out: list[Read] = []
        while select.select([self.fds[to]], [], [], 5 if len(out) < count else 0.02)[0]:
            read = os.read(self.fds[to], 70000)
            packet = read[VNET.size :]
            found = packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]
            if found == destination:  # and not the kernel's own chatter
                out.append((Header(*VNET.unpack(read[: VNET.size])), packet))
        return out

    def close(self) -> None:
        for fd in self.fds.values():
            os.close(fd)


@pytest.fixture(scope="module")
def forwarder() -> Iterator[Forwarder]:
    name = f"sp-leaf-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        forwarder = Forwarder(name)
        yield forwarder
        forwarder.close()
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def check(forwarder: Forwarder, header: Header, data: bytes, originals: list[Packet]) -> None:
    destination = originals[0].destination
    expected = build([packet.but(ttl=packet.ttl - 1) for packet in originals])
    by_kernel = forwarder.send(header, data, "c", destination, len(expected))
    assert [packet for _, packet in by_kernel] == expected, "the kernel cuts it into what was joined"
    whole = forwarder.send(header, data, "b", destination, 1)
    assert len(whole) == 1
    assert whole[0][0].gso_type == header.gso_type, "it came out in one piece"
    assert split(whole[0][1], whole[0][0]) == expected, "split.c cuts it as the kernel does"


@pytest.mark.parametrize("sizes", [[1368, 1368], [1000] * 20 + [17], [1340] * 47])
@pytest.mark.parametrize("flow", [
    Packet(ident=65500), Packet(options=TIMESTAMPS, tos=2, ident=9),
    Packet(options=TIMESTAMPS, flow_label=5, **V6), Packet(protocol=UDP, ident=3),
    Packet(protocol=UDP, tos=0x28, **V6),
], ids=["tcp4", "tcp4 with timestamps", "tcp6", "udp4", "udp6"])  # fmt: skip
def test_joined_packets(forwarder, flow, sizes):
    if flow.protocol == UDP and not forwarder.uso:
        return
    originals = run_of(flow, sizes, last_psh=flow.protocol == TCP)
    [item] = join(build(originals))
    check(forwarder, Header(*item.header), item.data, originals)


@pytest.mark.parametrize("family", [4, 6])
def test_a_superpacket_with_flags_that_are_never_joined(forwarder, family):
    packet = Packet(payload=bytes(3500), flags=ACK | CWR | PSH | FIN, tos=2, **(V6 if family == 6 else {}))
    header = header_of(packet, 1000)
    check(forwarder, header._replace(gso_type=header.gso_type | ECN), packet.whole(), cut(packet, 1000))


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("family", [4, 6])
def test_one_packet_whose_checksum_is_left_to_the_device(forwarder, family, protocol):
    packet = Packet(protocol=protocol, payload=b"odd length: 15b", **(V6 if family == 6 else {}))
    header = header_of(packet, 0)._replace(gso_type=0)
    check(forwarder, header, packet.whole(), [packet])
