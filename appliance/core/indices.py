"""Session indices: the random 32-bit names under which the other side addresses us.

WireGuard paper, section 5.4. An index is unpredictable and unique over every handshake in flight and
every session, because it is all that a received message names its receiver by. A handshake's index
becomes its session's. The owner of the table is told by `in_use` about indices that live in the data
plane: Python's picture of those may lag behind for a moment (see `keypairs`), and an index must not
be given out while either side still uses it.

Index 0 is never given: where indices are listed, 0 stands for "none".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Owner = TypeVar("Owner")

# Random bytes cost a system call, so that many indices are drawn with one. Until it is given out, an index is
# known to nobody else.
_DRAW = struct.Struct("<32I")


class IndexTable(Generic[Owner]):
    """Which indices are taken, and by whom."""

    def __init__(self, random: Callable[[int], bytes], in_use: Callable[[int], bool]) -> None:
        """`random` gives that many secret random bytes; `in_use` asks the data plane about an index."""
        self._random = random
        self._in_use = in_use
        self._owners: dict[int, Owner] = {}
        self._drawn: Iterator[int] = iter(())

    def __len__(self) -> int:
        return len(self._owners)

    def reserve(self, owner: Owner) -> int:
        """A fresh index that belongs to `owner` until it is released."""
        while True:
            for index in self._drawn:
                if index != 0 and index not in self._owners and not self._in_use(index):
                    self._owners[index] = owner
                    return index
            self._drawn = iter(_DRAW.unpack(self._random(_DRAW.size)))

    def release(self, index: int) -> None:
        """Give up a reserved index (KeyError when it is not one)."""
        del self._owners[index]

    def find(self, index: int) -> Owner | None:
        """Who reserved `index`, if anybody."""
        return self._owners.get(index)
