"""Accounting against a model that counts second by second and byte by byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.core.accounting import (
    BYTES_WINDOW_NS,
    LIMITS,
    MOST_PREPAID_BYTES,
    NEVER_NS,
    NS_PER_SECOND,
    SECONDS_WINDOW_NS,
    Counts,
    Limits,
    Window,
    Windows,
    limits_of,
    settle,
    usage,
)

NO_LIMITS = LIMITS["paid"]
DAY = 86_400
counts = st.builds(Counts, st.integers(0, 2**63), st.integers(0, 2**63))


def seconds(n: int) -> int:
    return n * NS_PER_SECOND


# ---- settling


@given(st.lists(counts, max_size=20))
def test_settling_charges_each_byte_once_whatever_the_order(readings):
    settled, charged = Counts(), 0
    for reading in readings:
        before = settled
        settled, charge = settle(settled, reading)
        assert charge >= 0
        assert settled.covers(before)
        assert settled.covers(reading)
        assert settle(settled, reading) == (settled, 0)
        charged += charge
    assert charged == max((r.bytes_in for r in readings), default=0) + max(
        (r.bytes_out for r in readings), default=0
    )


def test_counters_that_went_back_are_no_reset():
    settled, charge = settle(Counts(100, 10), Counts(40, 10))
    assert (settled, charge) == (Counts(100, 10), 0)
    assert settle(settled, Counts(101, 12)) == (Counts(101, 12), 3)


def test_counts_add():
    assert Counts(1, 2) + Counts(10, 20) == Counts(11, 22)
    assert (Counts(1, 2).total_bytes, Counts(2, 2).covers(Counts(1, 2))) == (3, True)
    assert not Counts(2, 1).covers(Counts(1, 2))


# ---- windows: races against the dumb model


class Dumb:
    """An account, second by second. `live` holds the start of each live session."""

    def __init__(self) -> None:
        self.now = 0
        self.live: list[int] = []
        self.time_start: int | None = None
        self.time_used = 0
        self.traffic_start: int | None = None
        self.traffic_used = 0

    def _roll(self) -> None:
        if self.time_start is not None and self.now >= self.time_start + DAY:
            self.time_start, self.time_used = (self.now if self.live else None), 0
        if self.traffic_start is not None and self.now >= self.traffic_start + 7 * DAY:
            self.traffic_start, self.traffic_used = None, 0

    def wait(self, how_long: int) -> None:
        for _ in range(how_long):
            self.time_used += len(self.live)
            self.now += 1
            self._roll()

    def begin(self) -> None:
        self.live.append(self.now)
        self.time_start = self.now if self.time_start is None else self.time_start
        self.traffic_start = self.now if self.traffic_start is None else self.traffic_start

    def transfer(self, size: int) -> None:
        if size:
            self.traffic_start = self.now if self.traffic_start is None else self.traffic_start
            self.traffic_used += size


STEPS = st.one_of(
    st.tuples(st.just("wait"), st.integers(0, 100)),
    st.tuples(st.just("wait"), st.integers(0, 3 * DAY)),
    st.tuples(st.just("begin"), st.just(0)),
    st.tuples(st.just("end"), st.integers(0, 5)),
    st.tuples(st.just("bytes"), st.integers(0, 10**12)),
)


@given(st.lists(STEPS, max_size=12), st.integers(0, 10**9))
def test_windows_against_the_dumb_model(steps, epoch):
    dumb, windows = Dumb(), Windows()
    for what, number in steps:
        now_ns = seconds(epoch + dumb.now)
        if what == "wait":
            dumb.wait(number)
        elif what == "begin":
            windows = windows.session_began(now_ns, live=bool(dumb.live))
            dumb.begin()
        elif what == "end" and dumb.live:
            began = dumb.live.pop(number % len(dumb.live))
            windows = windows.session_ended(seconds(dumb.now - began), now_ns)
        elif what == "bytes":
            dumb.transfer(number)
            windows = windows.bytes_settled(number, now_ns)
        now_ns = seconds(epoch + dumb.now)
        told = usage(windows, NO_LIMITS, 0, (seconds(dumb.now - began) for began in dumb.live), now_ns)
        assert told.bytes_used == dumb.traffic_used
        assert told.seconds_used == dumb.time_used
        start = dumb.now if dumb.time_start is None else dumb.time_start
        assert told.seconds_reset_ns == seconds(epoch + start + DAY)
        start = dumb.now if dumb.traffic_start is None else dumb.traffic_start
        assert told.bytes_reset_ns == seconds(epoch + start + 7 * DAY)


# ---- prepaid: windows that never end

PREPAID = Windows(resets=False)


@given(st.lists(st.tuples(st.integers(0, 3 * BYTES_WINDOW_NS), st.integers(0, 10**12)), max_size=20))
def test_prepaid_windows_only_ever_add(steps):
    """Whatever the clock says, forwards or back."""
    windows, total = PREPAID, 0
    for now_ns, size in steps:
        windows = windows.bytes_settled(size, now_ns)
        total += size
        told = usage(windows, limits_of("free", MOST_PREPAID_BYTES), 0, (), now_ns)
        assert (told.bytes_used, told.bytes_reset_ns, told.seconds_reset_ns) == (total, NEVER_NS, NEVER_NS)
        left = windows.bytes_left(limits_of("free", 10**12), 5, now_ns)
        assert left == max(0, 10**12 - total - 5)


def test_prepaid_seconds_are_the_sessions_whole_lives():
    windows = PREPAID.session_began(seconds(100 * DAY), live=False)
    told = usage(windows, limits_of("free", 1), 0, [seconds(40 * DAY), seconds(2)], seconds(DAY))
    assert told.seconds_used == 40 * DAY + 2
    windows = windows.session_ended(seconds(40 * DAY), seconds(DAY))
    windows = windows.session_began(seconds(500 * DAY), live=False)
    assert (windows.time.used, windows.resets) == (40 * DAY, False)


def test_limits():
    assert limits_of("paid", None) == NO_LIMITS
    assert limits_of("free", 5) == Limits(window_bytes=5, window_seconds=0, session_seconds=0)
    assert PREPAID.bytes_left(Limits(5, 0, 0), 9, 0) == 0


# ---- windows: the corners by hand


def test_lengths():
    assert (seconds(7 * DAY), seconds(DAY)) == (BYTES_WINDOW_NS, SECONDS_WINDOW_NS)
    assert Limits(0, 0, 0) == NO_LIMITS


def test_full_just_before_the_roll_over_and_empty_at_it():
    windows = Windows().session_began(0, live=False).bytes_settled(500, 5)
    windows = windows.session_ended(seconds(60), seconds(60))
    before = usage(windows, NO_LIMITS, 0, (), seconds(DAY) - 1)
    assert (before.bytes_used, before.seconds_used) == (500, 60)
    after = usage(windows, NO_LIMITS, 0, (), seconds(DAY))
    assert (after.bytes_used, after.seconds_used) == (500, 0)
    assert usage(windows, NO_LIMITS, 0, (), seconds(7 * DAY) - 1).bytes_used == 500
    assert usage(windows, NO_LIMITS, 0, (), seconds(7 * DAY)).bytes_used == 0


def test_a_session_across_the_roll_over_has_its_later_part_in_the_new_window():
    windows = Windows().session_began(0, live=False)
    told = usage(windows, NO_LIMITS, 0, [seconds(3 * DAY + 100)], seconds(3 * DAY + 100))
    assert told.seconds_used == 100
    assert told.seconds_reset_ns == seconds(4 * DAY)
    assert windows.session_ended(seconds(3 * DAY + 100), seconds(3 * DAY + 100)).time.used == 100


def test_an_idle_window_is_anchored_by_the_next_use():
    windows = Windows().session_began(0, live=False).session_ended(seconds(10), seconds(10))
    later = windows.session_began(seconds(10 * DAY), live=False)
    assert later == Windows(Window(seconds(10 * DAY), 0), Window(seconds(10 * DAY), 0))


def test_a_clock_set_back_makes_no_window_longer():
    windows = Windows().session_began(seconds(100 * DAY), live=False).bytes_settled(7, seconds(100 * DAY))
    told = usage(windows, NO_LIMITS, 0, [seconds(50)], seconds(DAY))
    assert told.bytes_used == 7
    assert told.bytes_reset_ns == seconds(8 * DAY)
    assert windows.bytes_settled(1, seconds(DAY)).traffic == Window(seconds(DAY), 8)


def test_what_is_told_stops_at_the_limit():
    limits = Limits(window_bytes=1000, window_seconds=100, session_seconds=0)
    windows = Windows().session_began(0, live=False).bytes_settled(900, 0)
    told = usage(windows, limits, 300, [seconds(60), seconds(60)], seconds(60))
    assert (told.bytes_used, told.seconds_used) == (1000, 100)
    told = usage(windows, NO_LIMITS, 300, [seconds(60), seconds(60)], seconds(60))
    assert (told.bytes_used, told.seconds_used) == (1200, 120)
