"""Everything that can be found out before anything is created: the checks of `up`, in order.

A start that cannot succeed ends here with one line and leaves nothing behind: no interface, no rule, no
file. What is taken on the way (the two kinds of sockets, the state directory's lock) is given back by the
caller's ExitStack. An existing state directory is opened early, because it names the address pool that
clients were told; one that does not exist is made last.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from appliance.config import UpConfig
from appliance.core.exitplan import Policy
from appliance.core.uapi_text import format_endpoint
from appliance.errors import PrivilegeError, StateError
from appliance.net.exit import ExitFacts, ExitNetwork
from appliance.net.udp import UdpSockets, open_udp
from appliance.store.state_dir import write_secret
from appliance.store.store import DATABASE, Store
from appliance.uapi import check_name_free

_CAP_NET_ADMIN = 12
_POOL_FILE = "pool"

BindApi = Callable[[str, int], list[socket.socket]]


@dataclass
class Prepared:
    """What the checks found and took."""

    facts: ExitFacts
    network: ExitNetwork
    store: Store
    udp: UdpSockets
    api: list[socket.socket]

    def endpoint(self, config: UpConfig) -> tuple[str, str] | None:
        """(public ip, HOST:PORT) that clients are told, None when there is no address for them."""
        address = config.public_ip
        if address is None and self.facts.egress is not None:
            address = self.facts.egress.address
        if address is None:
            return None
        return str(address), format_endpoint(address, self.udp.port)


def prepare(config: UpConfig, bind_api: BindApi, stack: ExitStack) -> Prepared:
    """Check everything, then open the state. Raises UserError with nothing left behind."""
    _check_privileges()
    check_name_free(config.interface)
    store: Store | None = None
    if (config.state_dir / DATABASE).exists():
        store = stack.enter_context(closing(Store.open(config.state_dir)))
    network = ExitNetwork(
        interface=config.interface,
        state_dir=config.state_dir,
        egress=config.egress,
        pool=config.pool,
        remembered_pool=_remembered_pool(config.state_dir),
        policy=Policy(
            allow_networks=config.allow_networks,
            conntrack_per_client=config.conntrack_per_client,
            nat_address=config.nat_address,
            ipv6=config.ipv6,
        ),
    )
    facts = network.check()
    api = bind_api(config.api.host, config.api.port)
    for sock in api:
        stack.callback(sock.close)
    udp = open_udp(config.listen_port)
    stack.callback(udp.close)
    if store is None:
        store = stack.enter_context(closing(Store.open(config.state_dir)))
    return Prepared(facts, network, store, udp, api)


def remember_pool(state_dir: Path, pool: IPv4Network) -> None:
    """Write down which pool this exit serves, for the next start without --pool."""
    write_secret(state_dir / _POOL_FILE, f"{pool}\n".encode())


def _check_privileges() -> None:
    with open("/proc/self/status", "rb") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith(b"CapEff:"))
    if not effective >> _CAP_NET_ADMIN & 1:
        raise PrivilegeError("up needs root (the capability CAP_NET_ADMIN): run it with sudo")


def _remembered_pool(state_dir: Path) -> IPv4Network | None:
    """The pool of the last start: clients hold addresses of it."""
    path = state_dir / _POOL_FILE
    try:
        return IPv4Network(path.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise StateError(f"{path} is damaged: it must hold one prefix like 10.101.0.0/24") from None
