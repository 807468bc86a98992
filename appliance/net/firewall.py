"""Does the host's own firewall drop what clients send? Then say which command allows it.

Who calls it: `exit.py`, after the network is made. Docker, ufw and firewalld let nothing be forwarded that
they do not know, and rules of ours cannot overrule them: a packet must pass every table. Changing rules that
are not our own is out of the question, so the operator gets the one command, once per start.

Found are base chains of the forward hook whose policy is `drop`, and firewalld, which ends its chain with a
reject. A table that names the tunnel in any rule is taken to know it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from appliance.core.exitplan import Table
from appliance.errors import UserError
from appliance.net import nftables


@dataclass(frozen=True)
class Obstacle:
    """What drops forwarded packets, and the command that makes an exception for the tunnel."""

    what: str
    command: str


def find_obstacles(interface: str, own: Table, *, ipv6: bool = False) -> list[Obstacle]:
    """What stands in the way on this host, of clients' IPv4 and, with `ipv6`, their IPv6; nothing when that
    cannot be told."""
    try:
        ruleset = nftables.list_ruleset()
    except UserError:
        return []
    return obstacles(ruleset, interface, own.name, ipv6=ipv6)


def obstacles(ruleset: object, interface: str, own: str, *, ipv6: bool = False) -> list[Obstacle]:
    """The same from nft's JSON. Of several chains of one table the first is named."""
    tables: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for kind, item in _items(ruleset):
        if kind in ("chain", "rule"):
            tables.setdefault((item["family"], item["table"]), []).append(item)
    found = []
    for (family, table), items in tables.items():
        if (
            table == own
            or family not in ("ip", "inet", *(["ip6"] if ipv6 else []))
            or _names(items, interface)
        ):
            continue
        chains = [item for item in items if "expr" not in item]
        blocking = next((chain for chain in chains if _blocks(chain, table)), None)
        if blocking is not None:
            found.append(_describe(family, table, blocking["name"], chains, interface))
    return found


def _items(ruleset: object) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(ruleset, dict):
        for entry in ruleset.get("nftables", ()):
            yield from entry.items()


def _names(items: list[dict[str, Any]], interface: str) -> bool:
    return any(json.dumps(interface) in json.dumps(item.get("expr", ())) for item in items)


def _blocks(chain: dict[str, Any], table: str) -> bool:
    if chain.get("hook") != "forward" or chain.get("type") != "filter":
        return False
    return chain.get("policy") == "drop" or table == "firewalld"


def _describe(family: str, table: str, chain: str, chains: list[dict[str, Any]], interface: str) -> Obstacle:
    names = {one["name"] for one in chains}
    if table == "firewalld":
        command = f"firewall-cmd --zone=trusted --add-interface={interface}"
        return Obstacle("firewalld rejects what clients send", command)
    if "DOCKER-USER" in names:
        return Obstacle(
            "Docker's firewall drops what clients send", _iptables(family, "DOCKER-USER", interface)
        )
    if names & {"ufw-user-forward", "ufw6-user-forward"}:
        command = f"ufw route allow in on {interface} && ufw route allow out on {interface}"
        return Obstacle("ufw drops what clients send", command)
    if family != "inet" and (table, chain) == ("filter", "FORWARD"):
        return Obstacle(
            "the host's firewall drops what clients send", _iptables(family, "FORWARD", interface)
        )
    rules = "; ".join(
        f"insert rule {family} {table} {chain} {direction} {interface} accept"
        for direction in ("iifname", "oifname")
    )
    return Obstacle(f"the nftables table {table} drops what clients send", f"nft '{rules}'")


def _iptables(family: str, chain: str, interface: str) -> str:
    program = "iptables" if family == "ip" else "ip6tables"
    return " && ".join(f"{program} -I {chain} {option} {interface} -j ACCEPT" for option in ("-i", "-o"))
