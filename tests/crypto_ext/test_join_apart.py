"""join.c: a table of everything that must stay apart, each case one difference away from what joins."""

from __future__ import annotations

import struct

import pytest

from tests.crypto_ext.joining import BODY, TIMESTAMPS, alone, build, corrupt, following, join, run_of
from tests.crypto_ext.packets import (
    ACK,
    CWR,
    ECE,
    FIN,
    PSH,
    RST,
    SYN,
    TCP,
    UDP,
    URG,
    V6,
    Packet,
    fold,
    pseudo,
)  # fmt: skip

BASE = Packet(payload=BODY[:500], options=TIMESTAMPS, fragment=0x4000, ident=5)
BASE6 = Packet(payload=BODY[:500], options=TIMESTAMPS, flow_label=3, **V6)
BASE_U = Packet(protocol=UDP, payload=BODY[:500])
BASE_U6 = Packet(protocol=UDP, payload=BODY[:500], **V6)


SECOND_DIFFERS: dict[str, tuple[Packet, dict[str, object]]] = {
    "source": (BASE, {"source": bytes([10, 0, 0, 2])}),
    "destination": (BASE, {"destination": bytes([10, 0, 0, 2])}),
    "source port": (BASE, {"ports": (40001, 443)}),
    "destination port": (BASE, {"ports": (40000, 444)}),
    "protocol": (BASE, {"protocol": UDP}),
    "ack": (BASE, {"ack": 78}),
    "window": (BASE, {"window": 502}),
    "urgent pointer": (BASE, {"urgent": 1}),
    "timestamp": (BASE, {"options": TIMESTAMPS[:-1] + b"\xff"}),
    "first option byte": (BASE, {"options": b"\0" + TIMESTAMPS[1:]}),
    "options gone": (BASE, {"options": b""}),
    "options longer": (BASE, {"options": TIMESTAMPS + bytes(4)}),
    "gap": (BASE, {"sequence": BASE.sequence + 501}),
    "overlap": (BASE, {"sequence": BASE.sequence + 499}),
    "repeated": (BASE, {"sequence": BASE.sequence}),
    "before": (BASE, {"sequence": BASE.sequence - 500}),
    "ttl": (BASE, {"ttl": 63}),
    "dscp": (BASE, {"tos": 0x20}),
    "ecn": (BASE, {"tos": 3}),
    "don't fragment": (BASE, {"fragment": 0}),
    "reserved fragment bit": (BASE, {"fragment": 0xC000}),
    "first fragment": (BASE, {"fragment": 0x2000}),
    "later fragment": (BASE, {"fragment": 0x0010}),
    "IP options": (BASE, {"ip_options": bytes(4)}),
    "bare ack": (BASE, {"payload": b""}),
    "longer": (BASE, {"payload": BODY[:501]}),
    **{f"flags {flags:#x}": (BASE, {"flags": flags}) for flags in (
        0, PSH, ACK | FIN, ACK | SYN, ACK | RST, ACK | URG, ACK | ECE, ACK | CWR, ACK | PSH | FIN)},
    "reserved TCP bit": (BASE, {"reserved": 1}),
    "other reserved TCP bit": (BASE, {"reserved": 8}),
    "v6 source": (BASE6, {"source": bytes(15) + b"\2"}),
    "v6 destination": (BASE6, {"destination": bytes(15) + b"\2"}),
    "v6 port": (BASE6, {"ports": (1, 443)}),
    "flow label": (BASE6, {"flow_label": 4}),
    "traffic class": (BASE6, {"tos": 1}),
    "hop limit": (BASE6, {"ttl": 65}),
    "extension header": (BASE6, {"extensions": ((60, bytes(6)),)}),
    "v6 gap": (BASE6, {"sequence": BASE6.sequence + 501}),
    "v6 window": (BASE6, {"window": 1}),
    "udp source": (BASE_U, {"source": bytes([1, 2, 3, 4])}),
    "udp destination": (BASE_U, {"destination": bytes([1, 2, 3, 4])}),
    "udp port": (BASE_U, {"ports": (40000, 444)}),
    "udp longer": (BASE_U, {"payload": BODY[:501]}),
    "udp empty": (BASE_U, {"payload": b""}),
    "udp without checksum": (BASE_U, {"zero_sum": True}),
    "udp ttl": (BASE_U, {"ttl": 1}),
    "udp tos": (BASE_U, {"tos": 1}),
    "udp don't fragment": (BASE_U, {"fragment": 0}),
    "udp fragment": (BASE_U, {"fragment": 0x2000}),
    "udp IP options": (BASE_U, {"ip_options": bytes(4)}),
    "udp flow label": (BASE_U6, {"flow_label": 1}),
    "udp v6 destination": (BASE_U6, {"destination": bytes(16)}),
    "udp extension header": (BASE_U6, {"extensions": ((0, bytes(6)),)}),
    "other family": (BASE_U, {"source": V6["source"], "destination": V6["destination"]}),
}  # fmt: skip


@pytest.mark.parametrize("case", SECOND_DIFFERS)
def test_different_packets_stay_apart(case):
    first, changes = SECOND_DIFFERS[case]
    pair = [first, following(first)]
    assert len(join(build(pair))) == 1, "without the difference they join"
    pair[1] = pair[1].but(**changes)
    assert all(alone(item) for item in join(build(pair)))
    assert [item.data for item in join(build(pair))] == build(pair)


def with_bit_flipped(packet: Packet, bit: int) -> bytes:
    """That packet with one bit of its headers changed, and right checksums all the same."""
    data = bytearray(packet.build())
    data[bit // 8] ^= 0x80 >> bit % 8
    at = packet.transport_at
    field = at + (16 if packet.protocol == TCP else 6)
    addresses = (data[12:16], data[16:20]) if packet.family == 4 else (data[8:24], data[24:40])
    if packet.family == 4:
        struct.pack_into(">H", data, 10, 0)
        struct.pack_into(">H", data, 10, 0xFFFF & ~fold(bytes(data[:at])))
    struct.pack_into(">H", data, field, 0)
    over = pseudo(*map(bytes, addresses), packet.protocol, len(data) - at)
    struct.pack_into(">H", data, field, 0xFFFF & ~fold(bytes(data[at:]), over))
    return bytes(data)


def bits_of(at: int, byte_count: int) -> range:
    return range(8 * at, 8 * (at + byte_count))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("base", [BASE, BASE6, BASE_U, BASE_U6], ids=["tcp4", "tcp6", "udp4", "udp6"])
def test_every_bit_of_the_headers_keeps_two_packets_apart_but_those_that_a_cut_makes_anew(base, which):
    """IPv4's id, the checksums; and PSH, which may come last. Each other one, whatever it means."""
    psh = 8 * (base.transport_at + 13) + 4
    free = {*bits_of(base.transport_at + (16 if base.protocol == TCP else 6), 2)}
    free |= {*bits_of(4, 2), *bits_of(10, 2)} if base.family == 4 else set()
    free |= {psh} if base.protocol == TCP and which == 1 else set()
    for bit in range(8 * base.header_len):
        pair = build([base, following(base)])
        pair[which] = with_bit_flipped((base, following(base))[which], bit)
        items = join(pair)
        if bit in free:
            assert [item.parts for item in items] == [pair], f"bit {bit} of byte {bit // 8}"
        else:
            assert [item.data for item in items] == pair, f"bit {bit} of byte {bit // 8}"
            assert all(alone(item) for item in items)


FORBIDDEN = ("ip_options", "flags", "reserved", "extensions", "zero_sum")
FORBIDDEN_KINDS = [case for case, (_, new) in SECOND_DIFFERS.items() if next(iter(new)) in FORBIDDEN]


@pytest.mark.parametrize(
    "case", [*FORBIDDEN_KINDS, "reserved fragment bit", "first fragment", "later fragment", "udp fragment"]
)
def test_two_of_the_same_forbidden_kind_stay_apart_too(case):
    first, changes = SECOND_DIFFERS[case]
    kind = first.but(**changes)
    assert all(alone(item) for item in join(build([kind, following(kind)])))


@pytest.mark.parametrize("base", [BASE, BASE_U], ids=["tcp4", "udp4"])
def test_without_dont_fragment_is_a_kind_of_its_own(base):
    kind = base.but(fragment=0)
    assert len(join(build([kind, following(kind)]))) == 1


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("base", [BASE, BASE6, BASE_U, BASE_U6], ids=["tcp4", "tcp6", "udp4", "udp6"])
def test_a_damaged_packet_is_passed_on_alone_and_unmodified(base, which):
    pair = build([base, following(base)])
    assert len(join(pair)) == 1
    places = [base.header_len - 1, base.header_len, len(pair[which]) - 1, base.transport_at + 2]
    if base.family == 4:
        places += [5, 8, 10, 11]  # id, TTL, header checksum
    if base.protocol == TCP:
        places += [base.transport_at + 16, base.transport_at + 7]
    for at in places:
        damaged = list(pair)
        damaged[which] = corrupt(pair[which], at)
        items = join(damaged)
        assert [item.data for item in items] == damaged
        assert all(alone(item) for item in items)


def test_udp_that_happens_to_need_no_checksum_is_not_joined():
    """Zero in the field says that there is none, even where the sum over it would come out right."""
    pair = []
    for packet in (BASE_U, following(BASE_U)):
        bare = packet.but(payload=packet.payload[:-2] + bytes(2)).transport(0)
        total = fold(bare, pseudo(packet.source, packet.destination, UDP, len(bare)))
        pair.append(packet.but(payload=packet.payload[:-2] + struct.pack(">H", 0xFFFF - total)))
    assert len(join([packet.build(0xFFFF) for packet in pair])) == 1
    assert all(alone(item) for item in join([packet.build(0) for packet in pair]))


def test_udp_whose_own_length_differs_is_not_joined():
    data = build([BASE_U, following(BASE_U)])
    short = struct.pack(">H", len(BASE_U.payload) + 7)
    for which in (0, 1):
        pair = list(data)
        body = pair[which][:24] + short + b"\0\0" + pair[which][28:]
        right = 0xFFFF & ~fold(body[20:], pseudo(BASE_U.source, BASE_U.destination, UDP, len(body) - 20))
        pair[which] = body[:26] + struct.pack(">H", right) + body[28:]
        assert [item.data for item in join(pair)] == pair


@pytest.mark.parametrize("between", [
    following(BASE).but(payload=b""), BASE.but(flags=ACK | FIN), BASE.but(reserved=1), BASE.but(sequence=9),
    Packet(ports=(1, 1), fragment=0x2000, payload=b"f" * 16), Packet(ip_options=bytes(4), payload=b"o"),
    Packet(fragment=0x0002, payload=b"f" * 16), BASE6.but(extensions=((60, bytes(6)),)),
])  # fmt: skip
def test_tcp_does_not_overtake_a_packet_of_its_flow(between):
    """Nor one whose flow cannot be told; it joins only what came after that."""
    run = run_of(BASE.but(payload=b""), [500] * 4)
    packets = build([run[0], run[1], between, run[2], run[3]])
    items = join(packets)
    assert [item.parts for item in items] == [packets[:2], packets[2:3], packets[3:]]


@pytest.mark.parametrize("between", [
    b"", b"\x45", b"\x00" * 60, BASE.build()[:-1], BASE.build() + b"\0",
    BASE.build()[:9] + b"\x06" + BASE.build()[10:20],
])  # fmt: skip
def test_what_is_no_right_packet_stands_alone_and_nothing_passes_it(between):
    run = build(run_of(BASE.but(payload=b""), [500] * 4))
    items = join([*run[:2], between, *run[2:]])
    assert [item.parts for item in items] == [run[:2], [between], run[2:]]


@pytest.mark.parametrize("between", [
    Packet(protocol=UDP, payload=b"x"), Packet(protocol=UDP, fragment=0x2000, payload=b"x" * 8),
    Packet(protocol=1, payload=b"ping"), Packet(protocol=58, payload=b"ping", **V6), Packet(ports=(7, 7)),
])  # fmt: skip
def test_tcp_passes_over_what_is_surely_no_packet_of_its_flow(between):
    run = run_of(BASE.but(payload=b""), [500] * 4)
    packets = build([*run[:2], between, *run[2:]])
    items = join(packets)
    assert [item.parts for item in items] == [build(run), packets[2:3]]
