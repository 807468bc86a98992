"""The handshake brain of one peer: when to ask for a key, whom to answer, when to forget.

WireGuard paper, sections 5.4 and 6; the kernel's noise.c and timers.c. Sans-IO: verbs say what
happened, `take_actions` says what is to be done, `next_timer` says when to come back. All times are
CLOCK_BOOTTIME nanoseconds (`now_ns`), except the wall clock for stamps and receipts (`wall_ns`).

C decides *that* a key is wanted (data without a key, a key that grows old, data that went unanswered);
this decides *whether and when* an initiation leaves:

* Whatever wants a key, no initiation leaves within 5 s of the last initiation or response sent. A want
  that comes too early is remembered and served at the 5 s mark. While an initiation waits for its
  response, another want changes nothing.
* An initiation without response is repeated, each time anew (fresh ephemeral, index and stamp), after
  5 s and up to a third of a second of jitter. After the 20th it is given up: waiting packets are dropped.
  The next want starts over.
* 540 s after the last session was derived, or after giving up, all keys and the handshake are erased.

The kernel keeps one handshake per peer, and answering an initiation overwrites the one in flight; two
peers that start at the same instant then both fail and try again 5 s later. Here an answer needs no
memory (its session is derived at once), so the initiation in flight stays answerable, and both of two
crossing handshakes succeed: each side then sends on the session that it initiated and receives on
either. A response is consumed only while its initiation waits, and only once. An initiation waits until its
response, the next initiation, or erasure; a session that came the other way only ends its repetition.

Three things arm a timer and one thing disarms each:

    retransmit   an initiation sent                      a handshake complete
    wanted       a want too early                        an initiation sent, or a handshake complete
    erase        a session derived; giving up (if idle)  itself
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

from appliance.core.actions import (
    Action,
    DropStaged,
    EraseKeys,
    HandshakeDone,
    InstallKeypair,
    SendInitiation,
    SendResponse,
)
from appliance.core.indices import IndexTable
from appliance.core.keypairs import Keypair, KeypairSlots
from appliance.core.messages import (
    ERASE_AFTER_NS,
    HANDSHAKE_ATTEMPTS_MAX,
    INITIATION_INTERVAL_MIN_NS,
    KEY_BYTES,
    REKEY_TIMEOUT_JITTER_MAX_NS,
    REKEY_TIMEOUT_NS,
    TIMESTAMP_BYTES,
    BadMessage,
)
from appliance.core.noise import (
    Identity,
    OpenedInitiation,
    Pairing,
    PendingInitiation,
    Transport,
    consume_response_untrusted,
    create_initiation,
    create_response,
)
from appliance.core.tai64n import encode, next_tick

_JITTER_BYTES = 8
_NO_TIMESTAMP = bytes(TIMESTAMP_BYTES)
NO_PRESHARED_KEY = bytes(KEY_BYTES)


class Peer:
    """One peer of one device.

    `identity` is None while the device has no private key: the peer is then configured but mute. So is
    one whose public key is a low-order point, for which the static-static secret would be zero.
    """

    __slots__ = (
        "_actions",
        "_attempts",
        "_consumed_at_ns",
        "_erase_at_ns",
        "_greatest_timestamp",
        "_identity",
        "_indices",
        "_pairing",
        "_pending",
        "_random",
        "_retransmit_at_ns",
        "_sent_at_ns",
        "_sent_tick",
        "_wanted_at_ns",
        "keypairs",
        "preshared_key",
        "public_key",
    )

    def __init__(
        self,
        *,
        identity: Identity | None,
        public_key: bytes,
        indices: IndexTable[Peer],
        random: Callable[[int], bytes],
        preshared_key: bytes = NO_PRESHARED_KEY,
    ) -> None:
        """`random` gives that many secret random bytes; a preshared key of zeros is none."""
        if len(public_key) != KEY_BYTES or len(preshared_key) != KEY_BYTES:
            raise ValueError(f"keys have {KEY_BYTES} bytes")
        self.public_key = public_key
        self.preshared_key = _shared_if_none(preshared_key)
        self.keypairs = KeypairSlots()
        self._indices = indices
        self._random = random
        self._identity = identity
        self._pairing: Pairing | None = None  # made when it is first needed, by _pair
        self._pending: PendingInitiation | None = None
        self._actions: tuple[Action, ...] = ()
        self._attempts = 0
        self._sent_at_ns: int | None = None  # the last initiation or response
        self._sent_tick = 0
        self._consumed_at_ns: int | None = None  # the last initiation accepted
        self._greatest_timestamp = _NO_TIMESTAMP
        self._retransmit_at_ns: int | None = None
        self._wanted_at_ns: int | None = None
        self._erase_at_ns: int | None = None

    # ---- configuration --------------------------------------------------------------------------

    @property
    def identity(self) -> Identity | None:
        """The key of ours that this peer knows; None while the peer is mute."""
        return self._identity

    def set_preshared_key(self, key: bytes) -> None:
        """The session lives on; the next handshake, also one already in flight, uses `key`."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"keys have {KEY_BYTES} bytes")
        self.preshared_key = _shared_if_none(key)

    def set_identity(self, identity: Identity | None, now_ns: int) -> None:
        """Our private key changed: what is in flight is void, and a new handshake need not wait 5 s.

        The caller expires the present keys for sending in the data plane, so that the next packet asks
        for a new one. Whoever is waiting for one already is served at once: see `next_timer`.
        """
        waiting = self._retransmit_at_ns is not None or self._wanted_at_ns is not None
        self._forget_pending()
        self._identity = identity
        self._pairing = None
        self._sent_at_ns = None
        self._retransmit_at_ns = None
        self._wanted_at_ns = now_ns if waiting else None

    def close(self) -> None:
        """The peer is removed: give back its indices, forget its secrets, want nothing more."""
        self._keep_stamps_rising()
        self._forget_pending()
        self._release(self.keypairs.clear())
        self._identity = self._pairing = None
        self.preshared_key = NO_PRESHARED_KEY
        self._retransmit_at_ns = self._wanted_at_ns = self._erase_at_ns = None
        self._actions = ()

    # ---- what happened --------------------------------------------------------------------------

    def key_wanted(self, now_ns: int, wall_ns: int) -> None:
        """C asks for a key, or for a newer one. Call as often as it asks."""
        if self._retransmit_at_ns is not None:
            return
        earliest_ns = self._earliest_initiation_ns()
        if earliest_ns is not None and now_ns < earliest_ns:
            self._wanted_at_ns = earliest_ns
            return
        self._attempts = 0
        self._initiate(now_ns, wall_ns, retry=False)

    def receive_initiation(
        self, opened: OpenedInitiation, now_ns: int, wall_ns: int, *, under: Identity | None = None
    ) -> bool:
        """An initiation claims to be from this peer. True: it is, it is new, and it is answered.

        The flood limit comes first because it costs nothing; only an accepted initiation moves it. One
        that names another peer fails like a forged one, for want of the static-static secret. `under` is
        the key of ours that it was sent to, where the peer may know another by now than we think: with one
        that is accepted, that becomes the key between us. What is in flight stays answerable.
        """
        if self._identity is None:
            return False
        if self._consumed_at_ns is not None and now_ns < self._consumed_at_ns + INITIATION_INTERVAL_MIN_NS:
            return False
        pairing = self._pair(self._identity if under is None else under)
        if pairing is None:
            return False
        try:
            timestamp = opened.authenticate_untrusted(pairing.static_static)
        except BadMessage:
            return False
        if timestamp <= self._greatest_timestamp:
            return False
        self._greatest_timestamp = timestamp
        self._consumed_at_ns = now_ns
        if pairing is not self._pairing:
            self._keep_stamps_rising()
            self._identity, self._pairing = pairing.identity, pairing

        local_index = self._indices.reserve(self)
        message, transport = create_response(
            pairing,
            opened,
            local_index=local_index,
            ephemeral_key=self._random(KEY_BYTES),
            preshared_key=self.preshared_key,
        )
        self._session_derived(transport, local_index, now_ns, is_initiator=False)
        self._sent_at_ns = now_ns
        self._actions += (SendResponse(message),)
        return True

    def receive_response_untrusted(self, data: bytes, now_ns: int, wall_ns: int) -> bool:
        """A response bears an index of ours. True: it answers the initiation that waits."""
        pending = self._pending
        if pending is None:
            return False
        try:
            transport = consume_response_untrusted(pending, data, preshared_key=self.preshared_key)
        except BadMessage:
            return False
        # Not _forget_pending: the handshake's index is the session's from now on.
        pending.wipe()
        self._pending = None
        self._session_derived(transport, pending.local_index, now_ns, is_initiator=True)
        self._handshake_complete(wall_ns)
        return True

    def confirmed(self, now_ns: int, wall_ns: int) -> None:
        """The session we answered with was used by the peer: that handshake is complete too."""
        self._release(self.keypairs.confirm())
        self._handshake_complete(wall_ns)

    # ---- time -----------------------------------------------------------------------------------

    def next_timer(self) -> int | None:
        """When to call `handle_timer`, or None; may be in the past. Ask again after every verb."""
        nearest = self._erase_at_ns
        if self._retransmit_at_ns is not None and (nearest is None or self._retransmit_at_ns < nearest):
            nearest = self._retransmit_at_ns
        if self._wanted_at_ns is not None and (nearest is None or self._wanted_at_ns < nearest):
            nearest = self._wanted_at_ns
        return nearest

    def handle_timer(self, now_ns: int, wall_ns: int) -> None:
        """Do what is due; nothing when called early."""
        # Erasure first: an initiation made in the same call shall outlive it.
        if self._erase_at_ns is not None and self._erase_at_ns <= now_ns:
            self._erase()
        if self._retransmit_at_ns is not None and self._retransmit_at_ns <= now_ns:
            self._response_overdue(now_ns, wall_ns)
        if self._wanted_at_ns is not None and self._wanted_at_ns <= now_ns:
            self._wanted_at_ns = None
            self.key_wanted(now_ns, wall_ns)

    def take_actions(self) -> list[Action]:
        """What is to be done, in this order; each action is given once."""
        actions, self._actions = self._actions, ()
        return list(actions)

    # ---- steps ----------------------------------------------------------------------------------

    def _pair(self, identity: Identity) -> Pairing | None:
        """What we share with the peer under that key of ours; None when no handshake is possible.

        Made when it is first needed: of thousands that are configured, most are silent.
        """
        if self._pairing is not None and self._pairing.identity is identity:
            return self._pairing
        try:
            pairing = Pairing(identity, self.public_key)
        except BadMessage:
            return None
        if identity is self._identity:
            self._pairing = pairing
        return pairing

    def _earliest_initiation_ns(self) -> int | None:
        return None if self._sent_at_ns is None else self._sent_at_ns + REKEY_TIMEOUT_NS

    def _initiate(self, now_ns: int, wall_ns: int, *, retry: bool) -> None:
        self._forget_pending()
        self._wanted_at_ns = None
        pairing = None if self._identity is None else self._pair(self._identity)
        if pairing is None:
            # No key can come, so nothing shall wait for it.
            self._actions += (DropStaged(),)
            return
        self._sent_tick = next_tick(wall_ns, self._sent_tick, pairing.identity.ticks.tick)
        message, self._pending = create_initiation(
            pairing,
            local_index=self._indices.reserve(self),
            ephemeral_key=self._random(KEY_BYTES),
            timestamp=encode(self._sent_tick),
        )
        self._sent_at_ns = now_ns
        jitter_ns = int.from_bytes(self._random(_JITTER_BYTES), "little") % (REKEY_TIMEOUT_JITTER_MAX_NS + 1)
        self._retransmit_at_ns = now_ns + REKEY_TIMEOUT_NS + jitter_ns
        self._actions += (SendInitiation(message, retry),)

    def _response_overdue(self, now_ns: int, wall_ns: int) -> None:
        earliest_ns = self._earliest_initiation_ns()
        if earliest_ns is not None and now_ns < earliest_ns:
            # We sent a response meanwhile, which may yet bring a session; 5 s after it we go on.
            self._retransmit_at_ns = earliest_ns
        elif self._attempts > HANDSHAKE_ATTEMPTS_MAX:
            self._give_up(now_ns)
        else:
            self._attempts += 1
            self._initiate(now_ns, wall_ns, retry=True)

    def _give_up(self, now_ns: int) -> None:
        self._retransmit_at_ns = None
        self._actions += (DropStaged(),)
        if self._erase_at_ns is None:
            self._erase_at_ns = now_ns + ERASE_AFTER_NS

    def _erase(self) -> None:
        self._erase_at_ns = None
        self._forget_pending()
        self._release(self.keypairs.clear())
        self._actions += (EraseKeys(),)

    def _session_derived(
        self, transport: Transport, local_index: int, now_ns: int, *, is_initiator: bool
    ) -> None:
        keypair = Keypair(local_index, now_ns, is_initiator)
        self._actions += (InstallKeypair(transport, keypair),)
        self._release(self.keypairs.install(keypair))
        self._erase_at_ns = now_ns + ERASE_AFTER_NS

    def _handshake_complete(self, wall_ns: int) -> None:
        self._retransmit_at_ns = None
        self._wanted_at_ns = None
        self._actions += (HandshakeDone(wall_ns),)

    def _keep_stamps_rising(self) -> None:
        """Before a key is let go of: what was stamped under it counts for whoever has this key next."""
        if self._identity is not None:
            self._identity.ticks.raise_to(self._sent_tick)

    def _forget_pending(self) -> None:
        if self._pending is not None:
            self._indices.release(self._pending.local_index)
            self._pending.wipe()
            self._pending = None

    def _release(self, dropped: list[Keypair]) -> None:
        for keypair in dropped:
            self._indices.release(keypair.local_index)


def _shared_if_none(preshared_key: bytes) -> bytes:
    """The same object for all peers without a preshared key."""
    return NO_PRESHARED_KEY if compare_digest(preshared_key, NO_PRESHARED_KEY) else preshared_key
