"""Which client address a new session gets.

The pool's first host address is the exit's own; all others up to the broadcast address are leased, so a
/24 serves 253 sessions. Addresses that were never leased go first, in ascending order; freed ones
queue at the tail and come back oldest first, so that an address rests as long as the pool allows before
somebody else gets it (late packets and remembered connections of its last user have died away by then).

`control` keeps one `Leases` in memory and writes each change into the store; after a restart it is built
again from those rows. Nothing here is proportional to the size of the pool.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import Final

_NEVER: Final = 0  # the queue number of an address that nobody has used yet


class Leases:
    """The addresses of one pool: never leased, leased, or freed and queueing."""

    def __init__(
        self,
        pool: IPv4Network,
        leased: Iterable[IPv4Address] = (),
        freed: Iterable[IPv4Address] = (),
    ) -> None:
        """`leased` and `freed` (oldest first) come from the rows; what lies outside the pool is left out."""
        self._own = int(pool.network_address) + 1
        self._end = int(pool.broadcast_address)
        # Each leased address with the queue number it came with, so that `put_back` restores the order.
        self._leased = {int(address): _NEVER for address in leased if self.holds(address)}
        free = [int(address) for address in freed if self.holds(address) and int(address) not in self._leased]
        self._queue = [(number, address) for number, address in enumerate(free, start=_NEVER + 1)]
        self._last_number = len(self._queue)
        # The ascending walk over the never leased: it has come to _next, and steps over _known beyond.
        self._next = self._own + 1
        self._known = self._leased.keys() | set(free)

    @property
    def own(self) -> IPv4Address:
        """The exit's own address in the tunnel."""
        return IPv4Address(self._own)

    def holds(self, address: IPv4Address) -> bool:
        """Whether this is an address that the pool may lease."""
        return self._own < int(address) < self._end

    def take(self) -> IPv4Address | None:
        """Lease the next address, None when all are leased."""
        if not self._queue or self._queue[0][0] != _NEVER:
            address = self._walk()
            if address is not None:
                self._leased[address] = _NEVER
                return IPv4Address(address)
        if not self._queue:
            return None
        number, address = heapq.heappop(self._queue)
        self._leased[address] = number
        return IPv4Address(address)

    def put_back(self, address: IPv4Address) -> None:
        """Undo a `take` that came to nothing: the address stands again where it stood."""
        heapq.heappush(self._queue, (self._leased.pop(int(address)), int(address)))

    def free(self, address: IPv4Address) -> None:
        """End a lease: the address goes to the tail of the queue."""
        del self._leased[int(address)]
        self._last_number += 1
        heapq.heappush(self._queue, (self._last_number, int(address)))

    def _walk(self) -> int | None:
        while self._next < self._end:
            address, self._next = self._next, self._next + 1
            if address not in self._known:
                return address
            self._known.remove(address)
        return None
