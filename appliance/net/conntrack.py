"""Forget the connections of a client address, so that its next user inherits none.

Who calls it: `exit.py`, for `control`, whenever a session ends. Entries whose *original* source is the
address are found by a dump that the kernel filters (>= 5.8; on older ones we filter) and deleted one by
one, each by its tuple and id, so that a connection that took its place meanwhile stays. Deleting while
the peer is installed would be in vain: the next packet makes the entry anew.

A kernel or container without connection tracking over netlink cannot do it. That is said once and is no
failure: the session has ended all the same, and what stays is an entry that ages.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
from ipaddress import ip_address
from typing import Final

from appliance.core.exitplan import Address
from appliance.log import event
from appliance.net.netlink import NETLINK_NETFILTER, Message, Netlink, attribute, attributes

_log = logging.getLogger("sallyport.conntrack")

_SUBSYSTEM: Final = 1 << 8  # NFNL_SUBSYS_CTNETLINK
_GET: Final = _SUBSYSTEM | 1
_DELETE: Final = _SUBSYSTEM | 2
_CTA_TUPLE_ORIG: Final = 1
_CTA_ID: Final = 12
_CTA_ZONE: Final = 18
_CTA_FILTER: Final = 25
_CTA_TUPLE_IP: Final = 1
_CTA_IP_V4_SRC: Final = 1
_CTA_IP_V6_SRC: Final = 3
_CTA_FILTER_ORIG_FLAGS: Final = 1
_FILTER_IP_SRC: Final = 1
_NESTED: Final = 0x8000

_SOURCE: Final = {4: _CTA_IP_V4_SRC, 6: _CTA_IP_V6_SRC}

# By IP version.
_NFGENMSG: Final = {
    4: struct.pack(">BBH", socket.AF_INET, 0, 0),
    6: struct.pack(">BBH", socket.AF_INET6, 0, 0),
}
_NFGENMSG_BYTES: Final = 4

# What a kernel says that has connection tracking but not this filter.
_NO_FILTER: Final = (errno.EINVAL, errno.EOPNOTSUPP)

_said: set[str] = set()


def forget(address: Address) -> int:
    """Delete the entries of this client address; returns how many. Blocks for the time of one dump."""
    try:
        with Netlink(NETLINK_NETFILTER) as netlink:
            entries = [entry for entry in _entries(netlink, address) if _source(entry) == address]
            return sum(_delete(netlink, entry, address.version) for entry in entries)
    except OSError as refusal:
        _say_once(refusal)
        return 0


def _entries(netlink: Netlink, address: Address) -> list[dict[int, bytes]]:
    source = attribute(_CTA_TUPLE_IP | _NESTED, attribute(_SOURCE[address.version], address.packed))
    wanted = attribute(_CTA_FILTER_ORIG_FLAGS, struct.pack("=I", _FILTER_IP_SRC))
    body = attribute(_CTA_TUPLE_ORIG | _NESTED, source) + attribute(_CTA_FILTER | _NESTED, wanted)
    try:
        # The kernel's filter compares IPv6 addresses the wrong way round: it gives all but the wanted.
        wanted_only = body if address.version == 4 else b""
        messages = netlink.dump(_GET, _NFGENMSG[address.version] + wanted_only)
    except OSError as refusal:
        if refusal.errno not in _NO_FILTER:
            raise
        messages = netlink.dump(_GET, _NFGENMSG[address.version])
    # Where the kernel did not filter, the table is everybody's: taking every entry apart would take seconds.
    return [_parse(message) for message in messages if address.packed in message.body]


def _parse(message: Message) -> dict[int, bytes]:
    return attributes(message.body[_NFGENMSG_BYTES:])


def _source(entry: dict[int, bytes]) -> Address | None:
    """The original source; the kernel's filter is not relied upon, since old ones ignore it."""
    addresses = attributes(attributes(entry.get(_CTA_TUPLE_ORIG, b"")).get(_CTA_TUPLE_IP, b""))
    packed = addresses.get(_CTA_IP_V4_SRC) or addresses.get(_CTA_IP_V6_SRC)
    return None if packed is None else ip_address(packed)


def _delete(netlink: Netlink, entry: dict[int, bytes], version: int) -> int:
    body = attribute(_CTA_TUPLE_ORIG | _NESTED, entry[_CTA_TUPLE_ORIG])
    for kind in (_CTA_ID, _CTA_ZONE):
        if kind in entry:
            body += attribute(kind, entry[kind])
    try:
        netlink.change(_DELETE, _NFGENMSG[version] + body)
    except OSError as refusal:
        if refusal.errno == errno.ENOENT:
            return 0  # ended by itself since the dump
        raise
    return 1


def _say_once(refusal: OSError) -> None:
    why = refusal.strerror or str(refusal)
    if why not in _said:
        _said.add(why)
        event(
            _log,
            logging.WARNING,
            "connection tracking cannot be reached: entries are left to age",
            reason=why,
        )
