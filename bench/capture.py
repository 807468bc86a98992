"""Captures inside a tunnel, counted exactly: the yardstick for billed bytes.

tcpdump writes pcap into memory; we read it ourselves and add up the *inner IP total lengths* by direction,
which is what an exit bills. A capture that lost packets is an error, never a smaller number. On a TUN
with segmentation offload one record may be a whole superpacket, so count where offloads are off.
"""

from __future__ import annotations

import signal
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Self

from bench.lab import Host
from bench.process import LabError, wait_for

MAGIC = 0xA1B2C3D4  # microsecond stamps
RECORD_HEADER = struct.Struct("<IIII")  # seconds, microseconds, captured length, original length
RAW_IP = (12, 101)  # link types without a link header
ETHERNET = 1
ETHERNET_HEADER_BYTES = 14
SNAP_BYTES = 96  # enough for link and IP headers
SETTLE_SECONDS = 0.2  # how long tcpdump is silent when it has written all that it was given


@dataclass(frozen=True)
class Totals:
    """Sums over the captured packets of one inner address."""

    to_bytes: int = 0
    from_bytes: int = 0
    to_packets: int = 0
    from_packets: int = 0


@dataclass(frozen=True)
class Packet:
    """The IP facts of one captured packet. `total_bytes` is what its own header says."""

    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    total_bytes: int
    protocol: int


def packets(pcap: bytes) -> Iterator[Packet]:
    """The IP packets of a pcap file; frames that are not IP are passed over."""
    magic, _, _, _, _, _, link = struct.unpack_from("<IHHiIII", pcap)
    if magic != MAGIC:
        raise LabError(f"not a pcap file: magic {magic:#x}")
    if link not in (*RAW_IP, ETHERNET):
        raise LabError(f"pcap link type {link} is not known here")
    at = 24
    while at < len(pcap):
        _, _, captured, _ = RECORD_HEADER.unpack_from(pcap, at)
        at += RECORD_HEADER.size
        record = pcap[at : at + captured]
        at += captured
        packet = _ip(record if link in RAW_IP else record[ETHERNET_HEADER_BYTES:])
        if packet is not None:
            yield packet


def _ip(data: bytes) -> Packet | None:
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20:
        (total,) = struct.unpack_from("!H", data, 2)
        return Packet(IPv4Address(data[12:16]), IPv4Address(data[16:20]), total, data[9])
    if version == 6 and len(data) >= 40:
        (payload,) = struct.unpack_from("!H", data, 4)
        return Packet(IPv6Address(data[8:24]), IPv6Address(data[24:40]), 40 + payload, data[6])
    return None


def totals(pcap: bytes, address: str) -> Totals:
    """Bytes and packets to and from one inner address."""
    wanted = ip_address(address)
    to = [p.total_bytes for p in packets(pcap) if p.destination == wanted]
    from_ = [p.total_bytes for p in packets(pcap) if p.source == wanted]
    return Totals(sum(to), sum(from_), len(to), len(from_))


class Capture:
    """tcpdump on one interface of a host, from construction to `stop()`."""

    def __init__(self, host: Host, interface: str, expression: str = "") -> None:
        # 64 MiB of ring and the headers alone: at what the tests send nothing is lost.
        options = f"-n -p -U --immediate-mode -s {SNAP_BYTES} -B 65536 -w -".split()
        self._process = host.start("tcpdump", "-i", interface, *options, *expression.split())
        wait_for(self._listening, f"tcpdump listens on {interface}")

    def _listening(self) -> bool:
        if self._process.poll() is not None:
            raise LabError(f"tcpdump ended: {self._process.stderr.strip()}")
        return "listening on" in self._process.stderr

    def stop(self) -> bytes:
        """The pcap file so far; LabError when the kernel could not keep up. Traffic has ended before."""
        size = -1
        while size != len(self._process.stdout_bytes):
            size = len(self._process.stdout_bytes)
            time.sleep(SETTLE_SECONDS)
        self._process.stop(signal.SIGINT)
        if "\n0 packets dropped by kernel" not in self._process.stderr:
            raise LabError(f"the capture lost packets: {self._process.stderr.strip()}")
        return self._process.stdout_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
