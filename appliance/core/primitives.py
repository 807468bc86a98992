"""The cryptographic building blocks of the handshake, under the paper's names.

WireGuard paper, section 5.4: Hash is BLAKE2s, Mac is *keyed* BLAKE2s-128, Kdf is HKDF over
*HMAC*-BLAKE2s (two different constructions, easily confused), Dh is X25519, Aead is
ChaCha20-Poly1305 with a zero nonce, because every handshake key seals exactly one thing.

X25519 and the AEAD come from `cryptography`, BLAKE2s from hashlib. HMAC is written out here: its keys
are always 32 bytes, and three outputs of one Kdf share their padded keys, which makes a responder's
21 HMACs cost half of what the `hmac` module takes.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from appliance.core.messages import CONSTRUCTION, IDENTIFIER, KEY_BYTES, MAC1_LABEL, MAC_BYTES, BadMessage

_BLOCK_BYTES = 64
_ZERO_NONCE = bytes(12)

# HMAC (RFC 2104) xors its key, zero-padded to a block, with 0x36 inside and 0x5c outside.
_INNER = bytes(value ^ 0x36 for value in range(256))
_OUTER = bytes(value ^ 0x5C for value in range(256))
_INNER_PADDING = b"\x36" * (_BLOCK_BYTES - KEY_BYTES)
_OUTER_PADDING = b"\x5c" * (_BLOCK_BYTES - KEY_BYTES)


def hash_(data: bytes | bytearray) -> bytes:
    """Hash: BLAKE2s, 32 bytes."""
    return blake2s(data).digest()


def mac(key: bytes, data: bytes) -> bytes:
    """Mac: keyed BLAKE2s, 16 bytes."""
    return blake2s(data, key=key, digest_size=MAC_BYTES).digest()


def mac1_key(public_key: bytes) -> bytes:
    """The key of mac1 in messages *to* the owner of `public_key`."""
    return blake2s(MAC1_LABEL + public_key).digest()


def _extract(chain_key: bytes | bytearray, material: bytes) -> bytes:
    """HMAC of `material` under `chain_key`."""
    outer = blake2s(chain_key.translate(_OUTER) + _OUTER_PADDING)
    outer.update(blake2s(chain_key.translate(_INNER) + _INNER_PADDING + material).digest())
    return outer.digest()


# Any scalar would do, for a low-order point takes all of them to zero.
_ANYBODY: Final = X25519PrivateKey.from_private_bytes(bytes(range(32)))


def kdf1(chain_key: bytes | bytearray, material: bytes) -> bytes:
    """Kdf with one output."""
    key = _extract(chain_key, material)
    outer = blake2s(key.translate(_OUTER) + _OUTER_PADDING)
    outer.update(blake2s(key.translate(_INNER) + _INNER_PADDING + b"\x01").digest())
    return outer.digest()


def kdf2(chain_key: bytes | bytearray, material: bytes) -> tuple[bytes, bytes]:
    """Kdf with two outputs."""
    key = _extract(chain_key, material)
    outer, inner = blake2s(key.translate(_OUTER) + _OUTER_PADDING), key.translate(_INNER) + _INNER_PADDING
    outer2 = outer.copy()
    outer.update(blake2s(inner + b"\x01").digest())
    first = outer.digest()
    outer2.update(blake2s(inner + first + b"\x02").digest())
    return first, outer2.digest()


def kdf3(chain_key: bytes | bytearray, material: bytes) -> tuple[bytes, bytes, bytes]:
    """Kdf with three outputs."""
    key = _extract(chain_key, material)
    outer, inner = blake2s(key.translate(_OUTER) + _OUTER_PADDING), key.translate(_INNER) + _INNER_PADDING
    outer2, outer3 = outer.copy(), outer.copy()
    outer.update(blake2s(inner + b"\x01").digest())
    first = outer.digest()
    outer2.update(blake2s(inner + first + b"\x02").digest())
    second = outer2.digest()
    outer3.update(blake2s(inner + second + b"\x03").digest())
    return first, second, outer3.digest()


def dh_untrusted(private: X25519PrivateKey, public: X25519PublicKey) -> bytes:
    """Dh; BadMessage when the result is zero, which only a low-order public key can bring about."""
    try:
        return private.exchange(public)
    except ValueError:
        raise BadMessage("zero shared secret") from None


def is_low_order(public_key: bytes) -> bool:
    """Whether a public key gives a secret of zeros with everybody: then no handshake is possible with it."""
    try:
        dh_untrusted(_ANYBODY, X25519PublicKey.from_public_bytes(public_key))
    except BadMessage:
        return True
    return False


def seal(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Aead of one thing under a fresh key."""
    return ChaCha20Poly1305(key).encrypt(_ZERO_NONCE, plaintext, associated)


def open_untrusted(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The plaintext of `seal`; BadMessage when the tag is wrong."""
    try:
        return ChaCha20Poly1305(key).decrypt(_ZERO_NONCE, sealed, associated)
    except InvalidTag:
        raise BadMessage("tag") from None


# What every handshake starts from.
INITIAL_CHAIN_KEY = hash_(CONSTRUCTION)
INITIAL_HASH = hash_(INITIAL_CHAIN_KEY + IDENTIFIER)
