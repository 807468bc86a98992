"""IPv6 inside the tunnel: one /64 of unique local addresses (RFC 4193), one address for each client.

Both are computed, so there is nothing to keep: the prefix follows from the address pool, a client's
address from its IPv4 lease (its last 32 bits; a routed prefix that takes the /64's place has room for them
when it is a /96 or shorter). The same pool gives the same prefix on every exit, as it
gives the same IPv4 addresses; the addresses never leave the tunnel. Pure; `net/exit.py` numbers the
interface with it, `control/wg_config.py` tells clients, `device/sessions.py` lets them use it.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

_LOCALLY_ASSIGNED: Final = b"\xfd"
_GLOBAL_ID_BYTES: Final = 5

# The longest prefix in which every IPv4 lease has an address.
LONGEST_PREFIX: Final = 96


def tunnel_prefix(pool: IPv4Network) -> IPv6Network:
    """The /64 that belongs to an address pool."""
    digest = hashlib.sha256(b"sallyport tunnel " + str(pool).encode()).digest()
    packed = _LOCALLY_ASSIGNED + digest[:_GLOBAL_ID_BYTES]
    return IPv6Network((packed + bytes(16 - len(packed)), 64))


def address_in(prefix: IPv6Network, address: IPv4Address) -> IPv6Address:
    """The IPv6 address of whoever has this IPv4 address in the tunnel."""
    return prefix.network_address + int(address)
