"""Ending a session: the order of its steps, what it answers again, and what happens when a step fails."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Address

import pytest
import trio
import trio.testing

from appliance.control.errors import PeerApplyFailed, StorageUnavailable
from tests.appliance.control.fakes import Exit, key
from tests.appliance.control.test_creating import assert_nothing_left, execute


async def test_the_end_is_told_again_and_again_to_the_last_byte(tmp_path, virtual_time):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, address = await node.create(account, key(1))
        await node.create(account, key(2))
        node.plane.count(key(1), 5000, 300)
        await trio.sleep(90)
        view = await node.control.end_session(account, session, "client_closed")
        assert (view.bytes_in, view.bytes_out, view.terminated_reason) == (5000, 300, "client_closed")
        assert view.terminated_at == view.created_at + timedelta(seconds=90)
        assert (view.quota_bytes_used, view.quota_seconds_used) == (5300, 180)
        assert (view.quota_bytes_limit, view.quota_seconds_limit) == (0, 0)
        # The account goes on using, and this session's answer stays as it was.
        node.plane.count(key(2), 1_000_000, 0)
        await trio.sleep(3600)
        assert await node.control.end_session(account, session, "client_closed") == view
        assert await node.control.end_session(None, session, "admin") == view
        assert await node.control.session(account, session) == view
        assert node.flows.forgotten == [address]
        node.stop()
        later = await node.again().start()
        assert await later.control.session(account, session) == view
        later.stop()


async def test_bytes_up_to_the_removal_are_counted(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        node.plane.on_remove = lambda public_key: node.plane.count(public_key, 11, 22)
        view = await node.control.end_session(account, session, "client_closed")
        assert (view.bytes_in, view.bytes_out, view.quota_bytes_used) == (11, 22, 33)
        assert (await node.control.usage(account)).bytes_used == 33


async def test_many_ends_at_once_are_one(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        views = []

        async def end(reason: str) -> None:
            views.append(await node.control.end_session(account, session, reason))

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(end, f"reason {number}")
        assert len(set(views)) == 1
        assert len(views) == 10
        assert len(node.flows.forgotten) == 1
        assert_nothing_left(node)


async def test_connections_that_cannot_be_forgotten_do_not_stop_an_end(tmp_path, caplog):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        node.flows.failure = OSError("netlink")
        await node.control.end_session(account, session, "client_closed")
        assert_nothing_left(node)
        assert "connections of a freed address were not forgotten" in caplog.text
        assert "10.101.0.2" not in caplog.text


async def test_an_end_that_cannot_be_written_leaves_the_session_alive(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, address = await node.create(account, key(1))
        node.plane.count(key(1), 10, 0)
        execute(node, "CREATE TRIGGER full BEFORE UPDATE ON sessions BEGIN SELECT RAISE(ABORT, 'full'); END")
        with pytest.raises(StorageUnavailable):
            await node.control.end_session(account, session, "client_closed")
        execute(node, "DROP TRIGGER full")
        assert_nothing_left(node, live=1)
        node.plane.count(key(1), 5, 0)
        assert node.plane.peers[key(1)][0] == address
        view = await node.control.end_session(account, session, "client_closed")
        assert (view.bytes_in, view.quota_bytes_used) == (15, 15)
        assert_nothing_left(node)


async def test_a_peer_that_cannot_be_removed_is_not_called_ended(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        node.plane.fail_remove = [OSError("stuck")]
        with pytest.raises(PeerApplyFailed):
            await node.control.end_session(account, session, "client_closed")
        assert (await node.control.session(account, session)).terminated_at is None
        await node.control.end_session(account, session, "client_closed")
        assert_nothing_left(node)


async def test_a_client_that_hangs_up_during_an_end(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        with trio.CancelScope() as scope:
            scope.cancel()
            await node.control.end_session(account, session, "client_closed")
        assert scope.cancelled_caught
        assert_nothing_left(node)


async def test_an_address_is_lent_again_only_when_its_connections_are_forgotten(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        made = [await node.create(account) for _ in range(253)]
        for session, _, _ in made[:3]:
            await node.control.end_session(account, session, "client_closed")
        expected = [address for _, _, address in made[:3]]
        assert node.flows.forgotten == expected
        assert [(await node.create(account))[2] for _ in range(3)] == expected
        assert expected[0] == IPv4Address("10.101.0.2")
