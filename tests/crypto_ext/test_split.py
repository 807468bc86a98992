"""split.c against packets built one by one from their fields: what the kernel would have emitted."""

from __future__ import annotations

import errno
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext import leaf
from tests.crypto_ext.packets import ACK, CWR, ECE, FIN, PSH, TCP, UDP, V6, Packet, cut, fold, pseudo

TCPV4, TCPV6, UDP_L4, ECN = 1, 4, 5, 0x80
NEEDS_CSUM, DATA_VALID = 1, 2
CANARY = 0xC3
HOP_BY_HOP, ROUTING, DESTINATION = 0, 43, 60


class Header(NamedTuple):
    """A virtio_net_hdr; by default the one that the kernel gives with a packet."""

    flags: int = 0
    gso_type: int = 0
    hdr_len: int = 0
    gso_size: int = 0
    csum_start: int = 0
    csum_offset: int = 0


def header_of(packet: Packet, gso_size: int) -> Header:
    kind = UDP_L4 if packet.protocol == UDP else TCPV4 if packet.family == 4 else TCPV6
    offset = 6 if packet.protocol == UDP else 16
    return Header(NEEDS_CSUM, kind, packet.header_len, gso_size, packet.transport_at, offset)


def split(data: bytes, header: Header) -> list[bytes] | int:
    """The segments, or the errno. Everything beyond the bytes handed over and asked for is watched."""
    ffi, lib = leaf.load()
    room = ffi.new("uint8_t[]", len(data) + 64)
    ffi.buffer(room)[:] = data + bytes([CANARY]) * 64
    state, vnet = ffi.new("struct sp_split *"), ffi.new("struct sp_vnet_hdr *", header)
    count = lib.sp_split_begin(state, vnet, room, len(data))
    assert bytes(ffi.buffer(room))[len(data) :] == bytes([CANARY]) * 64
    if count < 0:
        assert bytes(ffi.buffer(room))[: len(data)] == data, "a refused packet is left alone"
        return count
    segments = []
    for i in range(count):
        length = lib.sp_split_len(state, i)
        out = ffi.new("uint8_t[]", length + 64)
        ffi.buffer(out)[:] = bytes([CANARY]) * (length + 64)
        lib.sp_split_copy(state, i, out)
        assert bytes(ffi.buffer(out))[length:] == bytes([CANARY]) * 64
        segments.append(bytes(ffi.buffer(out))[:length])
    if count == 1:
        assert bytes(ffi.buffer(room))[: state.packet_len] == segments[0], "usable where it stands"
    return segments


def check(packet: Packet, gso_size: int, header: Header | None = None) -> None:
    expected = [part.build() for part in cut(packet, gso_size)]
    assert split(packet.whole(), header or header_of(packet, gso_size)) == expected


BODY = bytes(range(256)) * 20
SHAPES = {
    "tcp4": Packet(payload=BODY),
    "tcp4 with options": Packet(payload=BODY, options=bytes([1, 1, 8, 10]) + bytes(8), ip_options=bytes(8)),
    "tcp6": Packet(payload=BODY, flow_label=0xABCDE, tos=0x2E, **V6),
    "udp4": Packet(protocol=UDP, payload=BODY, fragment=0),
    "udp6": Packet(protocol=UDP, payload=BODY, **V6),
    "tcp6 behind extension headers": Packet(
        payload=BODY, extensions=((HOP_BY_HOP, bytes(6)), (DESTINATION, bytes(14))), **V6
    ),
    "udp6 behind an extension header": Packet(
        protocol=UDP, payload=BODY, extensions=((DESTINATION, bytes(6)),), **V6
    ),
}
each_shape = pytest.mark.parametrize("shape", SHAPES)


@each_shape
@pytest.mark.parametrize("gso_size", [1, 536, 1368, 1280, 5119, 5120, 5121, 65535])  # BODY has 5120
def test_sizes(shape, gso_size):
    check(SHAPES[shape].but(payload=BODY[:100]) if gso_size == 1 else SHAPES[shape], gso_size)


@each_shape
@pytest.mark.parametrize("hdr_len", [0, 1, 54, 65535])
def test_hdr_len_is_not_trusted(shape, hdr_len):
    check(SHAPES[shape], 1000, header_of(SHAPES[shape], 1000)._replace(hdr_len=hdr_len))


@pytest.mark.parametrize(
    "flags", [ACK, ACK | PSH, ACK | FIN, ACK | FIN | PSH, ACK | CWR, ACK | ECE | CWR | PSH]
)
@pytest.mark.parametrize("family", [4, 6])
def test_flags_belong_to_the_first_or_the_last(flags, family):
    packet = Packet(payload=BODY[:2500], flags=flags, **(V6 if family == 6 else {}))
    for kind in (0, ECN):
        header = header_of(packet, 1000)
        check(packet, 1000, header._replace(gso_type=header.gso_type | kind))
    parts = cut(packet, 1000)  # the twin itself, spelt out
    assert [part.flags & CWR for part in parts] == [flags & CWR, 0, 0]
    assert [part.flags & (FIN | PSH) for part in parts] == [0, 0, flags & (FIN | PSH)]


def test_sequence_and_id_wrap_around():
    check(Packet(payload=BODY[:3000], sequence=2**32 - 1500, ident=65535), 1000)


def test_a_full_superpacket():
    check(Packet(payload=BODY * 12 + BODY[: 65535 - 40 - 12 * len(BODY)]), 1368)
    check(Packet(payload=BODY * 12 + BODY[: 65535 - 60 - 12 * len(BODY)], **V6), 1348)


@pytest.mark.parametrize("shape", ["tcp4", "tcp6", "udp4", "udp6"])
def test_without_needs_csum_the_checksums_are_made_all_the_same(shape):
    """A forwarded batch whose checksums a device has verified comes with finished ones in its header."""
    packet = SHAPES[shape]
    header = header_of(packet, 1000)._replace(flags=DATA_VALID, csum_start=0, csum_offset=0)
    assert split(packet.build(), header) == [part.build() for part in cut(packet, 1000)]


def test_udp_that_carries_no_checksum_keeps_none():
    packet = Packet(protocol=UDP, payload=BODY, zero_sum=True)
    header = header_of(packet, 1000)._replace(flags=0)
    assert split(packet.build(), header) == [part.build() for part in cut(packet, 1000)]


def find_zero(packet: Packet) -> Packet:
    """The packet with two last payload bytes such that its checksum comes out as zero."""
    start = packet.but(payload=packet.payload[:-2] + bytes(2))
    bare = start.transport(0)
    total = fold(bare, pseudo(start.source, start.destination, start.protocol, len(bare)))
    return start.but(payload=start.payload[:-2] + (0xFFFF - total).to_bytes(2, "big"))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_a_checksum_that_comes_out_as_zero(family, protocol):
    """UDP writes 0xFFFF for it; TCP zero in a segment, and 0xFFFF, as the kernel, in a packet of its own."""
    one = find_zero(Packet(protocol=protocol, payload=BODY[:100], **(V6 if family == 6 else {})))
    at = one.transport_at + (6 if protocol == UDP else 16)
    ones = one.build(0xFFFF)
    header = header_of(one, 0)._replace(gso_type=0)
    assert split(one.whole(), header) == [ones]
    assert split(one.whole(), header_of(one, 100)) == [ones]
    two = one.but(payload=one.payload + b"tail")
    first = split(two.whole(), header_of(two, 100))[0]
    assert first[at : at + 2] == (b"\xff\xff" if protocol == UDP else b"\0\0")


@each_shape
def test_a_packet_that_is_none_is_completed_in_place(shape):
    packet = SHAPES[shape].but(payload=BODY[:999])
    header = header_of(packet, 0)._replace(gso_type=0)
    assert split(packet.whole(), header) == [packet.build()]


@each_shape
def test_a_packet_without_needs_csum_is_left_as_it_is(shape):
    data = SHAPES[shape].whole()
    assert split(data, Header()) == [data]
    assert split(data + b"padding", Header(flags=DATA_VALID)) == [data]


def test_bytes_beyond_the_packets_own_length_are_cut():
    packet = Packet(payload=BODY[:2000])
    expected = [part.build() for part in cut(packet, 900)]
    assert split(packet.whole() + bytes(9), header_of(packet, 900)) == expected


def test_a_routing_header_keeps_the_pseudo_header_that_the_kernel_summed():
    """Then the checksum covers the final destination, which only the sum in the field knows."""
    packet = SHAPES["tcp6 behind extension headers"]
    routed = packet.but(extensions=((ROUTING, bytes([2, 1]) + bytes(20)),))
    final = bytes.fromhex("20010db8" + "00" * 11 + "99")
    length = len(routed.transport())
    data = routed.build(pseudo(routed.source, final, TCP, length))
    expected = []
    for part in cut(routed, 1000):
        right = part.but(destination=final).transport()  # summed over the final destination
        expected.append(part.network(len(right)) + right)
    assert split(data, header_of(routed, 1000)) == expected
    assert split(data, header_of(routed, 1000)._replace(flags=0)) == -errno.EINVAL


P4, P6, U4 = SHAPES["tcp4"], SHAPES["tcp6"], SHAPES["udp4"]
G4, G6, GU = header_of(P4, 1000), header_of(P6, 1000), header_of(U4, 1000)


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize(("data", "header"), [
    (b"", G4), (b"", Header()), (b"\x50" * 40, Header()), (P4.whole()[:-1], G4), (P4.whole()[:39], G4),
    (P4.whole(), G4._replace(gso_size=0)),
    *((P4.whole(), G4._replace(gso_type=kind)) for kind in (2, 3, 6, 7, ECN, 0x7F, TCPV6, UDP_L4)),
    (P6.whole(), G6._replace(gso_type=TCPV4)), (U4.whole(), GU._replace(gso_type=TCPV4)),
    *((P4.whole(), G4._replace(csum_start=at)) for at in (0, 19, 21, 24, 65535)),
    *((P4.whole(), G4._replace(csum_offset=at)) for at in (0, 6, 15, 18, 65535)),
    (U4.whole(), GU._replace(csum_offset=16)),
    (patched(P4.whole(), 32, b"\x40"), G4),  # TCP header below 20 bytes
    (patched(P4.but(payload=b"xx").whole(), 32, b"\xf0"), G4),  # and beyond the packet
    (patched(P4.whole(), 6, b"\x20\x00"), G4), (patched(P4.whole(), 6, b"\x00\x01"), G4),  # fragments
    (P6.but(extensions=((44, bytes(6)),)).whole(), G6._replace(csum_start=48)),
    (P6.but(extensions=((DESTINATION, bytes(254)),)).whole(), G6._replace(csum_start=296)),  # too far in
    (patched(SHAPES["tcp6 behind extension headers"].whole(), 41, b"\xff"), G6._replace(csum_start=64)),
    (Packet().whole()[:20].replace(b"\x00\x28", b"\x00\x14"), G4),  # no room for TCP at all
    # without GSO: where the checksum is said to be
    *((P4.whole(), Header(NEEDS_CSUM, 0, 0, 0, at, 16)) for at in (0, 19, len(P4.whole()) - 17, 65535)),
    (P4.whole(), Header(NEEDS_CSUM, 0, 0, 0, 20, 65535)),
    (P4.whole() + bytes(40), Header(NEEDS_CSUM, 0, 0, 0, len(P4.whole()), 16)),
])  # fmt: skip
def test_headers_that_make_no_sense_are_refused(data, header):
    assert split(data, header) == -errno.EINVAL


@given(
    shape=st.sampled_from(sorted(SHAPES)),
    length=st.integers(0, 4000),
    gso_size=st.integers(1, 3000),
    flags=st.integers(0, 255),
    sequence=st.integers(0, 2**32 - 1),
    ident=st.integers(0, 65535),
)
def test_race_with_packets_built_one_by_one(shape, length, gso_size, flags, sequence, ident):
    packet = SHAPES[shape].but(payload=BODY[:length], sequence=sequence, ident=ident, flags=flags)
    got = split(packet.whole(), header_of(packet, gso_size))
    if length == 0:
        assert got == [packet.build()]
        return
    assert len(got) == -(-length // gso_size)
    for segment, part in zip(got, cut(packet, gso_size), strict=True):
        expected = part.build()
        if segment != expected:  # a lone TCP packet may spell zero as 0xFFFF
            at = part.transport_at + 16
            assert len(got) == 1
            assert segment == patched(expected, at, b"\xff\xff")
            assert expected[at : at + 2] == b"\0\0"


@given(
    data=st.binary(max_size=200),
    start=st.sampled_from([b"", b"\x45", b"\x46\0\0\x40", b"\x60", b"\x45\0\0\x60\0\0\x40\0\x40\x06"]),
    header=st.tuples(
        st.integers(0, 3), st.sampled_from([0, 1, 4, 5, 0x81, 9]), st.integers(0, 65535), st.integers(0, 100),
        st.sampled_from([0, 20, 24, 40, 48, 60, 100]), st.sampled_from([0, 6, 16]),
    ),
)  # fmt: skip
def test_noise_neither_crashes_nor_writes_outside(data, start, header):
    split(start + data, Header(*header))
