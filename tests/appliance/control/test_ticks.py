"""The settle tick: armed by counted bytes, 10 seconds late, silent when nothing happens."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from appliance.control.errors import StorageUnavailable
from tests.appliance.control.fakes import Exit, key
from tests.appliance.control.test_creating import execute

SETTLED = "SELECT coalesce(sum(bytes_in + bytes_out), 0) FROM settled"


async def test_ten_seconds_after_the_first_byte(tmp_path, virtual_time):
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        account = await node.account()
        await node.create(account, key(1))
        nursery.start_soon(node.control.run)
        await trio.sleep(100)
        assert node.rearmed == 1  # armed once, and then nothing happens while nothing is counted
        node.plane.count(key(1), 10, 1)
        node.control.counted()
        await trio.sleep(9.9)
        assert execute(node, SETTLED) == [(0,)]
        node.plane.count(key(1), 20, 2)
        await trio.sleep(1)
        assert execute(node, SETTLED) == [(33,)]
        assert node.rearmed == 2
        assert execute(node, "SELECT traffic_used_bytes FROM accounts") == [(33,)]
        await trio.sleep(1000)
        assert node.rearmed == 2
        assert (await node.control.usage(account)).bytes_used == 33
        nursery.cancel_scope.cancel()


async def test_armed_before_the_counters_are_read(tmp_path, virtual_time):
    """A byte between arming and reading makes one tick too many; the other order would forget it."""
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        await node.create(await node.account(), key(1))
        nursery.start_soon(node.control.run)
        await trio.sleep(1)

        def rearm() -> None:
            node.plane.count(key(1), 100, 0)
            node.control.counted()

        node.control._state.rearm = rearm
        node.plane.count(key(1), 1, 0)
        node.control.counted()
        await trio.sleep(10.5)
        assert execute(node, SETTLED) == [(101,)]
        await trio.sleep(10)
        assert execute(node, SETTLED) == [(201,)]
        nursery.cancel_scope.cancel()


async def test_a_tick_that_cannot_be_written_is_tried_again(tmp_path, virtual_time, caplog):
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        await node.create(await node.account(), key(1))
        nursery.start_soon(node.control.run)
        execute(node, "CREATE TRIGGER full BEFORE INSERT ON settled BEGIN SELECT RAISE(ABORT, 'full'); END")
        node.plane.count(key(1), 10, 1)
        node.control.counted()
        await trio.sleep(25)
        assert "trying again" in caplog.text
        with pytest.raises(StorageUnavailable):
            await node.control.settle()
        assert (await node.control.list_sessions())[0].bytes_in == 10
        execute(node, "DROP TRIGGER full")
        await trio.sleep(10)
        assert execute(node, SETTLED) == [(11,)]
        nursery.cancel_scope.cancel()


async def test_settling_twice_charges_once(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        for number in range(250):
            await node.create(account, key(number))
        for number in range(250):
            node.plane.count(key(number), number, 1)
        expected = sum(range(250)) + 250
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(node.control.settle)
        assert execute(node, SETTLED) == [(expected,)]
        assert (await node.control.usage(account)).bytes_used == expected
