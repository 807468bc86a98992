"""Two devices on the loopback whose TUNs are socket pairs: everything real but the kernel's interface.

`Side.inside` is the end where a test plays the host's network stack: what it sends is what the device
reads from its TUN, what it receives is what the device wrote there.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address, ip_network

import trio

from appliance.core.noise import Identity
from appliance.device.device import Device
from appliance.device.peers import PeerRecord
from appliance.net.udp import open_udp
from appliance.pump import Endpoint, Pump

LOOPBACK = IPv4Address("127.0.0.1")


def udp_packet(source: str, destination: str, payload: bytes) -> bytes:
    """An inner IPv4 UDP packet; its UDP checksum is zero, which is legal, its IP checksum right."""
    udp = struct.pack("!HHHH", 1000, 2000, 8 + len(payload), 0) + payload
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(udp),
        1,
        0,
        64,
        17,
        0,
        ip_address(source).packed,
        ip_address(destination).packed,
    )
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:] + udp


@dataclass
class Side:
    device: Device
    identity: Identity
    inside: trio.socket.SocketType
    address: str

    async def send(self, packet: bytes) -> None:
        await self.inside.send(packet)

    async def receive(self, seconds: float = 10) -> bytes:
        with trio.fail_after(seconds):
            return await self.inside.recv(65536)

    async def dropped(self, reason: str) -> int:
        """Wait until the pump has dropped something for that reason; how often it has by now."""
        with trio.fail_after(10):
            while not (count := self.device.pump.stats().drops[reason]):  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.01)
        return count

    async def nothing_arrives(self, seconds: float = 0.3) -> bool:
        with trio.move_on_after(seconds) as scope:
            await self.inside.recv(65536)
        return scope.cancelled_caught

    def connect(self, other: Side, *, with_endpoint: bool) -> PeerRecord:
        """Make the other side a peer of this one."""
        record = self.device.peers.add(other.identity.public_key)
        self.device.peers.allow(record, ip_network(f"{other.address}/32"))
        if with_endpoint:
            self.device.pump.set_endpoint(record.handle, Endpoint(LOOPBACK, other.device.listen_port))
        return record


@asynccontextmanager
async def running_side(
    address: str, *, with_key: bool = True, on_purse_shut: Callable[[str], None] | None = None
) -> AsyncIterator[Side]:
    """One device at work, its pump thread running."""
    tun, inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    device = Device(Pump(seed=1), on_purse_shut=on_purse_shut)
    try:
        device.use_sockets(open_udp(0))
        device.pump.set_tun(tun.fileno(), 0, 1420)
        identity = Identity(os.urandom(32))
        if with_key:
            device.set_identity(identity)
        async with trio.open_nursery() as nursery:
            await nursery.start(device.run)
            with trio.socket.from_stdlib_socket(inside) as stream:
                yield Side(device, identity, stream, address)
            nursery.cancel_scope.cancel()
    finally:
        device.close()
        tun.close()
        inside.close()


@asynccontextmanager
async def running_pair() -> AsyncIterator[tuple[Side, Side]]:
    """Two sides that know each other; only the first knows an endpoint."""
    async with running_side("10.9.0.1") as one, running_side("10.9.0.2") as two:
        one.connect(two, with_endpoint=True)
        two.connect(one, with_endpoint=False)
        yield one, two
