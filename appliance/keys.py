"""The exit's own WireGuard key, and the one before while sessions still use it.

Each is a file with one base64 line that only its owner can read. The text is that of `wg genkey`, so the
tools of WireGuard can read the files too.

A rotation is two writes, each wholly there or not at all: the present key becomes `private.key.old`, then the
new one becomes `private.key`. The second is the moment at which the key has changed. A process that is killed
between the two leaves the same key twice, which the next one takes for what it is: nothing has happened.
Whoever calls holds the state directory. When the old key may go, `control/rotation.py` knows.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from appliance.errors import StateError
from appliance.store.state_dir import sync_directory, write_secret

PRIVATE_KEY: Final = "private.key"
OLD_PRIVATE_KEY: Final = "private.key.old"
KEY_BYTES: Final = 32


def generate() -> bytes:
    """A new private key, clamped as X25519 will use it."""
    key = bytearray(X25519PrivateKey.generate().private_bytes_raw())
    key[0] &= 248
    key[31] = key[31] & 127 | 64
    return bytes(key)


def public_key(private_key: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def to_text(key: bytes) -> str:
    """A key as WireGuard writes it."""
    return base64.b64encode(key).decode("ascii")


def load_or_create(state_dir: Path) -> bytes:
    """The private key in the state directory; made there at the first start. Raises `StateError`."""
    path = state_dir / PRIVATE_KEY
    try:
        if not path.exists():
            write_secret(path, _line(generate()))
    except OSError as error:
        raise _unusable(path, error) from error
    return _load(path)


class Keyring:
    """The keys of one state directory; its methods work on files, and wait for the disk."""

    def __init__(self, state_dir: Path, private_key: bytes, old_private_key: bytes | None = None) -> None:
        self._state_dir = state_dir
        self._pairs = [(key, public_key(key)) for key in (old_private_key, private_key) if key is not None]

    @classmethod
    def open(cls, state_dir: Path) -> Self:
        """The keys that are there; the first is made when there is none. Raises `StateError`."""
        private_key = load_or_create(state_dir)
        path = state_dir / OLD_PRIVATE_KEY
        try:
            for left in state_dir.glob(f"{PRIVATE_KEY}*.part"):  # a write was killed
                left.unlink()
            old = _load(path) if path.exists() else None
            if old == private_key:
                path.unlink()
                old = None
        except OSError as error:
            raise _unusable(path, error) from error
        return cls(state_dir, private_key, old)

    @classmethod
    def open_existing(cls, state_dir: Path) -> Self | None:
        """The keys that are there; None before the first start. Raises `StateError`."""
        return cls.open(state_dir) if (state_dir / PRIVATE_KEY).exists() else None

    @property
    def private_keys(self) -> tuple[bytes, ...]:
        """All of them, the present one last."""
        return tuple(private for private, _ in self._pairs)

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """All of them, the present one last."""
        return tuple(public for _, public in self._pairs)

    @property
    def public_key(self) -> bytes:
        """What new sessions are told."""
        return self._pairs[-1][1]

    @property
    def old_public_key(self) -> bytes | None:
        """What some older sessions were told; None when there is no old key."""
        return self._pairs[0][1] if len(self._pairs) > 1 else None

    def rotate(self) -> bytes:
        """Make a new key and return it; the present one becomes the old one, of which there must be none.

        Raises `StateError`; then nothing has changed for this process. Should the new file be there all the
        same, the next process begins with it, and with the present key as the old one.
        """
        new = generate()
        path = self._state_dir / OLD_PRIVATE_KEY
        try:
            write_secret(path, _line(self._pairs[-1][0]))
            path = self._state_dir / PRIVATE_KEY
            write_secret(path, _line(new))
        except OSError as error:
            raise StateError(f"{path} cannot be written: {error.strerror}; the key stays as it is") from error
        self._pairs = [self._pairs[-1], (new, public_key(new))]
        return new

    def forget_old(self) -> None:
        """Erase the old key. `StateError` when its file stays; for this process it is gone all the same."""
        self._pairs = self._pairs[-1:]
        path = self._state_dir / OLD_PRIVATE_KEY
        try:
            path.unlink(missing_ok=True)
            sync_directory(self._state_dir)
        except OSError as error:
            raise StateError(f"{path} cannot be removed: {error.strerror}") from error


def _line(key: bytes) -> bytes:
    return to_text(key).encode("ascii") + b"\n"


def _load(path: Path) -> bytes:
    try:
        path.chmod(0o600)
        text = path.read_text(encoding="ascii").strip()
        key = base64.b64decode(text, validate=True)
    except OSError as error:
        raise _unusable(path, error) from error
    except (UnicodeDecodeError, binascii.Error) as error:
        raise StateError(f"the private key {path} is damaged: it is not base64") from error
    if len(key) != KEY_BYTES:
        raise StateError(f"the private key {path} is damaged: it is not {KEY_BYTES} bytes")
    return key


def _unusable(path: Path, error: OSError) -> StateError:
    return StateError(f"the private key {path} cannot be used: {error.strerror}")
