"""The words in which Python and the pump speak: flags, endpoints, datagrams, views and counters.

Everything here mirrors crypto_ext/api.h; a test compares each number with what the C compiler says. It
imports nothing compiled, so that it can be read (and the extension be built) before there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

UNLIMITED = 2**64 - 1
"""The content of a purse that never runs dry."""

DROPS = (
    "malformed",
    "mac1",
    "ring_full",
    "unknown_index",
    "expired",
    "forged",
    "replay",
    "inner_malformed",
    "source",
    "purse",
    "no_peer",
    "no_endpoint",
    "tun_malformed",
    "staged_full",
    "staged_lost",
    "udp_send",
    "tun_write",
    "truncated",
)
"""Why a packet was dropped, in the order of `enum sp_drop`."""


class Offload(IntFlag):
    """What the descriptors given to the pump can do."""

    VNET_HDR = 1
    JOIN_TCP = 2
    JOIN_UDP = 4
    UDP_GSO = 8


class Notice(IntFlag):
    """What the kernel refused and the pump now does without."""

    UDP_GSO = 1
    UDP_GSO_PATH = 2
    TUN_TCP = 4
    TUN_UDP = 8
    SOURCE = 16


class Event(IntFlag):
    """What happened to the pump as a whole."""

    COUNTED = 1
    NOTICE = 2
    PONG = 4


class Pending(IntFlag):
    """What a peer waits for."""

    KEY = 1
    CONFIRMED = 2
    PURSE = 4


class End(IntEnum):
    """How the pump's loop ended."""

    STOPPED = 0
    TUN_GONE = 1
    UDP_GONE = 2


class Endpoint(NamedTuple):
    """An address and a port of the outer network."""

    host: IPv4Address | IPv6Address
    port: int
    scope_id: int = 0


@dataclass(frozen=True, slots=True)
class Datagram:
    """A handshake message that passed the gate: right length, and mac1 made with gate key `mac1_key`."""

    source: Endpoint
    data: bytes
    mac1_key: int
    raw: object = field(repr=False, compare=False)  # struct sp_datagram, for Pump.handshake_in


@dataclass(frozen=True, slots=True)
class PeerView:
    """One peer at one instant. Times are CLOCK_BOOTTIME nanoseconds, 0 for never or none."""

    endpoint: Endpoint | None
    tx_bytes: int
    rx_bytes: int
    handshake_wall_ns: int
    seen_ns: int
    keepalive_at_ns: int
    unanswered_at_ns: int
    persistent_at_ns: int
    current_created_ns: int
    send_counter: int
    current_index: int
    previous_index: int
    next_index: int
    staged: int
    persistent_seconds: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters of the pump since it was made."""

    drops: dict[str, int]
    udp_datagrams_in: int
    udp_datagrams_out: int
    udp_receives: int
    udp_sends: int
    tun_reads: int
    tun_writes: int
    tun_packets_in: int
    tun_packets_out: int
    handshakes_up: int
    turns: int
    sleeps: int
    notices: Notice
