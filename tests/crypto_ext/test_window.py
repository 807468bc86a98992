"""window.c against a set of numbers, and the edges that the kernel's own counter selftest walks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext import leaf

BEHIND = 8128
LIMIT = BEHIND + 1
REJECT = 2**64 - 1 - BEHIND - 1


class Window:
    def __init__(self):
        self.ffi, self.lib = leaf.load()
        self.state = self.ffi.new("struct sp_window *")

    def accept(self, counter: int) -> bool:
        return bool(self.lib.sp_window_accept(self.state, counter))


class DumbWindow:
    def __init__(self):
        self.seen: set[int] = set()

    def accept(self, counter: int) -> bool:
        if counter >= REJECT or counter in self.seen or counter + BEHIND < max(self.seen, default=0):
            return False
        self.seen.add(counter)
        return True


def walk(*steps: tuple[int, bool]) -> None:
    window = Window()
    for number, (counter, expected) in enumerate(steps):
        assert window.accept(counter) is expected, (number, counter)


def test_first_counters():
    walk((0, True), (1, True), (1, False), (9, True), (8, True), (7, True), (7, False), (0, False))


def test_edges_of_the_window():
    walk(
        (LIMIT, True), (LIMIT - 1, True), (LIMIT - 1, False), (LIMIT - 2, True), (2, True), (2, False),
        (LIMIT + 16, True), (3, False), (LIMIT + 16, False), (LIMIT * 4, True),
        (LIMIT * 4 - BEHIND, True), (10, False), (LIMIT * 4 - LIMIT, False), (LIMIT * 4 - LIMIT - 1, False),
        (LIMIT * 4 - LIMIT + 2, True), (LIMIT * 4 + 1 - LIMIT, False), (0, False),
    )  # fmt: skip


def test_exactly_8128_behind_is_accepted_and_8129_is_not():
    for greatest in (8128, 8129, 8191, 8192, 8193, 123456):
        walk((greatest, True), (greatest - 8128, True), (greatest - 8128, False))
        walk((greatest, True), *([(greatest - 8129, False)] if greatest >= 8129 else []))


def test_the_reject_limit():
    walk(
        (REJECT, False), (REJECT - 1, True), (REJECT, False), (REJECT - 1, False), (REJECT - 2, True),
        (REJECT + 1, False), (REJECT + 2, False), (2**64 - 1, False), (REJECT - 3, True), (0, False),
    )  # fmt: skip


def test_a_refused_counter_changes_nothing():
    window = Window()
    window.accept(5)
    for counter in (5, REJECT, 2**64 - 1):
        before = bytes(window.ffi.buffer(window.state))
        assert not window.accept(counter)
        assert bytes(window.ffi.buffer(window.state)) == before


def test_whole_windows_up_and_down():
    walk(*((i, True) for i in range(1, BEHIND + 1)), (0, True), (0, False))
    walk(*((i, True) for i in range(2, BEHIND + 2)), (1, True), (0, False))
    walk(*((i, True) for i in range(BEHIND, -1, -1)))
    walk(*((i, True) for i in range(BEHIND + 1, 0, -1)), (0, False))
    walk(*((i, True) for i in range(BEHIND, 0, -1)), (BEHIND + 1, True), (0, False))
    walk(*((i, True) for i in range(BEHIND, 0, -1)), (0, True), (BEHIND + 1, True))


# Mostly small steps about the greatest so far, some at the edges, some anywhere.
STEP = st.one_of(
    st.integers(-70, 70),
    st.sampled_from([-BEHIND - 2, -BEHIND - 1, -BEHIND, -BEHIND + 1, -64, 63, 64, 65, 8192, 8193, 20000]),
    st.integers(-9000, 9000),
)


@given(
    start=st.one_of(st.just(0), st.integers(0, 20000), st.integers(0, 2**64 - 1), st.just(REJECT - 5000)),
    steps=st.lists(STEP, max_size=300),
)
def test_race_with_a_set(start, steps):
    window, dumb = Window(), DumbWindow()
    for step in (0, *steps):
        counter = (max(dumb.seen, default=start) + step) % 2**64
        assert window.accept(counter) == dumb.accept(counter), counter


@given(st.lists(st.integers(0, 300), max_size=400))
def test_race_with_a_set_near_zero(counters):
    window, dumb = Window(), DumbWindow()
    for counter in counters:
        assert window.accept(counter) == dumb.accept(counter), counter
