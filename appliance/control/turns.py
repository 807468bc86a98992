"""One at a time per key: creating, superseding and ending the sessions of one client key.

Sessions of different keys go their ways at the same time; two requests for the same one take turns, so
that each sees the other wholly done. A turn costs nothing when nobody else wants it and is forgotten
afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class Turns:
    """Locks that exist while somebody holds or wants them."""

    def __init__(self) -> None:
        self._locks: dict[bytes, tuple[trio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, key: bytes) -> AsyncIterator[None]:
        """Hold the turn of `key`."""
        lock, users = self._locks.get(key, (trio.Lock(), 0))
        self._locks[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = lock, users - 1
