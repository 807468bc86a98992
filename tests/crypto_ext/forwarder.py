"""A network namespace that forwards between TUNs: the kernel as the judge of join.c and split.c.

What is written to TUN `a` leaves by `c`, which has no offloads: the kernel cuts it. What is written to `d`
leaves by `b`, which has all that this kernel knows: it comes out whole.

Forwarding is done before write(2) returns, and a fence follows everything: what has not come out before the
fence is lost, so that no test waits for nothing to happen.

A kernel before Linux 6.2 has no USO. That is its age, and nothing that is missing around the tests as root
or a TUN would be: `needs_uso` makes it an expected failure, in CI too, with the reason shown, and TCP is
tested all the same. A newer kernel that refuses USO fails, wherever it runs.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from tests.crypto_ext.joining import BOTH, TCP_MAY
from tests.crypto_ext.packets import UDP, V6, Packet
from tests.crypto_ext.test_split import Header

TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
CSUM_TSO_ECN, USO = 0x01 | 0x02 | 0x04 | 0x08, 0x20 | 0x40
CLONE_NEWNET = 0x40000000
FIRST_WITH_USO = (6, 2)
VNET = struct.Struct("=BBHHHH")
UDP_SEGMENT = 103
FENCE_SOURCE = bytes([10, 0, 0, 99])
OURS = (FENCE_SOURCE[:2], V6["source"][:2])  # how our sources begin; the kernel chatters with others
QUEUE_PACKETS = 70000  # more than bytes in a superpacket: a full queue drops in silence
ALL = (Path("/proc/sys/net/ipv4/conf/all"), Path("/proc/sys/net/ipv6/conf/all"))

Moved = tuple[Header, bytes]
Result = TypeVar("Result")


def within(name: str, work: Callable[[], Result]) -> Result:
    """Runs work in a namespace, in a thread that ends afterwards: setns concerns one thread."""
    results: list[Result] = []

    def enter() -> None:
        with open(f"/run/netns/{name}", "rb") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        results.append(work())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return results[0]


def kernel() -> tuple[int, ...]:
    return tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))


class Forwarder:
    """From `a` to `c`, where the kernel cuts, and from `d` to `b`, where it does not. Use `with`."""

    def __init__(self, name: str):
        self.name = name
        self.fences = 0

    def __enter__(self) -> Forwarder:
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.fds = within(self.name, self.make)
        for tun in "abcd":
            self.ip(f"link set dev {tun} up txqueuelen {QUEUE_PACKETS}")
        for way_in, way_out, table in (("a", "c", 100), ("d", "b", 101)):
            for family in ("-4", "-6"):
                self.ip(f"{family} rule add iif {way_in} lookup {table}")
                self.ip(f"{family} route add default dev {way_out} table {table}")
        for family, address in (("-4", "10.0.0.50/32"), ("-6", "fd00::50/128 nodad")):
            self.ip(f"{family} address add {address} dev b")
            self.ip(f"{family} route add default dev b")
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self.fds.values():
            os.close(fd)
        subprocess.run(["ip", "netns", "del", self.name], check=True)

    def ip(self, command: str) -> None:
        subprocess.run(["ip", "-n", self.name, *command.split()], check=True)

    def make(self) -> dict[str, int]:
        for place in ALL:
            (place / "forwarding").write_text("1")
        for scope in ("all", "default"):
            (ALL[0].with_name(scope) / "rp_filter").write_text("0")
        fds = {}
        for tun in "abcd":
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", tun.encode(), flags))
            fds[tun] = fd
        self.uso = True
        try:
            fcntl.ioctl(fds["b"], TUNSETOFFLOAD, CSUM_TSO_ECN | USO)
        except OSError:
            self.uso = False
            fcntl.ioctl(fds["b"], TUNSETOFFLOAD, CSUM_TSO_ECN)
        return fds

    @property
    def may_join(self) -> int:
        """For sp_join_allow: what this kernel takes."""
        return BOTH if self.uso else TCP_MAY

    def needs_uso(self) -> None:
        if not self.uso:
            assert kernel() < FIRST_WITH_USO, "Linux has USO since 6.2, and this one refused it"
            pytest.xfail("a kernel before Linux 6.2 has no USO: joined UDP is not for it")

    def cut(self, writes: Sequence[Moved]) -> list[bytes]:
        """The packets that the kernel makes of these writes, in their order."""
        return [packet for _, packet in self.through("a", "c", writes)]

    def whole(self, writes: Sequence[Moved]) -> list[Moved]:
        """The same writes as the kernel hands them to a TUN with offloads."""
        return self.through("d", "b", writes)

    def through(self, way_in: str, way_out: str, writes: Sequence[Moved]) -> list[Moved]:
        self.fences += 1
        fence = Packet(protocol=UDP, payload=struct.pack("=Q", self.fences), source=FENCE_SOURCE)
        for header, data in [*writes, (Header(), fence.build())]:
            os.write(self.fds[way_in], VNET.pack(*header) + data)
        moved: list[Moved] = []
        while True:
            header, packet = self.read(way_out)
            if packet == fence.but(ttl=fence.ttl - 1).build():
                return moved
            source = packet[12:16] if packet[0] >> 4 == 4 else packet[8:24]
            if source[:2] in OURS:
                moved.append((header, packet))

    def read(self, tun: str) -> Moved:
        assert select.select([self.fds[tun]], [], [], 2)[0], "not even the fence came out"
        read = os.read(self.fds[tun], 70000)
        return Header(*VNET.unpack(read[: VNET.size])), read[VNET.size :]

    def sent_by_this_host(self, sock: socket.socket, data: bytes, segment: int) -> list[Moved]:
        """One UDP send with UDP_SEGMENT, as it comes out at `b`, which has USO."""
        sock.sendmsg([data], [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", segment))])
        return self.whole([])
