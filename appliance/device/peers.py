"""The peers of one interface: one record each, kept in step in three places.

A peer exists in C (data path: keys, endpoint, counters, allowed-ips), in `core/peer.py` (handshake
brain) and here (configuration, in the order in which it was given, because `wg show` prints it so).
Only this table adds, changes and removes peers, so the three cannot drift apart. A device without a
private key has peers whose brains are mute.

A device may have a second private key while one is rotated: new peers get the newest, each peer keeps the one
it was added with, and the gate takes messages to either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from appliance.core.indices import IndexTable
from appliance.core.noise import Identity
from appliance.core.peer import Peer
from appliance.core.uapi_text import Network
from appliance.pump import Pump, Symmetric


@dataclass(eq=False, slots=True)
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


def own_identity(private_key: bytes) -> Identity:
    """A private key of ours as this program uses it: what handshakes need beside X25519 is computed in C."""
    return Identity(private_key, Symmetric)


class PeerTable:
    """All peers, by public key (in order of addition) and by C handle."""

    def __init__(self, pump: Pump, random: Callable[[int], bytes]) -> None:
        self._pump = pump
        self._random = random
        self._by_key: dict[bytes, PeerRecord] = {}
        self._by_handle: dict[int, PeerRecord] = {}
        self._owner: dict[Network, PeerRecord] = {}
        self.indices: IndexTable[Peer] = IndexTable(random, pump.index_in_use)
        self.identities: tuple[Identity, ...] = ()  # as the gate numbers them; the newest is the last

    @property
    def identity(self) -> Identity | None:
        """The device's private key, as `wg` shows it and new peers get it."""
        return self.identities[-1] if self.identities else None

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
        """Whether that is a public key of this device."""
        return self.identity_of(public_key) is not None

    def identity_of(self, public_key: bytes) -> Identity | None:
        """Our private key to one of our own public keys."""
        return next((own for own in self.identities if own.public_key == public_key), None)

    def add(
        self,
        public_key: bytes,
        *,
        slot: memoryview | None = None,
        is_session: bool = False,
        purse: int = 0,
        account_id: str | None = None,
        own_key: bytes | None = None,
    ) -> PeerRecord:
        """A new peer; `purse` is the pump's number of what it pays from, 0 for no limit.

        `own_key` is the public key of ours that the peer was told, None for the newest. `ValueError` when the
        key is a peer already or is our own, or when `own_key` is none of ours.
        """
        if public_key in self._by_key or self.is_own_key(public_key):
            raise ValueError("that key is a peer already, or our own")
        identity = self.identity if own_key is None else self.identity_of(own_key)
        if own_key is not None and identity is None:
            raise ValueError("the peer knows a key that is not ours (any more)")
        handle = self._pump.add_peer(public_key, slot, purse)
        brain = Peer(identity=identity, public_key=public_key, indices=self.indices, random=self._random)
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
        self._use(() if identity is None else (identity,))
        if identity is not None:
            twin = self._by_key.get(identity.public_key)
            if twin is not None:
                self.remove(twin)
        for record in self:
            self._pump.expire_keys(record.handle)
            record.brain.set_identity(identity, now_ns)

    def add_identity(self, identity: Identity) -> None:
        """One more private key, for new peers; those that are there keep the one they know."""
        self._use((*self.identities, identity))

    def drop_identity(self, public_key: bytes) -> bool:
        """Answer to that public key of ours no more; False while a peer knows it, or it is the newest."""
        dropped = self.identity_of(public_key)
        if dropped is None:
            return True
        if dropped is self.identity or any(record.brain.identity is dropped for record in self):
            return False
        self._use(tuple(own for own in self.identities if own is not dropped))
        return True

    def _use(self, identities: tuple[Identity, ...]) -> None:
        # The gate first: it refuses more keys than it can hold, and then nothing has changed.
        self._pump.set_mac1_keys([own.mac1_key for own in identities])
        self.identities = identities
