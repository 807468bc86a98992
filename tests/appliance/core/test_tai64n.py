from hypothesis import given
from hypothesis import strategies as st

from appliance.core.tai64n import TICKS_PER_SECOND, TickFloor, encode, next_tick, wall_tick

WALL_NS = st.integers(0, 2**62)


def cut(stamp: bytes) -> tuple[int, int]:
    return int.from_bytes(stamp[:8], "big"), int.from_bytes(stamp[8:], "big")


def test_a_known_stamp():
    # 2^62 + 10 + seconds, as the kernel writes it; 0.5 s is 29 whole ticks of 2^24 ns.
    stamp = encode(wall_tick(1_700_000_000_500_000_000))
    assert stamp.hex() == "400000006553f10a" + f"{29 << 24:08x}"


@given(WALL_NS)
def test_stamps_are_whitened_and_never_ahead_of_the_clock(wall_ns):
    seconds, nanoseconds = cut(encode(wall_tick(wall_ns)))
    assert seconds == 0x400000000000000A + wall_ns // 10**9
    assert nanoseconds % 2**24 == 0
    assert 0 <= wall_ns % 10**9 - nanoseconds < 2**24


@given(WALL_NS, WALL_NS)
def test_stamps_sort_like_time(one_ns, other_ns):
    one, other = wall_tick(one_ns), wall_tick(other_ns)
    assert (one < other) == (encode(one) < encode(other))
    assert one <= other if one_ns <= other_ns else one >= other


@given(st.lists(WALL_NS, min_size=2, max_size=50))
def test_whatever_the_clock_does_each_stamp_is_newer(readings):
    sent = 0
    stamps = []
    for wall_ns in readings:
        sent = next_tick(wall_ns, sent)
        stamps.append(encode(sent))
    assert stamps == sorted(set(stamps))


def test_one_tick_more_carries_into_the_seconds():
    last = wall_tick(2 * 10**9 - 1)
    assert cut(encode(last))[1] == (TICKS_PER_SECOND - 1) << 24 < 10**9
    assert cut(encode(last + 1)) == (0x400000000000000A + 2, 0)


def test_the_wall_clock_wins_when_it_is_ahead():
    assert next_tick(5 * 10**9, 7, 3) == wall_tick(5 * 10**9)
    assert next_tick(0, 7, 9) == 10


def test_a_floor_only_rises():
    floor = TickFloor()
    for tick in (5, 3, 8, 1):
        floor.raise_to(tick)
    assert floor.tick == 8
