"""The doors that `control` needs below it, as protocols: what it asks of the floor ACTS.

`device.py` and `net/` satisfy them by shape and never import this module (imports go downward only);
`main.py` puts them together; tests hand in fakes.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Protocol

from appliance.core.accounting import Purse


@dataclass(frozen=True)
class NodeFacts:
    """What this exit tells its clients; fixed while the process runs.

    `endpoint` is HOST:PORT with IPv6 hosts in brackets; `public_ip` and `endpoint` are None when no
    usable address exists, then creating a session is refused. `client_mtu` is None when the
    default of 1420 fits. `prefix_v6` is the tunnel's IPv6 network, None when clients have no IPv6 address.
    """

    region: str
    public_key: bytes
    public_ip: str | None
    endpoint: str | None
    pool: IPv4Network
    client_mtu: int | None
    dns: tuple[str, ...] = ()
    prefix_v6: IPv6Network | None = None


class ExitKeys(Protocol):
    """The exit's static keys, on disk. What changes them waits for the disk and blocks."""

    @property
    def public_key(self) -> bytes:
        """The present one, which new sessions are told."""

    @property
    def old_public_key(self) -> bytes | None:
        """The one before, while it is kept."""

    def rotate(self) -> bytes:
        """A new private key, kept and returned; the present one becomes the old one.

        Raises `StateError`, then nothing has changed. Only called while no old one is kept.
        """

    def forget_old(self) -> None:
        """Erase the old one. Raises `StateError` when it is still on the disk."""


class DataPlane(Protocol):
    """The tunnel, as far as a session needs it."""

    async def add_session(
        self,
        public_key: bytes,
        address: IPv4Address,
        slot: memoryview,
        purse: Purse | None = None,
        *,
        own_key: bytes | None = None,
    ) -> None:
        """Install a peer whose allowed-ips is `address`/32 and whose counters go to `slot`.

        `slot` is the 32 64-bit words of a bound slot (see `appliance/slots.py`). With `purse` the peer
        pays from its account's purse, which is made with so many bytes when none of the account's peers is in
        the tunnel and is shared as it stands when one is; without, nothing limits it. A packet that does not
        fit shuts the purse and is reported by the account's id. `own_key` is the public key of the exit's
        that the peer was told, and the tunnel speaks to it under that one; without, it is the newest. Raises
        `ValueError` when the key cannot be a peer (already one, or our own key), or `own_key` is not ours.
        """

    async def remove_session(self, public_key: bytes) -> None:
        """Remove the peer: on return no packet of it passes any more and its counters are final.

        A key that is no peer is no error.
        """

    async def add_key(self, private_key: bytes) -> None:
        """One more private key of the exit's, the newest; peers that are in keep the one they were told."""

    async def drop_key(self, public_key: bytes) -> bool:
        """Answer to that key of the exit's no more; False while a peer, of whatever kind, was told it."""

    async def static_peers(self, own_key: bytes) -> int:
        """How many peers that are no sessions know the exit by that public key."""


class Flows(Protocol):
    """The host's connection tracking."""

    async def forget(self, address: IPv4Address) -> None:
        """Delete the conntrack entries of a client address, so that its next user inherits none."""
