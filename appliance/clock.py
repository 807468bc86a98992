"""The two clocks of the program, read in one place.

Protocol time is CLOCK_BOOTTIME in nanoseconds: it counts suspend and never steps, and C and `core/`
share it. Wall time is for people, for TAI64N stamps and for receipts. Trio's own clock is for I/O
time-outs only. Everything below the floor ACTS takes both as numbers.
"""

from __future__ import annotations

import time


def boottime_ns() -> int:
    """CLOCK_BOOTTIME, nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def wall_ns() -> int:
    """The wall clock (UTC), nanoseconds since 1970."""
    return time.time_ns()


def wall_seconds() -> float:
    """The wall clock (UTC), seconds since 1970."""
    return time.time()
