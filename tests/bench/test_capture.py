"""Reading pcap by hand: sums by direction, and what must not be summed."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest

from bench.capture import Totals, packets, totals
from bench.process import LabError


def pcap(records: list[bytes], link: int = 101, magic: int = 0xA1B2C3D4) -> bytes:
    head = struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 96, link)
    # The original length is made different on purpose: only the IP header's own length may count.
    return head + b"".join(struct.pack("<IIII", 0, 0, len(r), len(r) + 14) + r for r in records)


def ipv4(source: str, destination: str, total: int) -> bytes:
    head = bytes([0x45, 0]) + struct.pack("!H", total) + bytes(5) + b"\x06" + bytes(2)
    return head + IPv4Address(source).packed + IPv4Address(destination).packed


def ipv6(payload: int) -> bytes:
    return (
        b"\x60\x00\x00\x00"
        + struct.pack("!H", payload)
        + b"\x11\x40"
        + bytes(15)
        + b"\x01"
        + bytes(15)
        + b"\x02"
    )


def test_sums_by_direction():
    file = pcap(
        [
            ipv4("10.1.0.2", "192.0.2.1", 100),
            ipv4("192.0.2.1", "10.1.0.2", 1420),
            ipv4("10.1.0.3", "192.0.2.1", 7),
        ]
    )
    assert totals(file, "10.1.0.2") == Totals(1420, 100, 1, 1)


def test_ethernet_frames_and_what_is_not_ip():
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    frame = bytes(12) + b"\x08\x00" + ipv4("10.1.0.2", "192.0.2.1", 60)
    assert totals(pcap([arp, frame], link=1), "10.1.0.2") == Totals(0, 60, 0, 1)


def test_ipv6_length_includes_its_header():
    assert [p.total_bytes for p in packets(pcap([ipv6(60)]))] == [100]
    assert totals(pcap([ipv6(60)]), "::2") == Totals(100, 0, 1, 0)


def test_records_cut_inside_the_header_are_passed_over():
    assert list(packets(pcap([b"", b"\x45", ipv6(1)[:39]]))) == []


@pytest.mark.parametrize("file", [pcap([], magic=0x0A0D0D0A), pcap([], link=113)])
def test_other_files_are_refused(file):
    with pytest.raises(LabError):
        list(packets(file))
