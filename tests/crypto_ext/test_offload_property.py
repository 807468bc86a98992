"""join.c and split.c against the kernel, as properties: what is drawn here is cut by the kernel itself.

In: bursts of several flows go through join.c to a TUN, and the kernel cuts what was joined. Out come the
packets that went in, each of them, once, those of one 5-tuple in their order; byte for byte, but for one
thing. The IPv4 id of a packet in a superpacket counts on from the first one's (modulo 65536), whatever it
was: there is no word for another rule in a virtio_net_hdr. Where a sender's ids count by one, nothing
changes at all. (That a router takes one off the TTL is not the join's doing.)

Out: a superpacket that the kernel hands to a TUN with offloads is cut by split.c as by the kernel for a TUN
that has none.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from tests.crypto_ext.forwarder import Forwarder, Moved, within
from tests.crypto_ext.joining import BODY, Item, build, following, join
from tests.crypto_ext.packets import ACK, CWR, ECE, FIN, PSH, RST, SYN, TCP, UDP, URG, V6, Packet, cut, fold
from tests.crypto_ext.test_split import ECN, Header, find_zero, header_of, split

pytestmark = pytest.mark.netns

BURST_PACKETS = 256  # SP_JOIN_PACKETS

thorough = settings(
    max_examples=4 * settings().max_examples,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def forwarder() -> Iterator[Forwarder]:
    with Forwarder(f"sp-prop-{os.getpid()}") as forwarder:
        yield forwarder


# ---- what is drawn

TIMES = st.binary(min_size=8, max_size=8)
OPTIONS = st.one_of(
    st.just(b""),
    TIMES.map(lambda times: b"\1\1\x08\x0a" + times),
    TIMES.map(lambda block: b"\1\1\x05\x0a" + block),  # a SACK block, as the sender of data may carry
)
NEAR_A_WRAP = st.one_of(st.integers(0, 2**16 - 1), st.integers(2**16 - 40, 2**16 - 1))
SIZES = st.one_of(st.sampled_from([1, 2, 536, 1000, 1340, 1368, 1400]), st.integers(1, 1400))
COUNTS = st.one_of(st.integers(1, 4), st.integers(1, 70))


@st.composite
def flows(draw: st.DrawFn) -> tuple[Packet, int]:
    """A flow's first packet, without payload, and the step of its IPv4 ids."""
    packet = Packet(
        protocol=draw(st.sampled_from([TCP, TCP, UDP])),
        options=draw(OPTIONS),
        sequence=draw(st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32 - 5000, 2**32 - 1))),
        ack=draw(st.integers(0, 2**32 - 1)),
        window=draw(st.integers(0, 65535)),
        ttl=draw(st.integers(2, 255)),
        tos=draw(st.one_of(st.integers(0, 3), st.integers(0, 255))),  # ECN, and DSCP before it
        fragment=draw(st.sampled_from([0x4000, 0])),
        ident=draw(NEAR_A_WRAP),
        flow_label=draw(st.sampled_from([0, 0xABCDE])),
        **(V6 if draw(st.booleans()) else {}),
    )
    return packet, draw(st.sampled_from([1, 1, 0, 256, 40503]))


# What one packet of a run may have that the others have not. It is one of them, or one more: a probe, say.
CHANGES: list[dict[str, Any]] = [
    {"flags": ACK | PSH}, {"flags": ACK | FIN}, {"flags": ACK | ECE}, {"flags": ACK | CWR},
    {"flags": ACK | SYN}, {"flags": ACK | RST}, {"flags": ACK | URG, "urgent": 5}, {"payload": b""},
    {"ack": 5}, {"window": 1}, {"ttl": 9}, {"tos": 3}, {"fragment": 0x2000}, {"fragment": 0x0007},
    {"ip_options": b"\1\1\1\1"}, {"extensions": ((60, bytes(6)),)}, {"zero_sum": True},
    {"reserved": 1}, {"sequence": 1}, {"fragment": 0xC000},
    {"fragment": 0x4000}, {"fragment": 0},
    {"options": b"\1\1\x08\x0a" + b"8bytes.."},
]  # fmt: skip
ODD_ONES = st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, 69), st.booleans()), max_size=4)
ENDS = st.sampled_from(["as the others", "short", "PSH", "short with PSH", "sum of zero", "damaged"])
RUNS = st.tuples(st.integers(0, 4), SIZES, COUNTS, ENDS, ODD_ONES)


@st.composite
def bursts(draw: st.DrawFn) -> list[bytes]:
    """Runs of up to five flows after one another, each going on where its last run ended."""
    kinds = draw(st.lists(flows(), min_size=1, max_size=5))
    at = [packet.but(ports=(40000 + number, 443)) for number, (packet, _) in enumerate(kinds)]
    burst: list[bytes] = []
    for which, size, count, end, odd_ones in draw(st.lists(RUNS, min_size=1, max_size=12)):
        which %= len(kinds)
        for number in range(count):
            last = number + 1 == count
            start = len(burst) % 100
            packet = at[which].but(payload=BODY[start : start + size])
            if last and "short" in end:
                packet = packet.but(payload=packet.payload[: 1 + size // 3])
            if last and "PSH" in end:
                packet = packet.but(flags=packet.flags | PSH)
            if last and end == "sum of zero" and size > 1:
                packet = find_zero(packet)
            for change, place, besides in odd_ones:
                if number == place % count and besides:
                    burst.append(packet.but(**change).build())
                elif number == place % count:
                    packet = packet.but(**change)
            at[which] = following(packet).but(
                **{name: getattr(at[which], name) for name in CHANGED}, ident=packet.ident + kinds[which][1]
            )
            burst.append(packet.build(checksum=1 if last and end == "damaged" else None))
    return burst[:BURST_PACKETS]


CHANGED = {"payload", *(name for change in CHANGES for name in change)} - {"sequence"}


# ---- what is expected


def routed(data: bytes, ident: int | None = None) -> bytes:
    """As it leaves a router; with another IPv4 id when one is given."""
    out = bytearray(data)
    if data[0] >> 4 == 6:
        out[7] -= 1
        return bytes(out)
    out[8] -= 1
    if ident is not None:
        struct.pack_into(">H", out, 4, ident % 2**16)
    header = (out[0] & 15) * 4
    struct.pack_into(">H", out, 10, 0)
    struct.pack_into(">H", out, 10, 0xFFFF & ~fold(bytes(out[:header])))
    return bytes(out)


def counted_on(items: list[Item]) -> Iterator[bytes]:
    """What is to arrive: the ids of packets that were joined count on from the first one's."""
    for item in items:
        [first] = struct.unpack_from(">H", item.parts[0], 4)
        for number, part in enumerate(item.parts):
            yield routed(part, first + number)


def flow_of(data: bytes) -> tuple[bytes, bytes]:
    """Its hosts, and protocol and ports; none where these cannot be told (a later fragment, for one)."""
    if data[0] >> 4 == 6:
        return data[8:40], data[6:7] + data[40:44] if data[6] in (TCP, UDP) else b""
    at = (data[0] & 15) * 4
    return data[12:20], data[9:10] + data[at : at + 4] if data[7] == 0 else b""


def by_flow(packets: list[bytes]) -> dict[tuple[bytes, bytes], list[bytes]]:
    """The packets of each 5-tuple in their order, without IPv4 id and header checksum.

    One whose flow cannot be told has its place in every flow between its hosts.
    """
    flows: dict[tuple[bytes, bytes], list[bytes]] = {flow_of(data): [] for data in packets}
    for data in packets:
        hosts, ports = flow_of(data)
        if data[0] >> 4 == 4:
            data = data[:4] + b"\0\0" + data[6:10] + b"\0\0" + data[12:]
        for flow, members in flows.items():
            if flow[0] == hosts and ports in (flow[1], b""):
                members.append(data)
    return flows


def written(items: list[Item]) -> list[Moved]:
    return [(Header(*item.header), item.data) for item in items]


# ---- the properties


@thorough
@given(burst=bursts())
def test_joined_and_cut_by_the_kernel_gives_the_originals(forwarder: Forwarder, burst: list[bytes]) -> None:
    items = join(burst, forwarder.may_join)
    event(f"joined: {sum(len(item.parts) > 1 for item in items) > 0}")
    arrived = forwarder.cut(written(items))
    assert arrived == list(counted_on(items))
    assert by_flow(arrived) == by_flow([routed(data) for data in burst])


@thorough
@given(burst=bursts())
def test_whole_and_cut_by_us_is_the_same(forwarder: Forwarder, burst: list[bytes]) -> None:
    writes = written(join(burst, forwarder.may_join))
    assert by_split(forwarder.whole(writes)) == forwarder.cut(writes)


def by_split(moved: list[Moved]) -> list[bytes]:
    segments = []
    for header, data in moved:
        parts = split(data, header)
        assert not isinstance(parts, int), "split.c refuses what the kernel gave"
        segments.extend(parts)
    return segments


@thorough
@given(
    flow=flows(),
    flags=st.one_of(st.sampled_from([ACK | CWR, ACK | PSH | FIN]), st.integers(0, 255)),
    size=SIZES,
    length=st.one_of(st.integers(1, 65000), st.integers(1, 5000)),
    names_ecn=st.booleans(),
)
def test_superpackets_of_every_kind(forwarder, flow, flags, size, length, names_ecn):
    """Also with flags that join.c would never let in: a TCP stack of this host sends them."""
    most = 64 * size if flow[0].protocol == UDP else 65000
    packet = flow[0].but(payload=(BODY * 43)[: min(length, most)], flags=flags)
    header = header_of(packet, size)
    assume(packet.protocol == TCP or forwarder.uso)
    if names_ecn and packet.protocol == TCP:
        header = header._replace(gso_type=header.gso_type | ECN)
    writes = [(header if len(packet.payload) > size else header._replace(gso_type=0), packet.whole())]
    assert by_split(forwarder.whole(writes)) == forwarder.cut(writes)


@pytest.mark.parametrize(("ours", "to"), [("10.0.0.50", "198.51.100.7"), ("fd00::50", "2001:db8::7")])
def test_what_a_socket_of_this_host_sends_in_one_piece(forwarder, ours, to):
    """The kernel's own USO, not a packet that we have made up: its pieces are what the socket was given."""
    forwarder.needs_uso()
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with within(forwarder.name, lambda: socket.socket(family, socket.SOCK_DGRAM)) as sock:
        sock.bind((ours, 40000))
        sock.connect((to, 443))
        for size, length in [(1, 30), (1000, 3001), (1340, 1340 * 45), (1340, 1341), (500, 500)]:
            sent = (BODY * 43)[:length]
            segments = by_split(forwarder.sent_by_this_host(sock, sent, size))
            ident, fragment = struct.unpack_from(">HH", segments[0], 4)  # the kernel's choice
            packet = Packet(
                protocol=UDP, source=ip_address(ours).packed, destination=ip_address(to).packed, payload=sent,
                ident=ident, fragment=fragment, flow_label=int.from_bytes(segments[0][1:4], "big") & 0xFFFFF,
            )  # fmt: skip
            assert segments == build(cut(packet, size))
