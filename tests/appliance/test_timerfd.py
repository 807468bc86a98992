"""The CLOCK_BOOTTIME timer: it fires after its deadline, not before, and can be moved while waited for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio

from appliance.clock import boottime_ns
from appliance.timerfd import BoottimeTimer


@pytest.fixture
def timer() -> Iterator[BoottimeTimer]:
    timer = BoottimeTimer()
    yield timer
    timer.close()


async def test_fires_not_before_its_deadline(timer: BoottimeTimer) -> None:
    deadline = boottime_ns() + 20_000_000
    timer.arm(deadline)
    with trio.fail_after(10):
        await timer.wait()
    assert boottime_ns() >= deadline


async def test_a_past_deadline_fires_at_once(timer: BoottimeTimer) -> None:
    timer.arm(0)
    with trio.fail_after(10):
        await timer.wait()


async def test_moving_it_earlier_wakes_the_waiter(timer: BoottimeTimer, nursery: trio.Nursery) -> None:
    timer.arm(boottime_ns() + 3_600_000_000_000)
    done = trio.Event()

    async def waiter() -> None:
        await timer.wait()
        done.set()

    nursery.start_soon(waiter)
    await trio.testing.wait_all_tasks_blocked()
    timer.arm(boottime_ns())
    with trio.fail_after(10):
        await done.wait()


async def test_disarmed_it_does_not_fire(timer: BoottimeTimer) -> None:
    timer.arm(boottime_ns() + 10_000_000)
    timer.arm(None)
    with trio.move_on_after(0.05) as scope:
        await timer.wait()
    assert scope.cancelled_caught
