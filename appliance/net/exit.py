"""The exit's share of the host's network, in three phases: check, create, undo.

Who calls it: `main.py`. `check` answers everything that can be answered without changing anything, so a
start that cannot succeed leaves no trace. Then the caller opens the TUN, which is the one thing that can
only be tried (two starts at once: the kernel lets one win), and `create` does the rest. `undo` puts
everything back; it goes on past a step that fails and says at the end which was the first.

After a crash nothing of this has run: the interface is gone with its process, table and settings stand.
The next `create` replaces the table in one transaction and keeps the values saved before the crash.

All three block for some ten milliseconds: call them through `trio.to_thread.run_sync`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

import trio

from appliance.core.exitplan import (
    TABLE_FAMILY,
    Address,
    ExitPlan,
    Policy,
    forwarding_sysctl,
    table_interface,
    table_name,
)
from appliance.core.ifnames import PLAIN_FORM, is_plain
from appliance.core.ula import address_in
from appliance.errors import InUseError, UsageError
from appliance.log import event
from appliance.net import conntrack, firewall, links, nftables
from appliance.net.egress import Egress, addresses_v6, find_egress, find_lans
from appliance.net.forwarding import Forwarding
from appliance.net.holders import Holders
from appliance.net.ipv6 import WayOut, find_way_out
from appliance.net.pool import check_pool, check_prefix, check_routed, choose_pool, taken_networks
from appliance.net.tun import check_tun

_log = logging.getLogger("sallyport.net")

TUNNEL_MTU: Final = 1420
# 40 (IPv6) + 8 (UDP) + 16 (header) + 16 (tag): what the tunnel adds to a packet.
TUNNEL_OVERHEAD_BYTES: Final = 80


@dataclass(frozen=True)
class ExitFacts:
    """What `check` found out."""

    pool: IPv4Network
    gateway: IPv4Address
    egress: Egress | None
    prefix_v6: IPv6Network | None = None

    @property
    def mtu(self) -> int:
        """The largest inner packet that leaves the egress in one piece, at most the usual 1420."""
        return TUNNEL_MTU if self.egress is None else min(TUNNEL_MTU, self.egress.mtu - TUNNEL_OVERHEAD_BYTES)

    @property
    def client_mtu(self) -> int | None:
        """The MTU to tell clients, None while the usual one fits."""
        return self.mtu if self.mtu < TUNNEL_MTU else None


class ExitNetwork:
    """One exit on interface `interface`. `egress` and `pool` are the operator's words, None for our choice;
    `remembered_pool` is an earlier choice of ours that clients still have addresses of; `policy` is what the
    operator decided about clients' traffic."""

    def __init__(
        self,
        *,
        interface: str,
        state_dir: Path,
        egress: str | None = None,
        pool: IPv4Network | None = None,
        remembered_pool: IPv4Network | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.interface = interface
        self._egress = egress
        self._pool = pool if pool is not None else remembered_pool
        self._policy = policy or Policy()
        self._v6 = WayOut()
        self._on_link: str | None = None
        self._forwarding = Forwarding(state_dir, Holders(_exit_lives))
        self._plan: ExitPlan | None = None
        self._created = False

    def check(self) -> ExitFacts:
        """Answer whether the exit can be made here, as far as nothing is changed by asking."""
        if not is_plain(self.interface):
            raise UsageError(f"--interface: must be {PLAIN_FORM}, not {self.interface!r}")
        check_tun()
        nftables.find_nft()
        if links.exists(self.interface):
            raise InUseError(
                f"the interface {self.interface} exists already: choose another with --interface"
            )
        egress = find_egress(self._egress)
        taken = taken_networks(self.interface)
        if self._pool is None:
            pool = choose_pool(taken)
        else:
            pool = self._pool
            check_pool(pool, taken)
        self._v6 = find_way_out(
            self._policy.ipv6,
            tunnel=self.interface,
            table=table_name(self.interface),
            egress=self._egress,
            lans=find_lans(self._policy.allowed_v6, self.interface),
            forwarding=self._forwarding,
        )
        try:
            plan = ExitPlan(
                self.interface,
                pool,
                None if egress is None else egress.interface,
                self._policy,
                find_lans(self._policy.allowed_v4, self.interface),
                self._v6.egress,
                self._v6.needs.closes,
            )
        except ValueError as refusal:
            raise UsageError(str(refusal)) from None
        self._check_v6(plan)
        self._forwarding.check(plan.ways)
        nftables.check(plan.table)
        self._plan = plan
        return ExitFacts(pool, plan.gateway, egress, plan.prefix_v6)

    def create(self) -> None:
        """Make the rest, once the TUN is open. The interface comes up last, behind its rules."""
        plan = self._plan
        if plan is None:
            raise RuntimeError("create() before check()")
        before = self._forwarding.saved()
        self._created = True
        settings = {**self._v6.needs.settings, **plan.sysctls}
        self._forwarding.apply(settings, plan.table.name, _shared(plan, self._v6.needs.settings))
        nftables.apply(plan.table)
        if before is not None and before.table != plan.table.name:
            self._remove_left_over(before.table)
        links.set_address(plan.interface, IPv4Interface((plan.gateway, plan.pool.prefixlen)))
        links.set_up(plan.interface)
        self._number_v6(plan)
        self._tell_of_v6(plan)
        self._warn_of_foreign_address()
        for obstacle in firewall.find_obstacles(plan.interface, plan.table, ipv6=plan.forwards_v6):
            event(_log, logging.WARNING, obstacle.what, allow_it_with=obstacle.command)

    def undo(self) -> None:
        """Put everything back, before or after the TUN is closed; nothing when nothing was made. Every step
        is tried; the first error is raised at the end."""
        if not self._created or self._plan is None:
            return
        first: Exception | None = None
        for step in (self._close_link, self._put_back_settings, self._remove_table):
            try:
                step(self._plan)
            except Exception as failure:
                event(_log, logging.ERROR, "clean-up step failed", error=str(failure))
                first = first or failure
        self._created = False
        if first is not None:
            raise first

    async def forget(self, address: IPv4Address) -> None:
        """Delete the connection tracking entries of a client's addresses. Whoever stops waiting leaves a
        thread that finishes it, while the address rests (core/leases.py)."""
        addresses: list[Address] = [address]
        if self._plan is not None and self._plan.forwards_v6 and self._plan.prefix_v6 is not None:
            addresses.append(address_in(self._plan.prefix_v6, address))

        def forget() -> None:
            for one in addresses:
                conntrack.forget(one)

        await trio.to_thread.run_sync(forget, abandon_on_cancel=True)

    @property
    def ipv6(self) -> str:
        """What becomes of clients' IPv6, in one word."""
        if self._plan is None or self._plan.prefix_v6 is None:
            return "off"
        if not self._plan.forwards_v6:
            return "rejected"
        return "routed" if isinstance(self._policy.ipv6, IPv6Network) else "translated"

    def refused(self) -> dict[str, int]:
        """How many packets the rules refused since the start, by reason. Blocks for some ten milliseconds."""
        return {} if self._plan is None else nftables.count(self._plan.table)

    def _check_v6(self, plan: ExitPlan) -> None:
        """Clients' IPv6 addresses are nobody else's on this host."""
        if isinstance(self._policy.ipv6, IPv6Network):
            self._on_link = check_routed(self._policy.ipv6, self.interface)
        elif plan.prefix_v6 is not None:
            check_prefix(plan.prefix_v6, self.interface)

    def _number_v6(self, plan: ExitPlan) -> None:
        """Behind an address of its network the host can answer clients; without IPv6 it stays silent."""
        if plan.gateway_v6 is None:
            return
        try:
            try:
                links.set_address(plan.interface, plan.gateway_v6)
            except OSError:
                # A host whose interfaces come without IPv6; on our own it is ours to say, and goes with it.
                Path(f"/proc/sys/net/ipv6/conf/{plan.interface}/disable_ipv6").write_text("0\n")
                links.set_address(plan.interface, plan.gateway_v6)
        except OSError as refusal:
            event(
                _log,
                logging.WARNING,
                "the host has IPv6 switched off: clients' IPv6 is dropped without an answer",
                reason=os.strerror(refusal.errno or 0),
            )

    def _tell_of_v6(self, plan: ExitPlan) -> None:
        """What was decided, and what the operator may have to do for it."""
        asked = self._policy.ipv6
        if self._v6.why:
            level = logging.INFO if asked == "auto" else logging.WARNING
            event(_log, level, f"clients' IPv6 is rejected: {self._v6.why}")
        elif plan.forwards_v6:
            event(_log, logging.INFO, f"clients' IPv6 is {self.ipv6}", egress=plan.egress_v6)
        if self._on_link is not None and plan.forwards_v6:
            own = [one.address for one in addresses_v6(plan.interface)]
            event(
                _log,
                logging.WARNING,
                "the IPv6 prefix is part of a link of this host: the router there must send it here",
                link=self._on_link,
                command_on_the_router=f"ip -6 route add {asked} via {own[0] if own else 'ADDRESS'}",
            )

    def _warn_of_foreign_address(self) -> None:
        """An address that is not this host's works only when the network beyond sends it here."""
        address = self._policy.nat_address
        if address is not None and all(one.address != address for one in links.read_addresses()):
            event(
                _log,
                logging.WARNING,
                "nat_address is no address of this host: its network must route it here",
                address=address,
            )

    def _close_link(self, plan: ExitPlan) -> None:
        """First of all: from here on no packet enters by the tunnel, so the rules may go."""
        if links.exists(plan.interface):
            links.set_up(plan.interface, up=False)

    def _put_back_settings(self, plan: ExitPlan) -> None:
        """Another exit of this host may leave by the same interface: its forwarding then stays on."""
        self._forwarding.undo(_shared(plan, self._v6.needs.settings))

    def _remove_table(self, plan: ExitPlan) -> None:
        nftables.remove(plan.table.family, plan.table.name)

    def _remove_left_over(self, table: str) -> None:
        """The table of a run that crashed under another interface name, unless that name is in use again."""
        interface = table_interface(table)
        if interface is not None and not links.exists(interface):
            nftables.remove(TABLE_FAMILY, table)


def _shared(plan: ExitPlan, settings_v6: Iterable[str]) -> list[str]:
    """The settings that are not ours alone: those of the interfaces that the host had before."""
    own = f"/{plan.interface}/"
    return [*map(forwarding_sysctl, plan.ways), *(path for path in settings_v6 if own not in path)]


def _exit_lives(table: str) -> bool:
    interface = table_interface(table)
    return interface is not None and links.exists(interface)
