"""The three key slots of a peer: the plain twin of what the data plane keeps in C.

WireGuard's kernel module, noise.c (add_new_keypair, received_with_keypair):

* We initiated and the response came: the new session is *current* at once. An unconfirmed *next*
  becomes previous and the old current is dropped; without one the old current becomes previous.
* We answered: the new session is *next*, in place of an older unconfirmed one; previous is dropped.
  The initiator may not have got our response, so we must not send on it yet.
* The first authentic packet on next confirms it: it becomes current, current becomes previous.

The twin knows no keys, only indices, and serves to release these in time. It hears of a confirmation
a moment after C acted on it, so for that moment the two may differ; C is right, and nothing here decides
about a packet.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Keypair:
    """A session as far as Python remembers it."""

    local_index: int
    created_ns: int
    is_initiator: bool


class KeypairSlots:
    """Previous, current and next. Every verb returns the sessions that fell out."""

    __slots__ = ("current", "next", "previous")

    def __init__(self) -> None:
        self.previous: Keypair | None = None
        self.current: Keypair | None = None
        self.next: Keypair | None = None

    def install(self, keypair: Keypair) -> list[Keypair]:
        """A session was derived."""
        if not keypair.is_initiator:
            dropped = [self.previous, self.next]
            self.previous, self.next = None, keypair
        elif self.next is not None:
            dropped = [self.previous, self.current]
            self.previous, self.current, self.next = self.next, keypair, None
        else:
            dropped = [self.previous]
            self.previous, self.current = self.current, keypair
        return list(filter(None, dropped))

    def confirm(self) -> list[Keypair]:
        """The peer used the session that waited in next (nothing happens when none waits)."""
        if self.next is None:
            return []
        dropped = self.previous
        self.previous, self.current, self.next = self.current, self.next, None
        return [] if dropped is None else [dropped]

    def clear(self) -> list[Keypair]:
        """All keys were erased."""
        dropped = [self.previous, self.current, self.next]
        self.previous = self.current = self.next = None
        return list(filter(None, dropped))
