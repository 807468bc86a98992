"""Two pumps that talk over real UDP sockets of this host, on a virtual clock, without root.

A SOCK_SEQPACKET socket pair poses as each TUN: readv and writev work on it as on the device. Python
installs the keypairs itself, so no handshake is needed. `Rig.settle` steps both until nothing moves.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from types import TracebackType

import pytest

from crypto_ext import Endpoint, Offload, PeerView, Pump
from tests.crypto_ext.packets import TCP, UDP, Packet

SECOND = 1_000_000_000
START = 1_000 * SECOND
UDP_GRO, IP_PKTINFO = 104, 8
JOIN = Offload.VNET_HDR | Offload.JOIN_TCP | Offload.JOIN_UDP
NO_HEADER = bytes(10)

_names = itertools.count(1)


def udp_socket(host: str, *, gro: bool = True) -> socket.socket:
    """A bound, non-blocking UDP socket as the program opens them."""
    six = ":" in host
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    if six:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    if gro:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    sock.bind((host, 0))
    return sock


def endpoint(sock: socket.socket, host: str | None = None) -> Endpoint:
    name = sock.getsockname()
    return Endpoint(ip_address(host or name[0]), name[1])


class Side:
    """One pump with its socket, its TUN and one peer (the other side). `join`: its TUN takes superpackets."""

    def __init__(
        self,
        host: str,
        *,
        vnet: bool = True,
        join: bool = False,
        gso: bool = True,
        mtu: int = 1420,
        aead: str = "auto",
    ) -> None:
        self.pump = Pump(aead=aead, seed=7)
        self.udp = udp_socket(host)
        self.tun, self.tun_device = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK
        )
        for end in (self.tun, self.tun_device):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        self.vnet = vnet
        self.pump.set_tun(self.tun_device.fileno(), (JOIN if join else Offload.VNET_HDR) if vnet else 0, mtu)
        fd = self.udp.fileno()
        four, six = (-1, fd) if ":" in host else (fd, -1)
        self.pump.set_udp(four, six, Offload.UDP_GSO if gso else 0)
        self.peer = 0
        self.index = 0

    def write(self, *packets: bytes, header: bytes = NO_HEADER) -> None:
        """The kernel hands packets to the pump."""
        for packet in packets:
            self.tun.send((header if self.vnet else b"") + packet)

    def read(self) -> list[tuple[bytes, bytes]]:
        """What the pump gave to the kernel: (vnet header, packet)."""
        taken = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self.tun.recv(1 << 17)
                taken.append((data[:10], data[10:]) if self.vnet else (b"", data))
        return taken

    def packets(self) -> list[bytes]:
        """The same, each superpacket cut into the packets it stands for."""
        return [part for header, packet in self.read() for part in cut_raw(header, packet)]

    def datagrams(self) -> list[bytes]:
        """What lies in the socket, for tests in which no pump reads it."""
        taken = []
        with contextlib.suppress(BlockingIOError):
            while True:
                taken.append(self.udp.recv(1 << 16))
        return taken

    @property
    def view(self) -> PeerView:
        return self.pump.peer(self.peer)

    @property
    def drops(self) -> dict[str, int]:
        return {name: count for name, count in self.pump.stats().drops.items() if count}

    def close(self) -> None:
        self.pump.close()
        for sock in (self.udp, self.tun, self.tun_device):
            sock.close()


class Rig:
    """Sides a (10.0.0.1, fd00::1) and b (10.0.0.2, fd00::2), each the other's peer."""

    def __init__(self, host: str = "127.0.0.1", *, keys: bool = True, **options: bool | int | str) -> None:
        self.now = START
        self.a, self.b = Side(host, **options), Side(host, **options)  # type: ignore[arg-type]
        for side, other, number in ((self.a, self.b, 2), (self.b, self.a, 1)):
            side.peer = side.pump.add_peer(bytes([number]) * 32)
            for network in (f"10.0.0.{number}/32", f"fd00::{number}/128"):
                side.pump.allow(side.peer, ip_network(network))
            side.pump.set_endpoint(side.peer, endpoint(other.udp))
        if keys:
            self.shake()

    @property
    def a_to_b(self) -> Endpoint:
        return endpoint(self.b.udp)

    def shake(self, initiator: Side | None = None, *, settle: bool = True) -> None:
        """A completed handshake's keypairs on both sides; the responder's is confirmed at once."""
        first = initiator or self.a
        second = self.b if first is self.a else self.a
        n = next(_names)
        install(second, n, first=False, now=self.now)
        install(first, n, first=True, now=self.now)
        if settle:
            self.settle()

    def settle(self) -> None:
        while self.a.pump.step(self.now) + self.b.pump.step(self.now):
            pass

    def pass_time(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)

    def __enter__(self) -> Rig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.a.close()
        self.b.close()


def install(side: Side, n: int, *, first: bool, now: int, created: int | None = None) -> None:
    """Keypair number n, as its initiator (`first`) or responder."""
    forth, back = (bytes([n % 251, way] * 16) for way in (1, 2))
    side.index = 2 * n if first else 2 * n + 1
    side.pump.install(
        side.peer,
        send_key=forth if first else back,
        receive_key=back if first else forth,
        local_index=side.index,
        remote_index=2 * n + 1 if first else 2 * n,
        created_ns=now if created is None else created,
        is_initiator=first,
        now_ns=now,
    )


def udp_packet(
    payload: int | bytes = 100, *, six: bool = False, back: bool = False, **changes: object
) -> bytes:
    """An inner UDP packet from a to b (`back`: from b to a); an int is a length of the whole packet."""
    head = 48 if six else 28
    data = bytes(payload - head) if isinstance(payload, int) else payload
    return between(six=six, back=back).but(protocol=UDP, payload=data, **changes).build()


def tcp_super(
    segments: int, size: int = 1368, *, six: bool = False, back: bool = False, last: int | None = None
) -> tuple[bytes, Packet]:
    """A TCP superpacket from a to b (`back`: from b to a) with its vnet header in front, and its Packet."""
    length = (segments - 1) * size + (size if last is None else last)
    payload = bytes(i * 7 % 256 for i in range(length))
    packet = between(six=six, back=back).but(
        protocol=TCP, payload=payload, options=bytes([1, 1, 8, 10]) + bytes(8)
    )
    head = packet.header_len
    header = struct.pack("=BBHHHH", 1, 4 if six else 1, head, size, packet.transport_at, 16)
    return header + packet.whole(), packet


def between(*, six: bool = False, back: bool = False) -> Packet:
    text = ("fd00::1", "fd00::2") if six else ("10.0.0.1", "10.0.0.2")
    source, destination = (ip_address(t).packed for t in (reversed(text) if back else text))
    return Packet(source=source, destination=destination)


def cut_raw(header: bytes, packet: bytes) -> Iterator[bytes]:
    """The packets of a superpacket by the kernel's own arithmetic (payload bytes only are compared)."""
    if not header or header[1] == 0:
        yield packet
        return
    size = struct.unpack_from("=H", header, 4)[0]
    start, offset = struct.unpack_from("=HH", header, 6)
    head = start + (8 if header[1] == 5 else (packet[start + 12] >> 4) * 4)
    assert offset in (6, 16)
    for at in range(head, len(packet), size):
        part = packet[at : at + size]
        yield rebuilt(packet[:head], part, start)


def rebuilt(head: bytes, payload: bytes, start: int) -> bytes:
    """A stand-in for one segment: its addresses and ports, and its payload."""
    return head[12:20] + head[start : start + 4] + payload


def network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text)


def refused(error: int) -> AbstractContextManager[object]:
    """Expects OSError with that errno."""
    return pytest.raises(OSError, match=re.escape(os.strerror(error)))
