"""What an account is told of its use: the same as its sessions are told, at the same moment."""

from __future__ import annotations

from datetime import timedelta

import trio

from tests.appliance.control.fakes import DAY_SECONDS, Exit, key


async def test_usage_and_status_agree(tmp_path, virtual_time):
    async with Exit(tmp_path) as node:
        account, other = await node.account(), await node.account()
        sessions = [(await node.create(account, key(number)))[0] for number in range(2)]
        await node.create(other, key(9))
        node.plane.count(key(9), 10**6, 0)
        node.plane.count(key(0), 100, 1)
        await trio.sleep(100)
        await node.control.settle()
        node.plane.count(key(1), 200, 2)
        usage = await node.control.usage(account)
        assert (usage.tier, usage.bytes_limit, usage.session_seconds_limit) == ("paid", 0, 0)
        assert usage.max_session_seconds == 0
        assert (usage.bytes_used, usage.session_seconds) == (303, 200)
        for session in sessions:
            view = await node.control.session(account, session)
            assert (view.quota_bytes_used, view.quota_seconds_used) == (303, 200)
        assert usage.bytes_window_resets_at == view.created_at + timedelta(days=7)
        assert usage.seconds_window_resets_at == view.created_at + timedelta(days=1)


async def test_a_fresh_account_reports_windows_from_now(tmp_path, virtual_time):
    async with Exit(tmp_path) as node:
        usage = await node.control.usage(await node.account())
        assert (usage.bytes_used, usage.session_seconds) == (0, 0)
        assert usage.bytes_window_resets_at - usage.seconds_window_resets_at == timedelta(days=6)


async def test_windows_roll_over_while_a_session_lives_and_across_restarts(tmp_path, virtual_time):
    async with Exit(tmp_path) as node:
        account = await node.account()
        await node.create(account, key(1))
        node.plane.count(key(1), 50, 0)
        await node.control.settle()
        await trio.sleep(DAY_SECONDS - 1)
        assert (await node.control.usage(account)).session_seconds == DAY_SECONDS - 1
        await trio.sleep(1)
        assert (await node.control.usage(account)).session_seconds == 0
        await trio.sleep(30)
        usage = await node.control.usage(account)
        assert (usage.bytes_used, usage.session_seconds) == (50, 30)
    async with node.again() as node:
        await trio.sleep(6 * DAY_SECONDS - 30)
        usage = await node.control.usage(account)
        assert (usage.bytes_used, usage.session_seconds) == (0, 0)


async def test_a_step_of_the_wall_clock_adds_no_seconds(tmp_path, virtual_time):
    async with Exit(tmp_path) as node:
        account = await node.account()
        await node.create(account, key(1))
        await trio.sleep(10)
        node.wall_offset_seconds += 3600
        assert (await node.control.usage(account)).session_seconds == 10
