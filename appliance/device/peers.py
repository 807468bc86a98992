"""The peers of one interface: one record each, kept in step in three places.

A peer exists in C (data path: keys, endpoint, counters, allowed-ips), in `core/peer.py` (handshake
brain) and here (configuration, in the order in which it was given, because `wg show` prints it so).
Only this table adds, changes and removes peers, so the three cannot drift apart. A device without a
private key has peers whose brains are mute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from appliance.core.indices import IndexTable
from appliance.core.noise import Identity
from appliance.core.peer import Peer
from appliance.core.uapi_text import Network
from appliance.pump import Pump


@dataclass(eq=False)
class PeerRecord:
    """What we know of one peer; `handle` names it in C."""

    public_key: bytes
    handle: int
    is_session: bool
    brain: Peer
    account_id: str | None = None  # whose purse it pays from
    keepalive_seconds: int = 0
    allowed_ips: dict[Network, None] = field(default_factory=dict)
    timer_ns: int | None = None


class PeerTable:
    """All peers, by public key (in order of addition) and by C handle."""

    def __init__(self, pump: Pump, random: Callable[[int], bytes]) -> None:
        self._pump = pump
        self._random = random
        self._by_key: dict[bytes, PeerRecord] = {}
        self._by_handle: dict[int, PeerRecord] = {}
        self._owner: dict[Network, PeerRecord] = {}
        self.indices: IndexTable[Peer] = IndexTable(random, pump.index_in_use)
        self.identity: Identity | None = None

    def __iter__(self) -> Iterator[PeerRecord]:
        return iter(list(self._by_key.values()))

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, public_key: bytes) -> PeerRecord | None:
        """The peer with that public key."""
        return self._by_key.get(public_key)

    def by_handle(self, handle: int) -> PeerRecord | None:
        """The peer that C calls by that number; None when it was removed meanwhile."""
        return self._by_handle.get(handle)

    def owner_of(self, network: Network) -> PeerRecord | None:
        """The peer that has exactly this prefix."""
        return self._owner.get(network)

    def is_own_key(self, public_key: bytes) -> bool:
        """Whether that is this device's own public key."""
        return self.identity is not None and public_key == self.identity.public_key

    def add(
        self,
        public_key: bytes,
        *,
        slot: memoryview | None = None,
        is_session: bool = False,
        purse: int = 0,
        account_id: str | None = None,
    ) -> PeerRecord:
        """A new peer; `purse` is the pump's number of what it pays from, 0 for no limit.

        `ValueError` when the key is a peer already or is our own.
        """
        if public_key in self._by_key or self.is_own_key(public_key):
            raise ValueError("that key is a peer already, or our own")
        handle = self._pump.add_peer(public_key, slot, purse)
        brain = Peer(identity=self.identity, public_key=public_key, indices=self.indices, random=self._random)
        record = PeerRecord(public_key, handle, is_session, brain, account_id)
        self._by_key[public_key] = record
        self._by_handle[handle] = record
        return record

    def remove(self, record: PeerRecord) -> None:
        """On return no packet of that peer passes and its counters are final."""
        self._pump.remove_peer(record.handle)
        del self._by_key[record.public_key]
        del self._by_handle[record.handle]
        for network in record.allowed_ips:
            del self._owner[network]
        record.brain.close()

    def allow(self, record: PeerRecord, network: Network) -> None:
        """Give a prefix to a peer, taking it from whichever peer has it."""
        owner = self._owner.get(network)
        if owner is record:
            return
        self._pump.allow(record.handle, network)
        if owner is not None:
            del owner.allowed_ips[network]
        self._owner[network] = record
        record.allowed_ips[network] = None

    def disallow(self, record: PeerRecord, network: Network) -> None:
        """Take a prefix away; one that the peer does not have is no error."""
        if self._owner.get(network) is record:
            self._pump.disallow(record.handle, network)
            del self._owner[network]
            del record.allowed_ips[network]

    def disallow_all(self, record: PeerRecord) -> None:
        """Take all prefixes away."""
        self._pump.disallow_all(record.handle)
        for network in record.allowed_ips:
            del self._owner[network]
        record.allowed_ips.clear()

    def set_identity(self, identity: Identity | None, now_ns: int) -> None:
        """A new private key, or none: every peer must shake hands anew, our own key is no peer."""
        self.identity = identity
        self._pump.set_mac1_keys([] if identity is None else [identity.mac1_key])
        if identity is not None:
            twin = self._by_key.get(identity.public_key)
            if twin is not None:
                self.remove(twin)
        for record in self:
            self._pump.expire_keys(record.handle)
            record.brain.set_identity(identity, now_ns)
