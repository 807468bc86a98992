"""The arithmetic of money: the only place where bytes and seconds are added or subtracted.

Whole numbers, no clock, no I/O: `control` reads the counters and the clocks, calls here, and writes
down what comes back in one transaction.

Bytes. The data plane only ever adds to a session's counters. What the ledger keeps for each
(session, generation) is the *cumulative value already charged*, so charging is "raise to the value read,
charge the difference". Reading the same value twice, or an older value after a newer one, charges
nothing; a counter file that is older than the ledger (power loss) charges nothing until the counters
pass what was charged, and is never taken for a counter that began again. A counter that really begins
again at 0 comes with a new generation.

Seconds. A live session uses one second per second, so nothing has to be written down while it lives:
what the ledger keeps is the seconds of ended sessions, and the live ones are added when somebody asks.

Windows. Both quotas count in tumbling windows, 7 days for bytes and 24 hours for seconds, anchored at
the account's first use: making a session opens both. When a window's end has passed, its counter is 0
and it waits for the next use to anchor it anew; only the seconds window, while a session is live, is in
use without a break and goes on at once, by whole lengths. So a session that crosses the roll-over has only
its later part in the new window. Bytes belong to the window in which they were read.

A prepaid account has one window for each that never ends: what it paid for is used up once, and nothing
that a wall clock does gives any of it back.

A quota of bytes is enforced in the data plane, which gets it as a *purse*: so many bytes that all sessions
of the account spend from. It is made with what is left at that moment, while nothing counts; from then on
what is billed and what is left always add up to the limit, so the purse needs no second look. A packet
that does not fit shuts it, with less than that packet left: then the account is spent, though not every
byte was used.

Window times are wall-clock times, because they must survive restarts. Should the wall clock be set
back behind the start of a window, the window starts now and keeps its counter: no window ever lasts
longer than its length from now. Ages of sessions come from a clock that does not step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

NS_PER_SECOND: Final = 1_000_000_000
_DAY_NS: Final = 86_400 * NS_PER_SECOND

BYTES_WINDOW_NS: Final = 7 * _DAY_NS
SECONDS_WINDOW_NS: Final = 1 * _DAY_NS
SESSION_LIFETIME_NS: Final = 30 * _DAY_NS

# When a window resets that never does: the last second that the API's times can tell.
NEVER_NS: Final = 253_402_300_799 * NS_PER_SECOND
# So many bytes fit a column of the database.
MOST_PREPAID_BYTES: Final = 2**63 - 1


@dataclass(frozen=True)
class Limits:
    """What a tier may use; 0 means no limit."""

    window_bytes: int
    window_seconds: int
    session_seconds: int


LIMITS: Final = {"paid": Limits(window_bytes=0, window_seconds=0, session_seconds=0)}


def limits_of(tier: str, prepaid_bytes: int | None) -> Limits:
    """What an account may use: what it paid for in advance, or what its tier allows."""
    return LIMITS[tier] if prepaid_bytes is None else Limits(prepaid_bytes, 0, 0)


@dataclass(frozen=True)
class Purse:
    """From what an account's sessions pay in the data plane, and what is in it when it is made."""

    account_id: str
    left_bytes: int


@dataclass(frozen=True)
class Counts:
    """Bytes of one session: `bytes_in` toward the client, `bytes_out` from it."""

    bytes_in: int = 0
    bytes_out: int = 0

    @property
    def total_bytes(self) -> int:
        return self.bytes_in + self.bytes_out

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.bytes_in + other.bytes_in, self.bytes_out + other.bytes_out)

    def covers(self, other: Counts) -> bool:
        """Whether every counter of `other` is reached here."""
        return self.bytes_in >= other.bytes_in and self.bytes_out >= other.bytes_out


def settle(settled: Counts, reading: Counts) -> tuple[Counts, int]:
    """Charge a session up to `reading`: the new settled value, and the bytes to charge its account."""
    raised = Counts(
        max(settled.bytes_in, reading.bytes_in), max(settled.bytes_out, reading.bytes_out)
    )
    return raised, raised.total_bytes - settled.total_bytes


@dataclass(frozen=True)
class Window:
    """One quota window: since when it runs (None: until the next use it does not) and what was used."""

    start_ns: int | None = None
    used: int = 0

    def rolled(self, now_ns: int, length_ns: int | None, *, in_use: bool) -> Window:
        """The window as it stands at `now_ns`; `in_use` says that use never paused since its start.

        One without a length never ends.
        """
        if self.start_ns is None or length_ns is None:
            return self
        if now_ns < self.start_ns:
            return replace(self, start_ns=now_ns)
        lengths = (now_ns - self.start_ns) // length_ns
        if lengths == 0:
            return self
        return Window(self.start_ns + lengths * length_ns if in_use else None)

    def plus(self, amount: int, now_ns: int) -> Window:
        """Count `amount` (this window has been rolled to `now_ns`); use anchors an idle window."""
        if amount == 0:
            return self
        return Window(now_ns if self.start_ns is None else self.start_ns, self.used + amount)

    def overlap_seconds(self, age_ns: int, now_ns: int) -> int:
        """Whole seconds that a session of this age has spent inside this window."""
        if self.start_ns is None:
            return 0
        return min(age_ns, max(0, now_ns - self.start_ns)) // NS_PER_SECOND


@dataclass(frozen=True)
class Windows:
    """The two quota windows of an account; `resets` False for one that paid in advance."""

    traffic: Window = Window()
    time: Window = Window()
    resets: bool = True

    @property
    def _bytes_length_ns(self) -> int | None:
        return BYTES_WINDOW_NS if self.resets else None

    @property
    def _seconds_length_ns(self) -> int | None:
        return SECONDS_WINDOW_NS if self.resets else None

    def rolled(self, now_ns: int, *, live: bool) -> Windows:
        """As they stand at `now_ns`; `live` says whether the account has a live session."""
        traffic = self.traffic.rolled(now_ns, self._bytes_length_ns, in_use=False)
        time = self.time.rolled(now_ns, self._seconds_length_ns, in_use=live)
        if traffic is self.traffic and time is self.time:
            return self  # the common case, with each status
        return replace(self, traffic=traffic, time=time)

    def session_began(self, now_ns: int, *, live: bool) -> Windows:
        """A session is made; `live` tells of the account's other sessions."""
        now = self.rolled(now_ns, live=live)
        return replace(self, traffic=_anchored(now.traffic, now_ns), time=_anchored(now.time, now_ns))

    def bytes_settled(self, charge_bytes: int, now_ns: int) -> Windows:
        traffic = self.traffic.rolled(now_ns, self._bytes_length_ns, in_use=False)
        return replace(self, traffic=traffic.plus(charge_bytes, now_ns))

    def session_ended(self, age_ns: int, now_ns: int) -> Windows:
        """A session of this age ends now: its seconds in the present window are charged."""
        time = self.time.rolled(now_ns, self._seconds_length_ns, in_use=True)
        return replace(self, time=time.plus(self.seconds_of(time, age_ns, now_ns), now_ns))

    def seconds_of(self, time: Window, age_ns: int, now_ns: int) -> int:
        """Whole seconds that a session of this age has spent inside the window `time` of this account."""
        return time.overlap_seconds(age_ns, now_ns) if self.resets else age_ns // NS_PER_SECOND

    def bytes_left(self, limits: Limits, unsettled_bytes: int, now_ns: int) -> int:
        """What an account with a limit of bytes may still be billed."""
        traffic = self.traffic.rolled(now_ns, self._bytes_length_ns, in_use=False)
        return max(0, limits.window_bytes - traffic.used - unsettled_bytes)


@dataclass(frozen=True)
class Usage:
    """What an account has used, as it is told."""

    bytes_used: int
    seconds_used: int
    bytes_reset_ns: int
    seconds_reset_ns: int


def usage(
    windows: Windows, limits: Limits, unsettled_bytes: int, ages_ns: Iterable[int], now_ns: int
) -> Usage:
    """Sum an account: what is written down, its live sessions' uncharged bytes, and their ages."""
    ages = tuple(ages_ns)
    now = windows.rolled(now_ns, live=bool(ages))
    traffic = now.traffic.plus(unsettled_bytes, now_ns)
    seconds = now.time.used + sum(now.seconds_of(now.time, age_ns, now_ns) for age_ns in ages)
    return Usage(
        bytes_used=_reported(traffic.used, limits.window_bytes),
        seconds_used=_reported(seconds, limits.window_seconds),
        bytes_reset_ns=_reset_ns(traffic, now_ns, BYTES_WINDOW_NS) if now.resets else NEVER_NS,
        seconds_reset_ns=_reset_ns(now.time, now_ns, SECONDS_WINDOW_NS) if now.resets else NEVER_NS,
    )


def _anchored(window: Window, now_ns: int) -> Window:
    return replace(window, start_ns=now_ns) if window.start_ns is None else window


def _reported(used: int, limit: int) -> int:
    """Nobody is told of more than the limit: the last packet before the cut is not the client's affair."""
    return min(used, limit) if limit else used


def _reset_ns(window: Window, now_ns: int, length_ns: int) -> int:
    return (now_ns if window.start_ns is None else window.start_ns) + length_ns
