"""What becomes of clients' IPv6 on this host: whether it has a way out, and what that takes.

Who calls it: `exit.py`, in its check. Nothing is changed here. With `auto` the host decides: its IPv6 is used
when it has a default route and an address of the internet, and when making it forward harms nobody. In every
other case the answer is "no way out", and then the plan rejects clients' IPv6 at once; they are told the same
addresses either way, so the next start may decide otherwise. Who asks for translation or for a prefix by name
gets an error instead where it could be made to work and something stands in the way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Network
from typing import Final

from appliance.core.exitplan import Ipv6Mode, is_private
from appliance.errors import InUseError, PrivilegeError
from appliance.net.egress import addresses_v6, find_egress_v6
from appliance.net.forwarding import Forwarding
from appliance.net.forwarding6 import ALL, Forwarding6, ipv6_forwarding

NO_WAY_OUT: Final = "the host has no way out for IPv6"


@dataclass(frozen=True)
class WayOut:
    """`egress` None: none, and `why`. `needs` are the settings that forwarding takes."""

    egress: str | None = None
    needs: Forwarding6 = field(default_factory=lambda: Forwarding6({}))
    why: str = ""


def find_way_out(
    asked: Ipv6Mode | IPv6Network,
    *,
    tunnel: str,
    table: str,
    egress: str | None,
    lans: Iterable[str],
    forwarding: Forwarding,
) -> WayOut:
    """The way out for clients of the interface `tunnel`. `egress` is the operator's word, None without one;
    by `lans` more answers come; `table` is the exit's name among those that share settings."""
    if asked in ("off", "reject"):
        return WayOut()
    name = find_egress_v6(egress)
    if name is None or not _has_addresses(asked, tunnel):
        return WayOut(why=NO_WAY_OUT)
    try:
        if forwarding.others_hold(ALL, table):
            raise InUseError(
                "another exit of this host forwards IPv6, and on this kernel only one can: "
                "set ipv6 = reject here"
            )
        saved = forwarding.saved()
        wrote = {} if saved is None else saved.wrote
        ways = dict.fromkeys((name, *lans))
        needs = ipv6_forwarding(forwarding.proc, tunnel, ways, wrote)
        forwarding.check_writable(needs.settings)
    except (InUseError, PrivilegeError) as refusal:
        if asked != "auto":
            raise
        return WayOut(why=str(refusal))
    return WayOut(name, needs)


def _has_addresses(asked: Ipv6Mode | IPv6Network, tunnel: str) -> bool:
    """Whether there is an address to translate to. A private one may be translated once more further on:
    whoever asks for translation by name knows. Clients with addresses of their own need none."""
    if isinstance(asked, IPv6Network):
        return True
    return any(asked == "nat" or not is_private(one.address) for one in addresses_v6(tunnel))
