"""Which client address a new session gets.

The pool's first host address is the exit's own; all others up to the broadcast address are leased, so a
/24 serves 253 sessions. Addresses that were never leased go first, in ascending order; freed ones
queue at the tail and come back oldest first, so that an address rests as long as the pool allows before
somebody else gets it (late packets and remembered connections of its last user have died away by then).

The place in the queue is a number that the store hands out when it writes the end of a lease, so memory
and rows agree on the order whatever happened at the same moment. `control` keeps one `Leases` in memory;
after a restart it is built again from the rows. Nothing here is proportional to the size of the pool.
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
        freed: Iterable[tuple[int, IPv4Address]] = (),
    ) -> None:
        """`leased` and `freed` come from the rows; what lies outside the pool is left out."""
        self._own = int(pool.network_address) + 1
        self._end = int(pool.broadcast_address)
        # Each leased address with the queue number it came with, so that `put_back` restores the order.
        self._leased = {int(address): _NEVER for address in leased if self.holds(address)}
        self._queue = [(number, int(address)) for number, address in freed if self.holds(address)]
        heapq.heapify(self._queue)
        # The ascending walk over the never leased: it has come to _next, and steps over _known beyond.
        self._next = self._own + 1
        self._known = self._leased.keys() | {address for _, address in self._queue}

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

    def free(self, address: IPv4Address, number: int) -> None:
        """End a lease: the address queues with the number (1, 2, ...) that the store gave to this end."""
        del self._leased[int(address)]
        heapq.heappush(self._queue, (number, int(address)))

    def _walk(self) -> int | None:
        while self._next < self._end:
            address, self._next = self._next, self._next + 1
            if address not in self._known:
                return address
            self._known.remove(address)
        return None
