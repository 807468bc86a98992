"""What the configuration can say about the session API's listener: the readers of those keys.

`config.py` names the keys and calls these. Each turns the value of a file or of an option into ours, or
raises ValueError with what it must be; a list on the command line is written with commas.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path


def read_pem_file(value: object) -> Path:
    """Where a PEM file is; what is in it is judged when it is used."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("the path of a PEM file")
    return Path(os.path.abspath(value))


def read_trusted_proxies(value: object) -> tuple[IPv4Network | IPv6Network, ...]:
    """Networks, each written as a prefix or as one address; in the order given."""
    problem = "a list of addresses and prefixes without host bits, but not of everybody"
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError(problem)
    try:
        networks = tuple(ip_network(item.strip()) for item in items)
    except ValueError:
        raise ValueError(problem) from None
    if not all(network.prefixlen for network in networks):
        raise ValueError(problem)
    return networks


def check_pair(certificate: Path | None, key: Path | None) -> str | None:
    """Why the two cannot be used together; None when they can."""
    if (certificate is None) == (key is None):
        return None
    missing = "tls_key" if key is None else "tls_certificate"
    return f"tls_certificate and tls_key go together: {missing} is missing"
