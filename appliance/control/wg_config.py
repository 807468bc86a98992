"""The WireGuard configuration that a client gets: the text that `wg-quick` and `wg setconf` read.

The order of the lines is part of the interface. `PrivateKey` stands there only when we made the key, and then
this text is the only place where it ever is.
"""

from __future__ import annotations

import base64
from ipaddress import IPv4Address

from appliance.control.ports import NodeFacts
from appliance.core.ula import address_in

_KEEPALIVE_SECONDS = 25  # keeps NAT mappings open, and an unused tunnel from looking abandoned


def render(facts: NodeFacts, address: IPv4Address, private_key: bytes | None) -> str:
    """The configuration of one session."""
    lines = ["[Interface]"]
    if private_key is not None:
        lines.append(f"PrivateKey = {base64.b64encode(private_key).decode('ascii')}")
    addresses, everything = [f"{address}/{facts.pool.prefixlen}"], ["0.0.0.0/0"]
    if facts.prefix_v6 is not None:
        addresses.append(f"{address_in(facts.prefix_v6, address)}/128")
        everything.append("::/0")
    lines.append(f"Address = {', '.join(addresses)}")
    if facts.client_mtu is not None:
        lines.append(f"MTU = {facts.client_mtu}")
    if facts.dns:
        lines.append(f"DNS = {', '.join(facts.dns)}")
    lines += [
        "[Peer]",
        f"PublicKey = {base64.b64encode(facts.public_key).decode('ascii')}",
        f"AllowedIPs = {', '.join(everything)}",
        f"Endpoint = {facts.endpoint}",
        f"PersistentKeepalive = {_KEEPALIVE_SECONDS}",
    ]
    return "\n".join(lines) + "\n"
