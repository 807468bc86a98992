"""What the exit asks of the kernel, as data: one nftables table and a few settings. Pure.

`net/nftables.py` renders and applies the table, `net/forwarding.py` writes the settings; this file alone
says what they are, so that what clients may reach can be read, and tested, in one place.

Rules of the plan:

* Every rule matches only packets that enter or leave by the tunnel, and every chain's policy is `accept`:
  the table can forbid something to clients but can never change what else the host forwards. The one
  exception keeps it so: where IPv6 must be forwarded by the whole host or not at all (`closes_v6`), a rule
  drops what the host did not forward before.
* Names, not indices, match the interface: the table stays whole while the interface is away (after a
  crash) and serves the next one of that name without a change.
* Clients reach no address of the host (also not to ping it), not each other, and none of FORBIDDEN. What
  comes back to them must belong to a connection they opened.
* A forbidden destination is *rejected* (ICMP "administratively prohibited"), not dropped: a program of
  the client's then fails at once instead of hanging for minutes, and nothing is given away, since the
  answer is the same whether the address exists or not. The host itself is *dropped*: it does not answer
  for itself at all. Mail and IRC ports get a TCP reset, which every mail program understands at once.
* NAT is by `iifname` in postrouting (kernel >= 5.7): whatever entered by the tunnel and leaves by
  anything else leaves with the host's own address, so no inner address is ever seen outside. With
  `nat_address` it leaves the egress with that one; any other way out still takes the host's own.
* Clients' IPv6 has a way out only where `net/ipv6.py` found one (`egress_v6`). It leaves with the host's
  address, as IPv4 does, or, when clients have addresses of a routed prefix, with their own. Without a way out
  clients still have an IPv6 address and send all their IPv6 here, where it is rejected at once, so that none
  of it goes around the tunnel. That happens in prerouting (kernel >= 5.9): without IPv6 forwarding, which
  then stays off, no packet ever comes to the forward hook.
* One client cannot fill the host's connection table: a set counts each client's open flows, and a new one
  over the limit is rejected. The set lives in the table, so it is gone with it.
* TCP's segment size is lowered to what fits the smaller of the two ways (`rt mtu` looks at both), because
  many networks filter the ICMP messages that would say so.
* A rule that refuses something counts it, and has the reason as its comment: `sallyport status` adds them up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, collapse_addresses
from typing import Final, Literal

from appliance.core.ifnames import is_plain
from appliance.core.ula import address_in, tunnel_prefix

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Private, link-local and local-host networks, by our own list: a library's idea of "private" has changed
# between releases and includes networks (198.18.0.0/15, 192.0.0.0/24) that an exit may well reach.
PRIVATE_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "127.0.0.0/8",
    )
)
PRIVATE_V6: Final = tuple(IPv6Network(text) for text in ("fc00::/7", "fe80::/10", "::1/128"))

# Beyond the private ones: multicast, and what no packet may be addressed to (the last also holds broadcast).
FORBIDDEN_V4: Final = (
    *PRIVATE_V4,
    IPv4Network("0.0.0.0/8"),
    IPv4Network("224.0.0.0/4"),
    IPv4Network("240.0.0.0/4"),
)
FORBIDDEN_V6: Final = (
    *PRIVATE_V6,
    IPv6Network("ff00::/8"),
    # The same IPv4 networks once more, as translators on the way (NAT64, RFC 6052 and 8215) would reach them.
    *(
        IPv6Network((int(IPv6Address("64:ff9b::")) + int(one.network_address), 96 + one.prefixlen))
        for one in FORBIDDEN_V4
    ),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("::ffff:0:0/96"),
)

# What `allow_networks` may open: networks that people number themselves. Link-local ones (where clouds keep
# the host's credentials), the local host and multicast stay closed whatever is asked.
OPENABLE_V4: Final = tuple(
    IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
OPENABLE_V6: Final = (IPv6Network("fc00::/7"),)

CONNTRACK_PER_CLIENT: Final = 4096
Ipv6Mode = Literal["auto", "nat", "reject", "off"]
IPV6_MODES: Final[tuple[Ipv6Mode, ...]] = ("auto", "nat", "reject", "off")
# Clients whose flows are counted at once; more sessions than one exit carries.
_COUNTED_CLIENTS: Final = 65_536

# SMTP (25, 465, 587, 2525) and IRC (6660 to 6669, 6697): what gets an exit's address blocked.
REJECTED_TCP_PORTS: Final = ("25", "465", "587", "2525", "6660-6669", "6697")

TABLE_FAMILY: Final = "inet"
_REJECT: Final = "reject with icmpx type admin-prohibited"
_REJECT_V6: Final = "reject with icmpv6 type admin-prohibited"
_TABLE_PREFIX: Final = "sallyport_"


def is_private(address: Address) -> bool:
    """Whether only clients of the same network can reach this address."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in PRIVATE_V4)
    return any(address in network for network in PRIVATE_V6)


def is_openable(network: Network) -> bool:
    """Whether this network can be opened to clients by name."""
    if isinstance(network, IPv4Network):
        return any(network.subnet_of(one) for one in OPENABLE_V4)
    return any(network.subnet_of(one) for one in OPENABLE_V6)


def table_name(interface: str) -> str:
    """The table of an interface. Different interfaces have different tables, whatever their names."""
    return _TABLE_PREFIX + "".join(
        character if character.isascii() and character.isalnum() else f"_{ord(character):02x}"
        for character in interface
    )


def table_interface(table: str) -> str | None:
    """The interface whose table this is, None when it is not a table of ours."""
    if not table.startswith(_TABLE_PREFIX):
        return None
    escaped = table.removeprefix(_TABLE_PREFIX)
    name = re.sub(r"_([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), escaped)
    return name if is_plain(name) and table_name(name) == table else None


@dataclass(frozen=True)
class Chain:
    """One chain: `hook` is None for a chain that is only jumped to. Rules are in nft's own words."""

    name: str
    rules: tuple[str, ...]
    hook: str | None = None


@dataclass(frozen=True)
class Set:
    """One named set that rules fill, in nft's own words."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One nftables table, chains in an order in which each is defined before it is jumped to."""

    family: str
    name: str
    chains: tuple[Chain, ...]
    sets: tuple[Set, ...] = ()


@dataclass(frozen=True)
class Policy:
    """What the operator decides about clients' traffic: private networks that are open, flows per client,
    the address that they leave the egress with (None: the host's own), and what becomes of their IPv6 (a
    network: a prefix routed to this host that their addresses come from)."""

    allow_networks: tuple[Network, ...] = ()
    conntrack_per_client: int = CONNTRACK_PER_CLIENT
    nat_address: IPv4Address | None = None
    ipv6: Ipv6Mode | IPv6Network = "off"

    @property
    def allowed_v4(self) -> list[IPv4Network]:
        return [one for one in self.allow_networks if isinstance(one, IPv4Network)]

    @property
    def allowed_v6(self) -> list[IPv6Network]:
        return [one for one in self.allow_networks if isinstance(one, IPv6Network)]


@dataclass(frozen=True)
class ExitPlan:
    """Everything of one exit that does not depend on the moment.

    `egress` is the interface by which clients leave, None while the host has none; `lans` are those that
    lead to the networks of `policy.allow_networks`. `egress_v6` is the way out for IPv6, None without one;
    `closes_v6` when the host forwards IPv6 between all its interfaces only because of us.
    """

    interface: str
    pool: IPv4Network
    egress: str | None
    policy: Policy = Policy()
    lans: tuple[str, ...] = ()
    egress_v6: str | None = None
    closes_v6: bool = False
    table: Table = field(init=False)

    def __post_init__(self) -> None:
        if not is_plain(self.interface):
            raise ValueError(f"not an interface name the exit can use: {self.interface!r}")
        if self.policy.ipv6 in ("off", "reject") and self.egress_v6 is not None:
            raise ValueError(f"a way out for IPv6 with ipv6 = {self.policy.ipv6}")
        if self.pool.prefixlen > 30:
            raise ValueError(f"pool {self.pool} has no room for a client: the prefix must be /30 or shorter")
        if self.policy.nat_address is not None and not (self.egress and is_plain(self.egress)):
            raise ValueError("nat_address needs an egress with a plain name: give one with --egress")
        object.__setattr__(self, "table", _table(self))

    @property
    def gateway(self) -> IPv4Address:
        """The tunnel's own address: the first of the pool."""
        return self.pool.network_address + 1

    @property
    def prefix_v6(self) -> IPv6Network | None:
        """The tunnel's IPv6 network, None when clients have no IPv6 address."""
        asked = self.policy.ipv6
        if isinstance(asked, IPv6Network):
            return asked
        return None if asked == "off" else tunnel_prefix(self.pool)

    @property
    def forwards_v6(self) -> bool:
        """Whether clients' IPv6 goes on to the internet."""
        return self.egress_v6 is not None

    @property
    def gateway_v6(self) -> IPv6Interface | None:
        """The tunnel's own IPv6 address."""
        prefix = self.prefix_v6
        return None if prefix is None else IPv6Interface((address_in(prefix, self.gateway), prefix.prefixlen))

    @property
    def sysctls(self) -> dict[str, str]:
        """Settings by their path below /proc/sys. Per interface, never `all`: a packet is forwarded when
        the interface it *entered* by forwards, so clients' packets need the first, answers the second."""
        return {forwarding_sysctl(name): "1" for name in (self.interface, *self.ways)}

    @property
    def ways(self) -> tuple[str, ...]:
        """The host's interfaces by which answers to clients come in."""
        egress = () if self.egress is None else (self.egress,)
        return (*egress, *(name for name in self.lans if name != self.egress))


def forwarding_sysctl(interface: str) -> str:
    """The path below /proc/sys of an interface's IPv4 forwarding (`default` and `all` are names too)."""
    return f"net/ipv4/conf/{interface}/forwarding"


def _table(plan: ExitPlan) -> Table:
    interface, policy = plan.interface, plan.policy
    enters = f'iifname "{interface}"'
    leaves = f'oifname "{interface}"'
    clamp = "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu"
    families = [("v4", "ip"), ("v6", "ip6")] if plan.forwards_v6 else [("v4", "ip")]
    over = f"ct count over {policy.conntrack_per_client}"
    size = f"size {min(plan.pool.num_addresses, _COUNTED_CLIENTS)}"
    counted = tuple(Set(f"flows_{one}", (f"type ip{one}_addr", size, "flags dynamic")) for one, _ in families)
    from_clients = Chain(
        "from_clients",
        (
            _because("other_client", f"{leaves} counter drop"),
            _forbid("ip daddr", FORBIDDEN_V4, [*collapse_addresses(policy.allowed_v4)]),
            _forbid("ip6 daddr", FORBIDDEN_V6, [*collapse_addresses(policy.allowed_v6)]),
            _because("closed_port", f"tcp dport {_set(REJECTED_TCP_PORTS)} counter reject with tcp reset"),
            *(
                _because(
                    "too_many_flows",
                    f"ct state new add @flows_{one} {{ {word} saddr {over} }} counter {_REJECT}",
                )
                for one, word in families
            ),
            clamp,
        ),
    )
    uninvited = _because("uninvited", "ct state != { established, related } counter drop")
    to_clients = Chain("to_clients", (uninvited, clamp))
    to_host = _because("host", f"{enters} counter drop")
    input_ = Chain("input", (to_host,), "type filter hook input priority filter")
    others = _because(
        "ipv6_of_others",
        f'meta nfproto ipv6 iifname != "{interface}" oifname != "{interface}" counter drop',
    )
    forward = Chain(
        "forward",
        (
            *([others] if plan.closes_v6 else []),
            f"{enters} jump from_clients",
            f"{leaves} jump to_clients",
        ),
        "type filter hook forward priority filter",
    )
    own_v6 = "meta nfproto ipv4 " if isinstance(policy.ipv6, IPv6Network) else ""
    nat = [f'{enters} oifname != "{interface}" {own_v6}counter masquerade']
    if policy.nat_address is not None:
        nat.insert(0, f'{enters} oifname "{plan.egress}" counter snat ip to {policy.nat_address}')
    postrouting = Chain("postrouting", tuple(nat), "type nat hook postrouting priority srcnat")
    chains = [from_clients, to_clients, input_, forward, postrouting]
    if policy.ipv6 != "off" and not plan.forwards_v6:
        refuse = _because("ipv6", f"{enters} meta nfproto ipv6 counter {_REJECT_V6}")
        chains.append(Chain("prerouting", (refuse,), "type filter hook prerouting priority filter"))
    return Table(TABLE_FAMILY, table_name(interface), tuple(chains), counted)


def _forbid(destination: str, forbidden: tuple[Network, ...], allowed: list[Network]) -> str:
    """The rule that closes `forbidden` but for what is allowed."""
    but = f" {destination} != {_set(tuple(allowed))}" if allowed else ""
    return _because("private_network", f"{destination} {_set(forbidden)}{but} counter {_REJECT}")


def _because(reason: str, rule: str) -> str:
    """A rule that refuses, with the word under which what it counts is told."""
    return f'{rule} comment "{reason}"'


def _set(members: tuple[object, ...]) -> str:
    return "{ " + ", ".join(str(member) for member in members) + " }"
