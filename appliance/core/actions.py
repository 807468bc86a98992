"""What a `Peer` wants done: the whole bridge between thinking and acting.

`device.py` takes these in order, right after each verb, and has one `match` over them. Order matters:
a responder's key is installed before its response leaves, so that the first packet on it finds it.

They are values. The two that every answer takes are not frozen: such are made in a third of the time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.core.keypairs import Keypair
from appliance.core.noise import Transport


@dataclass(frozen=True, slots=True)
class SendInitiation:
    """Send to the peer's endpoint. `retry`: an earlier one went unanswered, so forget the cached
    source address first (that may be why)."""

    message: bytes
    retry: bool


@dataclass(slots=True)
class SendResponse:
    """Send to the peer's endpoint, which the initiation has just moved."""

    message: bytes


@dataclass(slots=True)
class InstallKeypair:
    """Hand a session to the data plane. The keys stay out of every log."""

    transport: Transport = field(repr=False)
    keypair: Keypair


@dataclass(frozen=True, slots=True)
class EraseKeys:
    """Wipe every session of the peer."""


@dataclass(frozen=True, slots=True)
class DropStaged:
    """The handshake was given up, or none is possible: no key will come for the packets that wait."""


@dataclass(frozen=True, slots=True)
class HandshakeDone:
    """A handshake is complete: both sides have used or may use the new session."""

    wall_ns: int


Action = SendInitiation | SendResponse | InstallKeypair | EraseKeys | DropStaged | HandshakeDone
