"""What the tests of join.c share: a burst through it and out as bytes, and runs of packets that adjoin."""

from __future__ import annotations

from typing import NamedTuple

from tests.crypto_ext import leaf
from tests.crypto_ext.packets import PSH, Packet

TCP_MAY, UDP_MAY, BOTH = 2, 4, 6
BODY = bytes(range(256)) * 6
TIMESTAMPS = bytes([1, 1, 8, 10]) + bytes(range(8))


class Item(NamedTuple):
    kind: int
    header: tuple[int, ...]  # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
    data: bytes
    parts: list[bytes]


def join(packets: list[bytes], may: int = BOTH) -> list[Item]:
    ffi, lib = leaf.load()
    state = ffi.gc(lib.sp_join_new(), lib.sp_join_free)
    lib.sp_join_allow(state, may)
    kept = [ffi.from_buffer(bytes(packet)) for packet in packets]
    items: list[Item] = []
    for round_ in range(2):  # a second burst after clear must not remember the first
        for packet in kept:
            assert lib.sp_join_add(state, packet, len(packet)) == 0
        before, items = items, [take(ffi, lib, state, i) for i in range(lib.sp_join_items(state))]
        assert round_ == 0 or items == before
        lib.sp_join_clear(state)
        assert lib.sp_join_items(state) == 0
    return items


def take(ffi, lib, state, i: int) -> Item:
    vnet, kind = ffi.new("struct sp_vnet_hdr *"), ffi.new("int *", 99)
    iov = ffi.new("struct iovec[]", lib.SP_JOIN_PACKETS + 1)
    n = lib.sp_join_item(state, i, vnet, iov, kind)
    data = b"".join(bytes(ffi.buffer(iov[k].iov_base, iov[k].iov_len)) for k in range(n))
    header = (vnet.flags, vnet.gso_type, vnet.hdr_len, vnet.gso_size, vnet.csum_start, vnet.csum_offset)
    n = lib.sp_join_parts(state, i, iov)
    parts = [bytes(ffi.buffer(iov[k].iov_base, iov[k].iov_len)) for k in range(n)]
    return Item(kind[0], header, data, parts)


def alone(item: Item) -> bool:
    """Passed on as it came, with a vnet header that says nothing."""
    return item.kind == 0 and item.header == (0,) * 6 and item.parts == [item.data]


def run_of(packet: Packet, sizes: list[int], *, last_psh: bool = False) -> list[Packet]:
    """Packets that adjoin, as a sender's kernel cuts them, with payloads of these sizes."""
    out, at = [], 0
    for size in sizes:
        out.append(packet.but(payload=BODY[at % 100 : at % 100 + size], sequence=packet.sequence + at))
        at += size
    if last_psh:
        out[-1] = out[-1].but(flags=out[-1].flags | PSH)
    return [p.but(ident=packet.ident + i) for i, p in enumerate(out)]


def build(packets: list[Packet]) -> list[bytes]:
    return [packet.build() for packet in packets]


def following(packet: Packet) -> Packet:
    return packet.but(sequence=packet.sequence + len(packet.payload))


def corrupt(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
