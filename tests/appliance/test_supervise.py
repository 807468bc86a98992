"""A part that fails is started again, ever later, and its end by itself is an end."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing

from appliance.supervise import keep_running


async def test_failures_are_followed_by_growing_delays(autojump_clock: trio.testing.MockClock) -> None:
    starts: list[float] = []

    async def part() -> None:
        starts.append(trio.current_time())
        if len(starts) < 9:
            raise RuntimeError("no luck")

    with trio.fail_after(1000):
        await keep_running("part", part)
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert gaps == [0.5, 1, 2, 4, 8, 16, 30, 30]


async def test_a_long_steady_run_resets_the_delay(autojump_clock: trio.testing.MockClock) -> None:
    ends: list[float] = []
    starts: list[float] = []

    async def part() -> None:
        starts.append(trio.current_time())
        if len(starts) == 3:
            return
        await trio.sleep(100)
        ends.append(trio.current_time())
        raise BaseExceptionGroup("nested", [RuntimeError("after a while")])

    await keep_running("part", part)
    assert [start - end for start, end in zip(starts[1:], ends, strict=True)] == [0.5, 0.5]


async def test_cancellation_is_no_failure(autojump_clock: trio.testing.MockClock) -> None:
    starts = 0

    async def part() -> None:
        nonlocal starts
        starts += 1
        await trio.sleep_forever()

    with trio.move_on_after(5):
        await keep_running("part", part)
    assert starts == 1


async def test_what_ends_the_program_is_not_swallowed() -> None:
    async def part() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await keep_running("part", part)
