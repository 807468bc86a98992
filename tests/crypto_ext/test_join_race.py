"""join.c against a dumb model of its rules, and the way back: what is joined and cut again, by a cut written
here, gives the packets that went in."""

from __future__ import annotations

import struct
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext.joining import BODY, TIMESTAMPS, Item, alone, corrupt, following, join
from tests.crypto_ext.packets import ACK, FIN, PSH, TCP, UDP, V6, Packet, fold, pseudo


class Seen(NamedTuple):
    """A packet as the model sees it, read from its bytes by fixed offsets."""

    data: bytes
    flow: tuple[object, ...] | None  # None: cannot be told
    fixed: tuple[object, ...] = ()  # what must be equal
    sequence: int = 0
    payload: int = 0
    psh: bool = False
    good: bool = False
    closes_all: bool = False


def see(data: bytes) -> Seen:
    v4 = data[0] >> 4 == 4
    protocol = data[9] if v4 else data[6]
    if v4 and (data[0] != 0x45 or data[6] & 0xBF or data[7]):
        return Seen(data, None, closes_all=protocol == TCP)
    if protocol not in (TCP, UDP):
        return Seen(data, None, closes_all=not v4 and protocol != 58)
    at = 20 if v4 else 40
    source, destination = (data[12:16], data[16:20]) if v4 else (data[8:24], data[24:40])
    flow = (protocol, source, destination, data[at : at + 4])
    shared = (data[0:2], data[6:9]) if v4 else (data[0:4], data[7])
    right = fold(data[at:], pseudo(source, destination, protocol, len(data) - at)) == 0xFFFF
    right = right and (not v4 or fold(data[:20]) == 0xFFFF)
    if protocol == UDP:
        right = right and data[at + 6 : at + 8] != b"\0\0"
        return Seen(data, flow, shared, 0, len(data) - at - 8, False, right)
    head = (data[at + 12] >> 4) * 4
    fixed = (*shared, data[at + 8 : at + 13], data[at + 14 : at + 16], data[at + 18 : at + head])
    good = right and not data[at + 12] & 15 and data[at + 13] in (ACK, ACK | PSH)
    sequence = int.from_bytes(data[at + 4 : at + 8], "big")
    return Seen(data, flow, fixed, sequence, len(data) - at - head, bool(data[at + 13] & PSH), good)


def model(packets: list[bytes]) -> list[list[bytes]]:
    items: list[list[Seen]] = []
    for seen in map(see, packets):
        target = None
        for item in reversed(items):
            if item[0].closes_all or seen.flow is None:
                break
            if item[0].flow == seen.flow:
                target = item
                break
            if seen.flow[0] == UDP:
                break
        if target is not None and may_follow(target, seen):
            target.append(seen)
        else:
            items.append([seen])
    return [[seen.data for seen in item] for item in items]


def may_follow(item: list[Seen], new: Seen) -> bool:
    first, last = item[0], item[-1]
    udp = new.flow is not None and new.flow[0] == UDP
    total = len(first.data) + sum(seen.payload for seen in item[1:]) + new.payload
    return (
        first.good and new.good and new.payload > 0 and first.payload > 0 and first.fixed == new.fixed
        and not last.psh and last.payload == first.payload and new.payload <= first.payload
        and total <= 65535
        and (udp or new.sequence == (last.sequence + last.payload) % 2**32)
        and (not udp or len(item) < 64)
    )  # fmt: skip


CHANGES: list[dict[str, object]] = [{}] * 30 + [
    {"flags": ACK | PSH}, {"flags": ACK | PSH}, {"flags": ACK | FIN}, {"payload": b""}, {"ack": 5},
    {"window": 1}, {"ttl": 9}, {"tos": 1}, {"fragment": 0x2000}, {"fragment": 0},
    {"ip_options": bytes(4)}, {"flow_label": 9},
    {"extensions": ((60, bytes(6)),)}, {"zero_sum": True}, {"sequence": 1}, {"protocol": 1},
    {"reserved": 1},
]  # fmt: skip
MIXED = [
    Packet(), Packet(ports=(40001, 443)), Packet(options=TIMESTAMPS, ports=(2, 3), sequence=2**32 - 1000),
    Packet(protocol=UDP), Packet(protocol=UDP, ports=(5, 6)), Packet(**V6), Packet(protocol=UDP, **V6),
]  # fmt: skip
SIZES = st.sampled_from([400, 400, 400, 400, 400, 399, 401, 1, 1400])


BURST = st.tuples(
    st.integers(0, len(MIXED) - 1), SIZES, st.sampled_from(CHANGES), st.integers(1, 6), st.integers(0, 40)
)


@given(st.lists(BURST, max_size=40))
def test_race_with_the_model(bursts):
    flows = list(MIXED)
    packets: list[bytes] = []
    for which, size, change, repeat, damage in bursts:
        for _ in range(repeat):
            packet = flows[which].but(payload=BODY[:size])
            flows[which] = following(packet).but(payload=b"", ident=packet.ident + 1)
            data = packet.but(**change).build()
            packets.append(corrupt(data, len(data) - 1) if damage == 0 else data)
    packets = packets[:256]
    items = join(packets)
    assert [item.parts for item in items] == model(packets)
    for item in items:
        if len(item.parts) == 1:
            assert alone(item)
        else:
            assert undo(item) == [without_id(part) for part in item.parts]


def without_id(data: bytes) -> bytes:
    """IPv4 id and header checksum are not kept over a join: the cut counts on from the first id."""
    return data[:4] + b"\0\0" + data[6:10] + b"\0\0" + data[12:] if data[0] >> 4 == 4 else data


def undo(item: Item) -> list[bytes]:
    """A superpacket cut again as its vnet header says, straight on the bytes."""
    flags, gso_type, hdr_len, size, start, offset = item.header
    assert flags == 1
    assert len(item.data) <= 65535
    v4 = item.data[0] >> 4 == 4
    addresses = (item.data[12:16], item.data[16:20]) if v4 else (item.data[8:24], item.data[24:40])
    protocol = UDP if gso_type == 5 else TCP
    total = len(item.data) - start
    field = item.data[start + offset : start + offset + 2]
    assert int.from_bytes(field, "big") == pseudo(*addresses, protocol, total)
    assert not v4 or fold(item.data[:20]) == 0xFFFF
    out = []
    for at in range(hdr_len, len(item.data), size):
        head, body = bytearray(item.data[:hdr_len]), item.data[at : at + size]
        length = hdr_len + len(body)
        struct.pack_into(">H", head, 2 if v4 else 4, length if v4 else length - 40)
        if protocol == UDP:
            assert int.from_bytes(head[start + 4 : start + 6], "big") == total
            struct.pack_into(">H", head, start + 4, length - start)
        else:
            sequence = int.from_bytes(head[start + 4 : start + 8], "big") + at - hdr_len
            struct.pack_into(">I", head, start + 4, sequence % 2**32)
            if at + size < len(item.data):
                head[start + 13] &= ~PSH & 0xFF
        struct.pack_into(">H", head, start + offset, 0)
        right = 0xFFFF & ~fold(bytes(head[start:]) + body, pseudo(*addresses, protocol, length - start))
        struct.pack_into(">H", head, start + offset, right or (0xFFFF if protocol == UDP else 0))
        out.append(without_id(bytes(head) + body))
    return out
