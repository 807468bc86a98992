"""The symmetric state of a handshake, by crypto_ext/symmetric.c.

Has the shape that `appliance/core/symmetric.py` calls SymmetricState, without knowing that file, which says
what each step is. The state is C's structure in memory that Python owns, and is overwritten when the last
reference to it goes. What it gives out are `bytes`, which are not.
"""

from __future__ import annotations

from errno import EBADMSG
from typing import Any

from crypto_ext._native import ffi, lib

_STRUCT = ffi.typeof("struct sp_symmetric *")
_STRUCT_BYTES: int = ffi.sizeof("struct sp_symmetric")
_OUT: int = ffi.offsetof("struct sp_symmetric", "out")
_BEGIN = slice(0, _OUT)  # the chaining key and the hash

# Fetched from cffi once: a handshake takes seven of these calls, and the look-up costs as much as a call.
_KEY_BYTES: int = lib.SP_KEY_BYTES
_TAG_BYTES: int = lib.SP_TAG_BYTES
_new, _buffer, _wipe = ffi.new, ffi.buffer, lib.sp_wipe
_mac, _mix = lib.sp_symmetric_mac, lib.sp_symmetric_mix
_seal, _open = lib.sp_symmetric_seal, lib.sp_symmetric_open
_seal_end, _open_end = lib.sp_symmetric_seal_end, lib.sp_symmetric_open_end
_FIRST = slice(_OUT, _OUT + _KEY_BYTES)
_SECOND = slice(_FIRST.stop, _FIRST.stop + _KEY_BYTES)
_ABSENT = (ffi.NULL, ffi.NULL)  # for secrets that are not given
_MAC = slice(_OUT, _OUT + _TAG_BYTES)
_LAST_TAG = slice(_SECOND.stop, _SECOND.stop + _TAG_BYTES)


def _wrong_length() -> ValueError:
    return ValueError("a key has 32 bytes, a text at most 64, and 16 more when it is sealed")


class Symmetric:
    """One handshake's state, on one side. ValueError for a wrong length of anything."""

    __slots__ = ("_memory", "_state")

    def __init__(self, chain_key: bytes, digest: bytes) -> None:
        self._state: Any = _new(_STRUCT)
        self._memory: Any = _buffer(self._state)
        if len(chain_key) != _KEY_BYTES or len(digest) != _KEY_BYTES:
            raise _wrong_length()
        self._memory[_BEGIN] = chain_key + digest

    def __del__(self) -> None:
        _wipe(self._state, _STRUCT_BYTES)

    def fork(self, public_key: bytes, *secrets: bytes) -> Symmetric:
        """A second state, into which this is mixed."""
        twin = Symmetric.__new__(Symmetric)
        twin._state = _new(_STRUCT)
        twin._memory = _buffer(twin._state)
        twin._mix(self._state, public_key, secrets)
        return twin

    def mix(self, public_key: bytes, *secrets: bytes) -> None:
        """Token "e", then MixKey of each secret, of which there are two at most."""
        self._mix(self._state, public_key, secrets)

    def _mix(self, begin: Any, public_key: bytes, secrets: tuple[bytes, ...]) -> None:
        for key in (public_key, *secrets):
            if len(key) != _KEY_BYTES:
                raise _wrong_length()
        _mix(self._state, begin, public_key, *secrets, *_ABSENT[len(secrets) :])

    def seal(self, secret: bytes, text: bytes) -> bytes:
        """MixKey and EncryptAndHash."""
        if len(secret) != _KEY_BYTES or _seal(self._state, secret, text, len(text)):
            raise _wrong_length()
        sealed: bytes = self._memory[_OUT : _OUT + len(text) + _TAG_BYTES]
        return sealed

    def open(self, secret: bytes, sealed: bytes) -> bytes | None:
        """MixKey and DecryptAndHash; None when it is forged."""
        if len(secret) != _KEY_BYTES:
            raise _wrong_length()
        status = _open(self._state, secret, sealed, len(sealed))
        if status:
            if status != -EBADMSG:
                raise _wrong_length()
            return None
        text: bytes = self._memory[_OUT : _OUT + len(sealed) - _TAG_BYTES]
        return text

    def seal_end(self, preshared_key: bytes) -> tuple[bytes, bytes, bytes]:
        """MixKeyAndHash, an empty text, Split: the tag and both keys."""
        if len(preshared_key) != _KEY_BYTES:
            raise _wrong_length()
        memory = self._memory
        _seal_end(self._state, preshared_key)
        return memory[_LAST_TAG], memory[_FIRST], memory[_SECOND]

    def open_end(self, preshared_key: bytes, tag: bytes) -> tuple[bytes, bytes] | None:
        """MixKeyAndHash, an empty text, Split: both keys; None when it is forged."""
        if len(preshared_key) != _KEY_BYTES or len(tag) != _TAG_BYTES:
            raise _wrong_length()
        if _open_end(self._state, preshared_key, tag):
            return None
        return self._memory[_FIRST], self._memory[_SECOND]

    def mac(self, key: bytes, data: bytes) -> bytes:
        """Mac, of what is no secret."""
        if len(key) != _KEY_BYTES:
            raise _wrong_length()
        _mac(self._state, key, data, len(data))
        made: bytes = self._memory[_MAC]
        return made

    def wipe(self) -> None:
        """Zero it."""
        _wipe(self._state, _STRUCT_BYTES)
