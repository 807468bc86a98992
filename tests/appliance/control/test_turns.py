"""Turns: one at a time per key, all keys at once, nothing left over."""

from __future__ import annotations

import trio
import trio.testing

from appliance.control.turns import Turns


async def test_one_at_a_time_per_key(autojump_clock):
    turns, inside, most = Turns(), {b"a": 0, b"b": 0}, {b"a": 0, b"b": 0}

    async def one(key: bytes) -> None:
        async with turns.of(key):
            inside[key] += 1
            most[key] = max(most[key], inside[key])
            await trio.sleep(1)
            inside[key] -= 1

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(one, b"a")
            nursery.start_soon(one, b"b")
    assert most == {b"a": 1, b"b": 1}
    assert trio.current_time() - began == 5
    assert turns._locks == {}


async def test_whoever_gives_up_waiting_leaves_no_trace(autojump_clock):
    turns = Turns()

    async def hold() -> None:
        async with turns.of(b"a"):
            await trio.sleep(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            async with turns.of(b"a"):
                raise AssertionError
        assert scope.cancelled_caught
    assert turns._locks == {}
