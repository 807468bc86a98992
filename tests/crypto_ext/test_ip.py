"""ip.c: what is taken for an IP packet, and that nothing else is."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext import leaf
from tests.crypto_ext.packets import UDP, V6, Packet

P4 = Packet(payload=b"x" * 10).build()
P6 = Packet(payload=b"x" * 10, **V6).build()


def parse(data: bytes):
    """(family, header_len, total_len, protocol, source, destination), or the errno."""
    ffi, lib = leaf.load()
    memory = ffi.cast("uint8_t *", ffi.from_buffer(data))
    view = ffi.new("struct sp_ip *")
    answer = lib.sp_ip_parse_untrusted(view, memory, len(data))
    if answer:
        return answer
    size = 4 if view.family == 4 else 16
    at, to = view.source - memory, view.destination - memory
    addresses = data[at : at + size], data[to : to + size]
    return view.family, view.header_len, view.total_len, view.protocol, *addresses


@pytest.mark.parametrize("trailing", [0, 1, 15])
@pytest.mark.parametrize("packet", [
    Packet(payload=b"hello"), Packet(protocol=UDP), Packet(payload=b"a", ip_options=bytes(4)),
    Packet(ip_options=bytes(40)), Packet(payload=b"hello", **V6), Packet(protocol=UDP, **V6),
])  # fmt: skip
def test_right_packets_with_and_without_padding(packet, trailing):
    data = packet.build()
    header_len = 40 if packet.family == 6 else 20 + len(packet.ip_options)
    expected = (packet.family, header_len, len(data), packet.protocol, packet.source, packet.destination)
    assert parse(data + bytes(trailing)) == expected


def with_byte(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


@pytest.mark.parametrize("data", [
    b"", b"\x45", b"\x60", P4[:19], P6[:39],
    *(with_byte(P4, 0, version << 4 | 5) for version in range(16) if version not in (4, 6)),
    *(with_byte(P4, 0, 0x40 | ihl) for ihl in (0, 1, 4)),  # shorter than any header
    with_byte(P4, 0, 0x4F),  # header of 60 bytes in a packet of 50
    with_byte(P4, 3, 19), with_byte(P4, 3, 0),  # total length below the header's
    with_byte(P4, 3, len(P4) + 1), with_byte(P4, 2, 255),  # and beyond what is there
    P4[:-1], P6[:-1], with_byte(P6, 5, len(P6) - 40 + 1), with_byte(P6, 4, 255),
])  # fmt: skip
def test_everything_else_is_refused(data):
    assert parse(data) == -errno.EINVAL


def test_an_ipv6_packet_may_be_its_header_alone():
    assert parse(with_byte(P6, 5, 0))[:3] == (6, 40, 40)


@given(st.binary(max_size=80), st.sampled_from([0x45, 0x46, 0x4F, 0x60, 0x6F]))
def test_what_is_accepted_lies_within_the_bytes(rest, first):
    data = bytes([first]) + rest
    answer = parse(data)
    if answer == -errno.EINVAL:
        return
    family, header_len, total_len, *_ = answer
    assert family == first >> 4
    assert (20 if family == 4 else 40) <= header_len <= total_len <= len(data)
