"""The C half of Sallyport and its typed face.

`Pump` moves packets between the TUN and the UDP sockets; `Aead` is its cipher alone; `Symmetric` computes
what a handshake needs beside X25519. All need the compiled `crypto_ext._native`, so they are loaded on first
use: `python -m crypto_ext.build` must be able to import this package before there is one. `words` holds the
words that both sides share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crypto_ext.words import (
    DROPS,
    UNLIMITED,
    Datagram,
    End,
    Endpoint,
    Event,
    Notice,
    Offload,
    PeerView,
    Pending,
    Stats,
)

if TYPE_CHECKING:
    from crypto_ext.aead import Aead
    from crypto_ext.pump import Pump
    from crypto_ext.symmetric import Symmetric

__all__ = [
    "DROPS",
    "UNLIMITED",
    "Aead",
    "Datagram",
    "End",
    "Endpoint",
    "Event",
    "Notice",
    "Offload",
    "PeerView",
    "Pending",
    "Pump",
    "Stats",
    "Symmetric",
]


def __getattr__(name: str) -> object:
    if name == "Pump":
        from crypto_ext.pump import Pump

        return Pump
    if name == "Aead":
        from crypto_ext.aead import Aead

        return Aead
    if name == "Symmetric":
        from crypto_ext.symmetric import Symmetric

        return Symmetric
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
