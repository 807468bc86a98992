"""Sessions end 30 days after they were made, whatever the wall clock does meanwhile."""

from __future__ import annotations

import pytest
import trio

from tests.appliance.control.fakes import DAY_SECONDS, Exit, key
from tests.appliance.control.test_creating import assert_nothing_left


async def test_each_at_its_time(tmp_path, virtual_time):
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.control.run)
        await trio.sleep(1)
        account = await node.account()
        first, _, _ = await node.create(account, key(1))
        await trio.sleep(DAY_SECONDS)
        second, _, _ = await node.create(account, key(2))
        await trio.sleep(29 * DAY_SECONDS - 1)
        assert (await node.control.session(account, first)).terminated_at is None
        await trio.sleep(2)
        view = await node.control.session(account, first)
        assert view.terminated_reason == "expired"
        assert (view.terminated_at - view.created_at).total_seconds() == 30 * DAY_SECONDS
        assert (await node.control.session(account, second)).terminated_at is None
        await trio.sleep(DAY_SECONDS)
        assert (await node.control.session(account, second)).terminated_reason == "expired"
        assert_nothing_left(node)
        nursery.cancel_scope.cancel()


async def test_a_step_of_the_wall_clock_ends_nobody(tmp_path, virtual_time):
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.control.run)
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        node.wall_offset_seconds += 400 * DAY_SECONDS
        await trio.sleep(29 * DAY_SECONDS)
        assert (await node.control.session(account, session)).terminated_at is None
        await trio.sleep(DAY_SECONDS + 1)
        assert (await node.control.session(account, session)).terminated_reason == "expired"
        nursery.cancel_scope.cancel()


async def test_an_end_that_fails_is_tried_again(tmp_path, virtual_time, caplog):
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.control.run)
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        node.plane.fail_remove = [OSError("stuck"), OSError("stuck")]
        await trio.sleep(30 * DAY_SECONDS + 5)
        assert (await node.control.session(account, session)).terminated_at is None
        await trio.sleep(20)
        assert (await node.control.session(account, session)).terminated_reason == "expired"
        assert caplog.text.count("trying again") == 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["same boot", "reboot", "a year forwards", "a year back", "twice"])
async def test_a_restart_keeps_the_time(tmp_path, virtual_time, how):
    """Within one boot the wall clock may do what it likes, while the program runs and while it does not."""
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
    node = node.again()
    node.pass_time(20 * DAY_SECONDS)
    if how == "reboot":
        node.reboot()
    elif how == "twice":  # the second time the slot is older than the boot
        node.reboot()
        (await node.start()).stop()
        node = node.again()
        node.wall_offset_seconds += 400 * DAY_SECONDS
    elif how != "same boot":
        node.wall_offset_seconds += (400 if how == "a year forwards" else -400) * DAY_SECONDS
    async with node, trio.open_nursery() as nursery:
        nursery.start_soon(node.control.run)
        await trio.sleep(10 * DAY_SECONDS - 1)
        assert (await node.control.session(account, session)).terminated_at is None
        await trio.sleep(2)
        assert (await node.control.session(account, session)).terminated_reason == "expired"
        nursery.cancel_scope.cancel()


async def test_the_last_session_may_go_before_the_timer_looks(tmp_path, virtual_time):
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.control.run)
        account = await node.account()
        for number in range(3):
            session, _, _ = await node.create(account, key(number))
            await node.control.end_session(account, session, "client_closed")
        await trio.sleep(31 * DAY_SECONDS)
        assert await node.control.list_sessions() == []
        nursery.cancel_scope.cancel()
