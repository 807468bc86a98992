"""join_packet.c: what may be joined at all, what begins a new order, and which two packets are alike."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crypto_ext import leaf
from tests.crypto_ext.joining import BOTH, TCP_MAY, TIMESTAMPS, UDP_MAY
from tests.crypto_ext.packets import ACK, CWR, ECE, FIN, PSH, RST, SYN, TCP, UDP, URG, V6, Packet

TCP4 = Packet(payload=b"0123456789", options=TIMESTAMPS)
TCP6 = TCP4.but(flow_label=7, **V6)
UDP4 = Packet(protocol=UDP, payload=b"0123456789")
UDP6 = UDP4.but(**V6)
EACH = pytest.mark.parametrize("packet", [TCP4, TCP6, UDP4, UDP6], ids=["tcp4", "tcp6", "udp4", "udp6"])


def look(data: bytes, may: int = BOTH) -> Any:
    ffi, lib = leaf.load()
    seen = ffi.new("struct sp_join_packet *")
    lib.sp_join_look(seen, data, len(data), may)
    return seen


@EACH
def test_a_plain_packet_may_be_joined(packet: Packet) -> None:
    seen = look(packet.build())
    assert seen.kind == (1 if packet.protocol == TCP else 2)
    assert seen.has_flow == (packet.protocol == TCP)
    assert (seen.network_len, seen.header_len) == (packet.transport_at, packet.header_len)
    assert (seen.segment_len, seen.total_len) == (10, len(packet.build()))
    assert seen.is_barrier == 0
    assert seen.sequence == (packet.sequence if packet.protocol == TCP else 0)


@EACH
def test_a_wrong_checksum_or_one_bit_of_the_text_forbids_it(packet: Packet) -> None:
    assert look(packet.build(checksum=1)).kind == 0
    damaged = bytearray(packet.build())
    damaged[-1] ^= 1
    assert look(bytes(damaged)).kind == 0


def test_a_wrong_checksum_of_the_ipv4_header_forbids_it() -> None:
    damaged = bytearray(TCP4.build())
    damaged[10] ^= 1
    assert look(bytes(damaged)).kind == 0


@pytest.mark.parametrize(
    "flags", [0, PSH, SYN, SYN | ACK, ACK | FIN, ACK | RST, ACK | URG, ACK | ECE, ACK | CWR]
)
def test_only_ack_with_or_without_psh(flags: int) -> None:
    seen = look(TCP4.but(flags=flags).build())
    assert (seen.kind, seen.has_flow) == (0, 1), "it keeps its place in the order of its flow"
    assert look(TCP4.but(flags=ACK | PSH).build()).psh


@pytest.mark.parametrize(
    ("packet", "barrier"),
    [
        (TCP4.but(ip_options=bytes(4)), 1),
        (TCP4.but(fragment=0x2000), 1),
        (UDP4.but(fragment=0x2000), 0),
        (TCP6.but(extensions=((60, bytes(6)),)), 1),
        (TCP4.but(payload=b""), 0),
        (UDP4.but(payload=b""), 0),
        (TCP4.but(reserved=1), 0),
        (UDP4.but(zero_sum=True), 0),
    ],
    ids=[
        "ip options", "tcp fragment", "udp fragment", "extension header", "bare ack", "empty udp",
        "reserved bits", "udp without a sum",
    ],
)  # fmt: skip
def test_what_is_passed_on_alone(packet: Packet, barrier: int) -> None:
    seen = look(packet.build())
    assert (seen.kind, seen.is_barrier) == (0, barrier)


@pytest.mark.parametrize("data", [b"", b"\x45", bytes(40), TCP4.build()[:-1], TCP4.build()[:30]])
def test_what_is_no_packet_is_a_barrier(data: bytes) -> None:
    seen = look(data)
    assert (seen.kind, seen.is_barrier) == (0, 1)


def test_a_protocol_that_is_not_wanted() -> None:
    assert [look(p.build(), TCP_MAY).kind for p in (TCP4, UDP4)] == [1, 0]
    assert [look(p.build(), UDP_MAY).kind for p in (TCP4, UDP4)] == [0, 2]
    assert look(TCP4.build(), UDP_MAY).has_flow == 1


@EACH
def test_the_flow_is_addresses_protocol_and_ports(packet: Packet) -> None:
    _, lib = leaf.load()
    data = packet.build()
    assert lib.sp_join_same_flow(data, packet.but(payload=b"other", ttl=3, tos=8).build())
    assert lib.sp_join_flow_hash(5, data) == lib.sp_join_flow_hash(5, packet.but(payload=b"other").build())
    address = bytes([*packet.source[:-1], packet.source[-1] ^ 1])
    changes: list[dict[str, Any]] = [
        {"ports": (40001, 443)}, {"ports": (40000, 444)}, {"source": address},
        {"destination": packet.destination[:-1] + b"\x63"}, {"protocol": TCP + UDP - packet.protocol},
    ]  # fmt: skip
    for change in changes:
        assert not lib.sp_join_same_flow(data, packet.but(**change).build()), change
    other = TCP6 if packet.family == 4 else TCP4
    assert not lib.sp_join_same_flow(data, other.build())


@EACH
def test_headers_are_the_same_but_for_what_a_cut_makes_anew(packet: Packet) -> None:
    _, lib = leaf.load()
    data, seen = packet.build(), look(packet.build())

    def same(**changes: Any) -> int:
        return int(lib.sp_join_same_headers(seen, data, packet.but(**changes).build()))

    assert same(sequence=99, ident=9, flags=ACK | PSH, payload=b"something else and longer")
    assert not same(ttl=63)
    assert not same(tos=1)
    if packet.family == 4:
        assert not same(fragment=0)
    else:
        assert not same(flow_label=8)
    if packet.protocol == TCP:
        assert not same(ack=78)
        assert not same(window=502)
        assert not same(urgent=1)
        assert not same(options=TIMESTAMPS[:-1] + b"\xff")
