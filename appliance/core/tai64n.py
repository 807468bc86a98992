"""TAI64N timestamps: what makes every initiation newer than the one before.

WireGuard paper, section 5.4.2. A stamp is 12 bytes, big-endian: 2^62 + 10 + Unix seconds, then
nanoseconds. A receiver remembers the greatest stamp of each peer and accepts only a greater one,
compared byte by byte and never with its own clock; so an old initiation cannot be replayed.

Two rules are about what we send:

* Whitening. The nanoseconds are rounded down to a multiple of 2^24 (about 16.8 ms), as the kernel
  does, so that a stamp does not give a precise clock to an observer. We count in such *ticks*, 60 of
  them to a second (0 to 59 times 2^24 ns; the last is cut short by the full second).
* Never the same or an older stamp to the same peer, also when the wall clock steps back or two
  initiations fall into one tick: then it is the last one sent plus one tick. A peer object remembers
  its own last tick. Peers that were removed may come back, and the other side remembers them; so
  their greatest tick lives on in a `TickFloor`, one per static key, that every new peer starts above.
  (One strictly rising counter for all peers would run ahead of the clock on a busy node, and a
  restarted process would then be refused until the clock has caught up.)
"""

from __future__ import annotations

import struct

from appliance.core.messages import NS_PER_SECOND, TIMESTAMP_BYTES

TICK_SHIFT = 24
TICKS_PER_SECOND = ((NS_PER_SECOND - 1) >> TICK_SHIFT) + 1
UNIX_EPOCH_LABEL = 0x400000000000000A

_LAYOUT = struct.Struct(">QI")
if _LAYOUT.size != TIMESTAMP_BYTES:
    raise AssertionError("a TAI64N stamp has 12 bytes")


class TickFloor:
    """The greatest tick ever sent by peers that are gone."""

    __slots__ = ("tick",)

    def __init__(self) -> None:
        self.tick = 0

    def raise_to(self, tick: int) -> None:
        """Remember `tick` if it is the greatest so far."""
        self.tick = max(self.tick, tick)


def wall_tick(wall_ns: int) -> int:
    """The tick of a wall clock reading (nanoseconds since 1970)."""
    seconds, nanoseconds = divmod(wall_ns, NS_PER_SECOND)
    return seconds * TICKS_PER_SECOND + (nanoseconds >> TICK_SHIFT)


def next_tick(wall_ns: int, *sent_ticks: int) -> int:
    """The tick to send now: that of the wall clock, but later than all of `sent_ticks`."""
    return max(wall_tick(wall_ns), *(tick + 1 for tick in sent_ticks))


def encode(tick: int) -> bytes:
    """The stamp of a tick, as it goes into an initiation."""
    seconds, remainder = divmod(tick, TICKS_PER_SECOND)
    return _LAYOUT.pack(UNIX_EPOCH_LABEL + seconds, remainder << TICK_SHIFT)
