"""Shares: how many requests of one source (origin.py) may be under way at once.

One source has REQUESTS_PER_SOURCE and no more. What its connections cannot bound, many requests in one
connection or through one proxy, is bounded here. Every request takes its share, whichever way it goes:
past the framework (http1.py) or through it (front.py), which also has the words for a refusal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from api.origin import Proxies

REQUESTS_PER_SOURCE: Final = 64


class Shares:
    """Who has how many requests under way now."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies
        self._under_way: Counter[str] = Counter()

    def client(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The client's address: the peer's, or what trusted proxies say of whom they speak for."""
        return self._proxies.client(peer, headers)

    def take(self, source: str | None) -> bool:
        """Let a request of this source begin, if it has room; None has all the room it wants."""
        if source is None:
            return True
        if self._under_way[source] >= REQUESTS_PER_SOURCE:
            return False
        self._under_way[source] += 1
        return True

    def give_back(self, source: str | None) -> None:
        """A request that took a share is over."""
        if source is not None:
            self._under_way[source] -= 1
            if not self._under_way[source]:
                del self._under_way[source]
