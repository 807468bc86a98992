"""Endpoints and prefixes between Python's objects and `struct sp_endpoint`."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from crypto_ext._native import ffi
from crypto_ext.words import Endpoint


def to_c(endpoint: Endpoint | None) -> Any:
    """A new `struct sp_endpoint`; None becomes family 0."""
    raw = ffi.new("struct sp_endpoint *")
    if endpoint is not None:
        raw.family = endpoint.host.version
        raw.port = endpoint.port
        raw.scope_id = endpoint.scope_id
        ffi.memmove(raw.addr, endpoint.host.packed, len(endpoint.host.packed))
    return raw


def from_c(raw: Any) -> Endpoint | None:
    """The endpoint in a `struct sp_endpoint`, None for family 0."""
    if raw.family == 0:
        return None
    return Endpoint(host_of(raw.family, bytes(ffi.buffer(raw.addr))), raw.port, raw.scope_id)


def host_of(family: int, addr: bytes) -> IPv4Address | IPv6Address:
    """The address in the first bytes of `addr`."""
    return ip_address(addr[:4] if family == 4 else addr[:16])
