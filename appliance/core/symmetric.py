"""The symmetric state of a handshake: what both sides have mixed into it so far, and what that seals.

Noise framework, section 5.2 (SymmetricState), as WireGuard uses it (paper, section 5.4): a chaining key, a
hash of all that was said, and for each thing to be sealed a cipher key of its own, used once with a nonce of
zero. So "mix this secret in" and "seal with the key that follows" are one step. `noise.py` takes the steps in
the order of the handshake; X25519 is its business, too.

Whoever makes an `Identity` chooses the implementation. `PlainState` is made of Python and `primitives`: the
default, and the reference for the one in C that the program uses (`crypto_ext/symmetric.py`, whose steps take
a sixth of the time).
"""

from __future__ import annotations

from typing import Protocol

from appliance.core.messages import KEY_BYTES, TAG_BYTES, BadMessage
from appliance.core.primitives import hash_, kdf1, kdf2, kdf3, mac, open_untrusted, seal

TEXT_MAX_BYTES = 64


class SymmetricState(Protocol):
    """One handshake's, on one side. ValueError for a secret or text of an impossible length.

    Secrets and public keys have 32 bytes; texts at most 64, and 16 more when sealed.
    """

    def fork(self, public_key: bytes, *secrets: bytes) -> SymmetricState:
        """Another state, which is this one with these mixed in; from now on each goes its own way."""

    def mix(self, public_key: bytes, *secrets: bytes) -> None:
        """Noise's token "e" in patterns with a preshared key (MixHash, MixKey), then MixKey of each secret.

        Of those that follow at once, two at most: nothing is sealed with the keys that come in between.
        """

    def seal(self, secret: bytes, text: bytes) -> bytes:
        """MixKey and EncryptAndHash."""

    def open(self, secret: bytes, sealed: bytes) -> bytes | None:
        """MixKey and DecryptAndHash. None when it is forged: then the state is as it was."""

    def seal_end(self, preshared_key: bytes) -> tuple[bytes, bytes, bytes]:
        """MixKeyAndHash, EncryptAndHash of nothing, Split; of the state nothing is left.

        Gives the tag, the key with which the initiator sends, and that with which the responder does.
        """

    def open_end(self, preshared_key: bytes, tag: bytes) -> tuple[bytes, bytes] | None:
        """MixKeyAndHash, DecryptAndHash of nothing, Split. None when forged: then the state is as it was.

        Gives the key with which the initiator sends, and that with which the responder does.
        """

    def mac(self, key: bytes, data: bytes) -> bytes:
        """Mac. No step, but whoever is fast at the steps is at this."""

    def wipe(self) -> None:
        """Zero it; happens by itself with the last reference, too."""


class StateMaker(Protocol):
    """An implementation: gives a state that begins with this chaining key and hash."""

    def __call__(self, chain_key: bytes, digest: bytes) -> SymmetricState: ...


class PlainState:
    """The reference: slow, and of what it leaves in memory only its own two fields are overwritten."""

    __slots__ = ("_chain_key", "_hash")

    def __init__(self, chain_key: bytes, digest: bytes) -> None:
        self._chain_key, self._hash = bytearray(chain_key), bytearray(digest)
        _exactly(KEY_BYTES, chain_key), _exactly(KEY_BYTES, digest)

    def __del__(self) -> None:
        self.wipe()

    def fork(self, public_key: bytes, *secrets: bytes) -> PlainState:
        twin = PlainState(bytes(self._chain_key), bytes(self._hash))
        twin.mix(public_key, *secrets)
        return twin

    def mix(self, public_key: bytes, *secrets: bytes) -> None:
        chain_key = bytes(self._chain_key)
        for material in (public_key, *secrets):
            chain_key = kdf1(chain_key, _exactly(KEY_BYTES, material))
        self._chain_key[:], self._hash[:] = chain_key, hash_(self._hash + public_key)

    def seal(self, secret: bytes, text: bytes) -> bytes:
        if len(text) > TEXT_MAX_BYTES:
            raise ValueError(f"a text has at most {TEXT_MAX_BYTES} bytes, not {len(text)}")
        chain_key, key = kdf2(self._chain_key, _exactly(KEY_BYTES, secret))
        sealed = seal(key, text, bytes(self._hash))
        self._chain_key[:], self._hash[:] = chain_key, hash_(self._hash + sealed)
        return sealed

    def open(self, secret: bytes, sealed: bytes) -> bytes | None:
        if not TAG_BYTES <= len(sealed) <= TEXT_MAX_BYTES + TAG_BYTES:
            raise ValueError(f"{len(sealed)} bytes cannot be something sealed")
        chain_key, key = kdf2(self._chain_key, _exactly(KEY_BYTES, secret))
        try:
            text = open_untrusted(key, sealed, bytes(self._hash))
        except BadMessage:
            return None
        self._chain_key[:], self._hash[:] = chain_key, hash_(self._hash + sealed)
        return text

    def seal_end(self, preshared_key: bytes) -> tuple[bytes, bytes, bytes]:
        chain_key, mixed, key = kdf3(self._chain_key, _exactly(KEY_BYTES, preshared_key))
        tag = seal(key, b"", hash_(self._hash + mixed))
        self.wipe()
        return tag, *kdf2(chain_key, b"")

    def open_end(self, preshared_key: bytes, tag: bytes) -> tuple[bytes, bytes] | None:
        chain_key, mixed, key = kdf3(self._chain_key, _exactly(KEY_BYTES, preshared_key))
        try:
            open_untrusted(key, _exactly(TAG_BYTES, tag), hash_(self._hash + mixed))
        except BadMessage:
            return None
        self.wipe()
        return kdf2(chain_key, b"")

    def mac(self, key: bytes, data: bytes) -> bytes:
        return mac(_exactly(KEY_BYTES, key), data)

    def wipe(self) -> None:
        for secret in (self._chain_key, self._hash):
            secret[:] = bytes(len(secret))


def _exactly(size: int, data: bytes) -> bytes:
    if len(data) != size:
        raise ValueError(f"{size} bytes are needed, not {len(data)}")
    return data
