"""Noise_IKpsk2 in both roles: the mathematics of one handshake, without state machine or clock.

WireGuard paper, sections 5.4.2 to 5.4.5. Written as functions over values, in the order in which a
handshake goes:

    initiator                                   responder
    create_initiation -> PendingInitiation
                       ---- initiation ---->    Identity.open_initiation_untrusted -> OpenedInitiation
                                                (look up the peer by .public_key)
                                                OpenedInitiation.authenticate_untrusted -> AuthenticInitiation
                                                create_response -> message, Transport
    consume_response_untrusted <---- response ----
    -> Transport

An initiation is opened in two steps because the second needs the static-static secret of the peer
that only the first one names. After the first step the sender is merely *claimed* (anyone who knows
our public key can get that far); after the second it is proven, but the timestamp still has to be
judged by the peer, or an old message would do. Neither step changes anything, so a bad message leaves
a handshake in flight as it was.

The caller owns all randomness: ephemeral private keys and indices come in as arguments.

Wiping. The chaining key and hash that wait for a response stand in bytearrays and are zeroed when the
wait ends. That is as far as Python goes: digests, shared secrets, ephemeral key bytes and derived
keys pass through immutable `bytes` objects, whose memory is freed when the last reference goes but is
not overwritten. Key objects of `cryptography` are cleansed by OpenSSL when they are freed.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from appliance.core.messages import (
    INITIATION_LAYOUT,
    INITIATION_MAC1_OFFSET,
    KEY_BYTES,
    NO_MAC2,
    RESPONSE_LAYOUT,
    RESPONSE_MAC1_OFFSET,
    BadMessage,
    MessageType,
    parse_initiation_untrusted,
    parse_response_untrusted,
)
from appliance.core.primitives import (
    INITIAL_CHAIN_KEY,
    INITIAL_HASH,
    check_mac_untrusted,
    dh_untrusted,
    hash_,
    kdf1,
    kdf2,
    kdf3,
    mac,
    mac1_key,
    open_untrusted,
    seal,
)
from appliance.core.tai64n import TickFloor


class Transport(NamedTuple):
    """What a finished handshake leaves: the keys of a session and the other side's index."""

    send_key: bytes
    receive_key: bytes
    remote_index: int


class AuthenticInitiation(NamedTuple):
    """An initiation that the peer really sent, at some time: `timestamp` has yet to be judged."""

    timestamp: bytes
    sender_index: int
    ephemeral: X25519PublicKey
    chain_key: bytes
    hash: bytes


class OpenedInitiation(NamedTuple):
    """An initiation for us that claims to come from `public_key`."""

    public_key: bytes
    sender_index: int
    ephemeral: X25519PublicKey
    sealed_timestamp: bytes
    chain_key: bytes
    hash: bytes

    def authenticate_untrusted(self, static_static: bytes) -> AuthenticInitiation:
        """Prove the claim with the secret that only the two static keys share, or BadMessage."""
        chain_key, key = kdf2(self.chain_key, static_static)
        timestamp = open_untrusted(key, self.sealed_timestamp, self.hash)
        return AuthenticInitiation(
            timestamp, self.sender_index, self.ephemeral, chain_key, hash_(self.hash + self.sealed_timestamp)
        )


class Identity:
    """Our static key, with everything that follows from it or is promised under it.

    One object per private key and device, shared by all peers: its `ticks` keep the promise that
    stamps under this key never go back, also for peers that are removed and added again.
    """

    __slots__ = ("_hash", "key", "mac1_key", "private_key", "public_key", "ticks")

    def __init__(self, private_key: bytes) -> None:
        """Clamp and keep `private_key` (32 bytes, else ValueError)."""
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
        self._hash = hash_(INITIAL_HASH + self.public_key)

    def open_initiation_untrusted(self, data: bytes) -> OpenedInitiation:
        """Check mac1 and read who claims to have sent this initiation; BadMessage if it is not for us."""
        fields = parse_initiation_untrusted(data)
        check_mac_untrusted(self.mac1_key, data[:INITIATION_MAC1_OFFSET], fields.mac1)
        ephemeral = X25519PublicKey.from_public_bytes(fields.ephemeral)
        chain_key = kdf1(INITIAL_CHAIN_KEY, fields.ephemeral)
        chain_key, key = kdf2(chain_key, dh_untrusted(self.key, ephemeral))
        digest = hash_(self._hash + fields.ephemeral)
        public_key = open_untrusted(key, fields.sealed_static, digest)
        digest = hash_(digest + fields.sealed_static)
        return OpenedInitiation(
            public_key, fields.sender_index, ephemeral, fields.sealed_timestamp, chain_key, digest
        )


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

    __slots__ = ("chain_key", "ephemeral", "hash", "local_index", "pairing")

    def __init__(
        self, pairing: Pairing, local_index: int, ephemeral: X25519PrivateKey, chain_key: bytes, digest: bytes
    ) -> None:
        self.pairing = pairing
        self.local_index = local_index
        self.ephemeral: X25519PrivateKey | None = ephemeral
        self.chain_key = bytearray(chain_key)
        self.hash = bytearray(digest)

    def wipe(self) -> None:
        """Zero what is secret; from now on no response is consumed."""
        self.ephemeral = None
        self.chain_key[:] = bytes(len(self.chain_key))
        self.hash[:] = bytes(len(self.hash))


def create_initiation(
    pairing: Pairing, *, local_index: int, ephemeral_key: bytes, timestamp: bytes
) -> tuple[bytes, PendingInitiation]:
    """The first message to a peer, and what must be kept until its response comes."""
    ephemeral = X25519PrivateKey.from_private_bytes(ephemeral_key)
    ephemeral_public = ephemeral.public_key().public_bytes_raw()
    digest = hash_(hash_(INITIAL_HASH + pairing.public_key) + ephemeral_public)
    chain_key = kdf1(INITIAL_CHAIN_KEY, ephemeral_public)
    chain_key, key = kdf2(chain_key, dh_untrusted(ephemeral, pairing.remote))
    sealed_static = seal(key, pairing.identity.public_key, digest)
    digest = hash_(digest + sealed_static)
    chain_key, key = kdf2(chain_key, pairing.static_static)
    sealed_timestamp = seal(key, timestamp, digest)
    digest = hash_(digest + sealed_timestamp)
    unsigned = INITIATION_LAYOUT.pack(
        MessageType.INITIATION, local_index, ephemeral_public, sealed_static, sealed_timestamp, b"", b""
    )[:INITIATION_MAC1_OFFSET]
    message = unsigned + mac(pairing.mac1_key, unsigned) + NO_MAC2
    return message, PendingInitiation(pairing, local_index, ephemeral, chain_key, digest)


def create_response(
    pairing: Pairing,
    initiation: AuthenticInitiation,
    *,
    local_index: int,
    ephemeral_key: bytes,
    preshared_key: bytes,
) -> tuple[bytes, Transport]:
    """The second message, and the keys of the session that it opens.

    Neither Dh can be zero here: a low-order ephemeral failed already when the initiation was opened,
    a low-order static key gives no Pairing, and no clamped scalar takes any other point to zero.
    """
    ephemeral = X25519PrivateKey.from_private_bytes(ephemeral_key)
    ephemeral_public = ephemeral.public_key().public_bytes_raw()
    digest = hash_(initiation.hash + ephemeral_public)
    chain_key = kdf1(initiation.chain_key, ephemeral_public)
    chain_key = kdf1(chain_key, dh_untrusted(ephemeral, initiation.ephemeral))
    chain_key = kdf1(chain_key, dh_untrusted(ephemeral, pairing.remote))
    chain_key, mixed, key = kdf3(chain_key, preshared_key)
    sealed_nothing = seal(key, b"", hash_(digest + mixed))
    unsigned = RESPONSE_LAYOUT.pack(
        MessageType.RESPONSE, local_index, initiation.sender_index, ephemeral_public, sealed_nothing, b"", b""
    )[:RESPONSE_MAC1_OFFSET]
    message = unsigned + mac(pairing.mac1_key, unsigned) + NO_MAC2
    receive_key, send_key = kdf2(chain_key, b"")
    return message, Transport(send_key, receive_key, initiation.sender_index)


def consume_response_untrusted(pending: PendingInitiation, data: bytes, *, preshared_key: bytes) -> Transport:
    """The keys of the session that a response opens, or BadMessage; `pending` is left as it is."""
    fields = parse_response_untrusted(data)
    if fields.receiver_index != pending.local_index or pending.ephemeral is None:
        raise BadMessage("not the response to this initiation")
    identity = pending.pairing.identity
    check_mac_untrusted(identity.mac1_key, data[:RESPONSE_MAC1_OFFSET], fields.mac1)
    remote = X25519PublicKey.from_public_bytes(fields.ephemeral)
    digest = hash_(pending.hash + fields.ephemeral)
    chain_key = kdf1(pending.chain_key, fields.ephemeral)
    chain_key = kdf1(chain_key, dh_untrusted(pending.ephemeral, remote))
    chain_key = kdf1(chain_key, dh_untrusted(identity.key, remote))
    chain_key, mixed, key = kdf3(chain_key, preshared_key)
    open_untrusted(key, fields.sealed_nothing, hash_(digest + mixed))
    send_key, receive_key = kdf2(chain_key, b"")
    return Transport(send_key, receive_key, fields.sender_index)
