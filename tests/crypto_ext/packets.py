"""IP packets built from their fields, and the checksum in the dumbest way: what the tests compare with."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

TCP, UDP = 6, 17
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << n for n in range(8))


def fold(data: bytes, start: int = 0) -> int:
    """The one's complement sum of big-endian 16-bit words, not complemented."""
    data += bytes(len(data) % 2)
    total = start + sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    return fold(source + destination + struct.pack(">II", length, protocol))


@dataclass(frozen=True)
class Packet:
    """One TCP or UDP packet. `build` gives its bytes with right checksums unless told otherwise."""

    protocol: int = TCP
    source: bytes = bytes([10, 0, 0, 1])
    destination: bytes = bytes([198, 51, 100, 7])
    ports: tuple[int, int] = (40000, 443)
    payload: bytes = b""
    sequence: int = 1000
    ack: int = 77
    flags: int = ACK
    window: int = 501
    urgent: int = 0
    options: bytes = b""
    reserved: int = 0  # the four bits after the TCP header length
    ttl: int = 64
    tos: int = 0
    flow_label: int = 0
    ident: int = 0
    fragment: int = 0x4000
    ip_options: bytes = b""
    extensions: tuple[tuple[int, bytes], ...] = field(default=())  # IPv6: (its number, its body from byte 2)
    zero_sum: bool = False  # UDP that carries no checksum

    def but(self, **changes: object) -> Packet:
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def family(self) -> int:
        return 4 if len(self.source) == 4 else 6

    def transport(self, checksum: int | None = None) -> bytes:
        """Header and payload. checksum None: the right one; else that number in the field."""
        length = len(self.payload) + (20 + len(self.options) if self.protocol == TCP else 8)
        if self.protocol == TCP:
            offset = (5 + len(self.options) // 4) << 4 | self.reserved
            sequence = self.sequence % 2**32
            head = struct.pack(">HHIIBBH", *self.ports, sequence, self.ack, offset, self.flags, self.window)
            tail = struct.pack(">H", self.urgent) + self.options
        else:
            head, tail = struct.pack(">HHH", *self.ports, length), b""
        if checksum is None:
            whole = head + bytes(2) + tail + self.payload
            checksum = 0xFFFF & ~fold(whole, pseudo(self.source, self.destination, self.protocol, length))
            if self.protocol == UDP:
                checksum = 0 if self.zero_sum else checksum or 0xFFFF
        return head + struct.pack(">H", checksum) + tail + self.payload

    def network(self, payload_len: int) -> bytes:
        if self.family == 6:
            chain = b""
            numbers = [number for number, _ in self.extensions] + [self.protocol]
            for (_, body), following in zip(self.extensions, numbers[1:], strict=True):
                assert (len(body) + 2) % 8 == 0
                chain += bytes([following, (len(body) + 2) // 8 - 1]) + body
            word = 6 << 28 | self.tos << 20 | self.flow_label
            head = struct.pack(">IHBB", word, payload_len + len(chain), numbers[0], self.ttl)
            return head + self.source + self.destination + chain
        header_len = 20 + len(self.ip_options)
        head = struct.pack(
            ">BBHHHBB", 0x40 | header_len // 4, self.tos, header_len + payload_len, self.ident % 65536,
            self.fragment, self.ttl, self.protocol,
        )  # fmt: skip
        tail = self.source + self.destination + self.ip_options
        return head + struct.pack(">H", 0xFFFF & ~fold(head + tail)) + tail

    def build(self, checksum: int | None = None) -> bytes:
        transport = self.transport(checksum)
        return self.network(len(transport)) + transport

    @property
    def transport_at(self) -> int:
        return len(self.network(0))

    @property
    def header_len(self) -> int:
        return len(self.but(payload=b"").build())

    def whole(self) -> bytes:
        """As the kernel hands it over with NEEDS_CSUM: only the pseudo-header sum is in the field."""
        length = len(self.transport())
        return self.build(pseudo(self.source, self.destination, self.protocol, length))


V6 = {
    "source": bytes.fromhex("fd000000000000000000000000000001"),
    "destination": bytes.fromhex("20010db8000000000000000000000007"),
}


def cut(packet: Packet, gso_size: int) -> list[Packet]:
    """The packets that a superpacket stands for, each made from its fields."""
    payloads = [packet.payload[at : at + gso_size] for at in range(0, len(packet.payload), gso_size)]
    parts = []
    for i, payload in enumerate(payloads):
        flags = packet.flags
        if i:
            flags &= ~CWR
        if i + 1 < len(payloads):
            flags &= ~(FIN | PSH)
        parts.append(
            packet.but(
                payload=payload, flags=flags, sequence=packet.sequence + i * gso_size, ident=packet.ident + i
            )
        )
    return parts
