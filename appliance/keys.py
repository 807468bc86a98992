"""The exit's own WireGuard key: made once, kept as one base64 line that only its owner can read.

The text is that of `wg genkey`, so the tools of WireGuard can read the file too.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from appliance.errors import StateError
from appliance.store.state_dir import write_secret

PRIVATE_KEY: Final = "private.key"
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
            write_secret(path, to_text(generate()).encode("ascii") + b"\n")
        path.chmod(0o600)
        text = path.read_text(encoding="ascii").strip()
        key = base64.b64decode(text, validate=True)
    except OSError as error:
        raise StateError(f"the private key {path} cannot be used: {error.strerror}") from error
    except (UnicodeDecodeError, binascii.Error) as error:
        raise StateError(f"the private key {path} is damaged: it is not base64") from error
    if len(key) != KEY_BYTES:
        raise StateError(f"the private key {path} is damaged: it is not {KEY_BYTES} bytes")
    return key
