"""The words of the WireGuard configuration protocol ("UAPI"): text in, changes out; state in, text out.

`wg`, `wg-quick` and everything built on them speak this over a UNIX stream socket: lines `key=value`,
a blank line at the end of each request, and an answer that ends in `errno=N` and a blank line
(https://www.wireguard.com/xplatform/). A request is read whole before anything of it is applied, so an
error in the middle changes nothing. Called by `appliance/uapi.py`, which owns the sockets.

Two sign rules that `wg` enforces: errno in the answer to a set is negative, in the answer to a get it
is not.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

KEY_BYTES = 32
ZERO_KEY = bytes(KEY_BYTES)

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class UapiError(Exception):
    """A request that cannot be carried out; `errno` is positive, the answer negates it."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.errno = number


@dataclass(frozen=True, slots=True)
class AllowedIpChange:
    """One step in a peer's allowed-ips: forget all, add one prefix, or remove one."""

    kind: Literal["replace", "add", "remove"]
    network: Network | None = None


@dataclass(slots=True)
class PeerChange:
    """All that one `public_key=` block of a set asks for; None means untouched."""

    public_key: bytes
    remove: bool = False
    update_only: bool = False
    preshared_key: bytes | None = None
    endpoint: tuple[Address, int] | None = None
    keepalive_seconds: int | None = None
    allowed_ips: list[AllowedIpChange] = field(default_factory=list)


@dataclass
class DeviceChange:
    """A whole set request. `private_key` of 32 zero bytes removes the key; 0 removes a mark."""

    private_key: bytes | None = None
    listen_port: int | None = None
    fwmark: int | None = None
    replace_peers: bool = False
    peers: list[PeerChange] = field(default_factory=list)


@dataclass(frozen=True)
class PeerState:
    """One peer as a get shows it; endpoint is already text, times are wall-clock nanoseconds."""

    public_key: bytes
    preshared_key: bytes
    endpoint: str | None
    handshake_wall_ns: int
    tx_bytes: int
    rx_bytes: int
    keepalive_seconds: int
    allowed_ips: tuple[Network, ...]


@dataclass(frozen=True)
class DeviceState:
    """The interface as a get shows it."""

    private_key: bytes | None
    listen_port: int
    fwmark: int


def parse_set_untrusted(lines: Iterable[str]) -> DeviceChange:
    """The change that the lines after `set=1` ask for. Raises only `UapiError`."""
    change = DeviceChange()
    peer: PeerChange | None = None
    for line in lines:
        key, separator, value = line.partition("=")
        if not separator:
            raise UapiError(errno.EPROTO, "a line without '='")
        if key == "public_key":
            peer = PeerChange(_key(key, value))
            change.peers.append(peer)
        elif peer is None:
            _device_key(change, key, value)
        else:
            _peer_key(peer, key, value)
    return change


def _device_key(change: DeviceChange, key: str, value: str) -> None:
    if key == "private_key":
        change.private_key = _key(key, value)
    elif key == "listen_port":
        change.listen_port = _number(key, value, 0xFFFF)
    elif key == "fwmark":
        change.fwmark = _number(key, value, 0xFFFFFFFF)
    elif key == "replace_peers":
        _must_be_true(key, value)
        change.replace_peers = True
        change.peers.clear()
    else:
        raise UapiError(errno.EINVAL, f"unknown key {key!r}")


def _peer_key(peer: PeerChange, key: str, value: str) -> None:
    if key == "remove":
        _must_be_true(key, value)
        peer.remove = True
    elif key == "update_only":
        _must_be_true(key, value)
        peer.update_only = True
    elif key == "preshared_key":
        peer.preshared_key = _key(key, value)
    elif key == "endpoint":
        peer.endpoint = parse_endpoint_untrusted(value)
    elif key == "persistent_keepalive_interval":
        peer.keepalive_seconds = _number(key, value, 0xFFFF)
    elif key == "replace_allowed_ips":
        _must_be_true(key, value)
        peer.allowed_ips.append(AllowedIpChange("replace"))
    elif key == "allowed_ip":
        peer.allowed_ips.append(_allowed_ip(value))
    elif key == "protocol_version":
        if value != "1":
            raise UapiError(errno.EINVAL, "protocol_version is not 1")
    else:
        raise UapiError(errno.EINVAL, f"unknown key {key!r}")


def _allowed_ip(value: str) -> AllowedIpChange:
    text = value.removeprefix("-")
    if "/" not in text:
        raise UapiError(errno.EINVAL, "allowed_ip without a prefix length")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise UapiError(errno.EINVAL, "allowed_ip is no prefix") from None
    return AllowedIpChange("remove" if value.startswith("-") else "add", network)


def parse_endpoint_untrusted(value: str) -> tuple[Address, int]:
    """`1.2.3.4:5`, `[v6]:5` or `[fe80::1%zone]:5`; names are resolved by the tools, not here."""
    host, separator, port = value.rpartition(":")
    if not separator:
        raise UapiError(errno.EINVAL, "endpoint without a port")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise UapiError(errno.EINVAL, "endpoint is no address") from None
    if bracketed != isinstance(address, IPv6Address):
        raise UapiError(errno.EINVAL, "an IPv6 endpoint stands in brackets, an IPv4 one does not")
    return address, _number("endpoint", port, 0xFFFF)


def _key(name: str, value: str) -> bytes:
    # bytes.fromhex forgives white space; the protocol does not.
    if len(value) != 2 * KEY_BYTES or not all(c in "0123456789abcdefABCDEF" for c in value):
        raise UapiError(errno.EINVAL, f"{name} is not 64 hexadecimal digits")
    return bytes.fromhex(value)


def _number(name: str, value: str, greatest: int) -> int:
    base = 16 if value[:2] in {"0x", "0X"} else 10
    digits = value[2:] if base == 16 else value
    allowed = "0123456789abcdefABCDEF" if base == 16 else "0123456789"
    if not digits or len(digits) > 10 or not all(c in allowed for c in digits):
        raise UapiError(errno.EINVAL, f"{name} is not a number")
    number = int(digits, base)
    if number > greatest:
        raise UapiError(errno.EINVAL, f"{name} is greater than {greatest}")
    return number


def _must_be_true(name: str, value: str) -> None:
    if value != "true":
        raise UapiError(errno.EINVAL, f"{name} takes only the word true")


def format_endpoint(host: Address, port: int, zone: str = "") -> str:
    """HOST:PORT, IPv6 in brackets and with its zone when it has one."""
    if isinstance(host, IPv6Address):
        return f"[{host}{'%' + zone if zone else ''}]:{port}"
    return f"{host}:{port}"


def format_get(device: DeviceState, peers: Iterable[PeerState]) -> Iterator[str]:
    """The answer to `get=1`, in pieces of one peer each, `errno=0` and the blank line included."""
    head = []
    if device.private_key is not None:
        head.append(f"private_key={device.private_key.hex()}\n")
    if device.listen_port:
        head.append(f"listen_port={device.listen_port}\n")
    if device.fwmark:
        head.append(f"fwmark={device.fwmark}\n")
    yield "".join(head)
    for peer in peers:
        seconds, nanoseconds = divmod(peer.handshake_wall_ns, 1_000_000_000)
        lines = [
            f"public_key={peer.public_key.hex()}\n",
            f"preshared_key={peer.preshared_key.hex()}\n",
            "protocol_version=1\n",
        ]
        if peer.endpoint is not None:
            lines.append(f"endpoint={peer.endpoint}\n")
        lines += [
            f"last_handshake_time_sec={seconds}\n",
            f"last_handshake_time_nsec={nanoseconds}\n",
            f"tx_bytes={peer.tx_bytes}\n",
            f"rx_bytes={peer.rx_bytes}\n",
            f"persistent_keepalive_interval={peer.keepalive_seconds}\n",
        ]
        lines += [f"allowed_ip={network}\n" for network in peer.allowed_ips]
        yield "".join(lines)
    yield "errno=0\n\n"
