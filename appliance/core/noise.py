"""Noise_IKpsk2 in both roles: the mathematics of one handshake, without state machine or clock.

WireGuard paper, sections 5.4.2 to 5.4.5. Written as functions over values, in the order in which a
handshake goes:

    initiator                                   responder
    create_initiation -> PendingInitiation
                       ---- initiation ---->    Identity.open_initiation_untrusted -> OpenedInitiation
                                                (look up the peer by .public_key)
                                                OpenedInitiation.authenticate_untrusted -> timestamp
                                                create_response -> message, Transport
    consume_response_untrusted <---- response ----
    -> Transport

An initiation is opened in two steps because the second needs the static-static secret of the peer
that only the first one names. After the first step the sender is merely *claimed* (anyone who knows
our public key can get that far); after the second it is proven, but the timestamp still has to be
judged by the peer, or an old message would do. Neither step changes anything, so a bad message leaves
a handshake in flight as it was.

The caller owns all randomness: ephemeral private keys and indices come in as arguments.

Wiping. The chaining key and hash live in a `SymmetricState` (symmetric.py), which is overwritten when the
handshake is done or given up. What passes through immutable `bytes` is freed when the last reference goes but
not overwritten: shared secrets, ephemeral key bytes and the session's two keys. Key objects of `cryptography`
are cleansed by OpenSSL when they are freed.
"""

from __future__ import annotations

from dataclasses import dataclass
from hmac import compare_digest

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from appliance.core.messages import (
    INITIATION_MAC1_OFFSET,
    INITIATION_TYPE,
    INITIATION_UNSIGNED,
    KEY_BYTES,
    NO_MAC2,
    RESPONSE_MAC1_OFFSET,
    RESPONSE_TYPE,
    RESPONSE_UNSIGNED,
    BadMessage,
    parse_initiation_untrusted,
    parse_response_untrusted,
)
from appliance.core.primitives import (
    INITIAL_CHAIN_KEY,
    INITIAL_HASH,
    dh_untrusted,
    hash_,
    mac1_key,
)
from appliance.core.symmetric import PlainState, StateMaker, SymmetricState
from appliance.core.tai64n import TickFloor


@dataclass(slots=True)
class Transport:
    """What a finished handshake leaves: the keys of a session and the other side's index."""

    send_key: bytes
    receive_key: bytes
    remote_index: int


@dataclass(slots=True)
class OpenedInitiation:
    """An initiation for us that claims to come from `public_key`."""

    public_key: bytes
    sender_index: int
    ephemeral: X25519PublicKey
    sealed_timestamp: bytes
    state: SymmetricState

    def authenticate_untrusted(self, static_static: bytes) -> bytes:
        """Prove the claim with the secret that only the two static keys share, or BadMessage.

        So the peer really sent it, at some time: the timestamp, which this gives, has yet to be judged. With
        that the handshake has moved on, so this is done once; after BadMessage it may be tried again.
        """
        timestamp = self.state.open(static_static, self.sealed_timestamp)
        if timestamp is None:
            raise BadMessage("timestamp")
        return timestamp


class Identity:
    """Our static key, with everything that follows from it or is promised under it.

    One object per private key and device, shared by all peers: its `ticks` keep the promise that
    stamps under this key never go back, also for peers that are removed and added again.
    """

    __slots__ = ("_begun", "key", "mac1_key", "private_key", "public_key", "state_maker", "ticks")

    def __init__(self, private_key: bytes, state_maker: StateMaker = PlainState) -> None:
        """Clamp and keep `private_key` (32 bytes, else ValueError).

        Handshakes under this key, in both roles, have their symmetric state from `state_maker`.
        """
        if len(private_key) != KEY_BYTES:
            raise ValueError(f"a private key has {KEY_BYTES} bytes, not {len(private_key)}")
        clamped = bytearray(private_key)
        clamped[0] &= 0xF8
        clamped[31] = clamped[31] & 0x7F | 0x40
        self.private_key = bytes(clamped)
        self.key = X25519PrivateKey.from_private_bytes(self.private_key)
        self.public_key = self.key.public_key().public_bytes_raw()
        self.mac1_key = mac1_key(self.public_key)
        self.ticks = TickFloor()
        self.state_maker = state_maker
        self._begun = _begin(state_maker, self.public_key)

    def open_initiation_untrusted(self, data: bytes) -> OpenedInitiation:
        """Check mac1 and read who claims to have sent this initiation; BadMessage if it is not for us."""
        fields = parse_initiation_untrusted(data)
        _check_mac1_untrusted(self._begun, self.mac1_key, data[:INITIATION_MAC1_OFFSET], fields.mac1)
        ephemeral = X25519PublicKey.from_public_bytes(fields.ephemeral)
        state = self._begun.fork(fields.ephemeral)
        public_key = state.open(dh_untrusted(self.key, ephemeral), fields.sealed_static)
        if public_key is None:
            raise BadMessage("static key")
        return OpenedInitiation(public_key, fields.sender_index, ephemeral, fields.sealed_timestamp, state)


class Pairing:
    """Our identity and one peer's public key, with what follows from both computed once."""

    __slots__ = ("identity", "mac1_key", "public_key", "remote", "static_static")

    def __init__(self, identity: Identity, public_key: bytes) -> None:
        """BadMessage when the shared secret is zero: with such a key no handshake is possible."""
        self.identity = identity
        self.public_key = public_key
        self.mac1_key = mac1_key(public_key)
        self.remote = X25519PublicKey.from_public_bytes(public_key)
        self.static_static = dh_untrusted(identity.key, self.remote)


class PendingInitiation:
    """An initiation we sent, waiting for its response."""

    __slots__ = ("ephemeral", "local_index", "pairing", "state")

    def __init__(
        self, pairing: Pairing, local_index: int, ephemeral: X25519PrivateKey, state: SymmetricState
    ) -> None:
        self.pairing = pairing
        self.local_index = local_index
        self.ephemeral: X25519PrivateKey | None = ephemeral
        self.state = state

    def wipe(self) -> None:
        """Zero what is secret; from now on no response is consumed."""
        self.ephemeral = None
        self.state.wipe()


def create_initiation(
    pairing: Pairing, *, local_index: int, ephemeral_key: bytes, timestamp: bytes
) -> tuple[bytes, PendingInitiation]:
    """The first message to a peer, and what must be kept until its response comes."""
    identity = pairing.identity
    ephemeral = X25519PrivateKey.from_private_bytes(ephemeral_key)
    ephemeral_public = ephemeral.public_key().public_bytes_raw()
    state = _begin(identity.state_maker, pairing.public_key)
    state.mix(ephemeral_public)
    sealed_static = state.seal(dh_untrusted(ephemeral, pairing.remote), identity.public_key)
    sealed_timestamp = state.seal(pairing.static_static, timestamp)
    unsigned = INITIATION_UNSIGNED.pack(
        INITIATION_TYPE, local_index, ephemeral_public, sealed_static, sealed_timestamp
    )
    message = unsigned + state.mac(pairing.mac1_key, unsigned) + NO_MAC2
    return message, PendingInitiation(pairing, local_index, ephemeral, state)


def create_response(
    pairing: Pairing,
    initiation: OpenedInitiation,
    *,
    local_index: int,
    ephemeral_key: bytes,
    preshared_key: bytes,
) -> tuple[bytes, Transport]:
    """The second message, and the keys of the session that it opens.

    The initiation was proven, and is answered once. (To one that was not this is no answer, for the
    transcripts differ.)

    Neither Dh can be zero here: a low-order ephemeral failed already when the initiation was opened,
    a low-order static key gives no Pairing, and no clamped scalar takes any other point to zero.
    """
    ephemeral = X25519PrivateKey.from_private_bytes(ephemeral_key)
    ephemeral_public = ephemeral.public_key().public_bytes_raw()
    state = initiation.state
    ephemerals = dh_untrusted(ephemeral, initiation.ephemeral)
    state.mix(ephemeral_public, ephemerals, dh_untrusted(ephemeral, pairing.remote))
    sealed_nothing, receive_key, send_key = state.seal_end(preshared_key)
    unsigned = RESPONSE_UNSIGNED.pack(
        RESPONSE_TYPE, local_index, initiation.sender_index, ephemeral_public, sealed_nothing
    )
    message = unsigned + state.mac(pairing.mac1_key, unsigned) + NO_MAC2
    return message, Transport(send_key, receive_key, initiation.sender_index)


def consume_response_untrusted(pending: PendingInitiation, data: bytes, *, preshared_key: bytes) -> Transport:
    """The keys of the session that a response opens, or BadMessage; `pending` is left as it is."""
    fields = parse_response_untrusted(data)
    if fields.receiver_index != pending.local_index or pending.ephemeral is None:
        raise BadMessage("not the response to this initiation")
    identity = pending.pairing.identity
    _check_mac1_untrusted(pending.state, identity.mac1_key, data[:RESPONSE_MAC1_OFFSET], fields.mac1)
    remote = X25519PublicKey.from_public_bytes(fields.ephemeral)
    ephemerals = dh_untrusted(pending.ephemeral, remote)
    state = pending.state.fork(fields.ephemeral, ephemerals, dh_untrusted(identity.key, remote))
    keys = state.open_end(preshared_key, fields.sealed_nothing)
    if keys is None:
        raise BadMessage("nothing")
    send_key, receive_key = keys
    return Transport(send_key, receive_key, fields.sender_index)


def _check_mac1_untrusted(state: SymmetricState, key: bytes, data: bytes, expected: bytes) -> None:
    """BadMessage unless `expected` is the Mac of `data`; takes the same time wherever they differ."""
    if not compare_digest(state.mac(key, data), expected):
        raise BadMessage("mac1")


def _begin(state_maker: StateMaker, responder_key: bytes) -> SymmetricState:
    """The state before the first message to the owner of that key."""
    return state_maker(INITIAL_CHAIN_KEY, hash_(INITIAL_HASH + responder_key))
