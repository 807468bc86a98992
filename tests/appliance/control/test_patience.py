"""An answer in time while the store's thread hangs, and what becomes of what was in doubt."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from appliance.control import patience
from appliance.control.errors import SessionNotFound, StorageUnavailable
from appliance.control.patience import Patience
from appliance.store import writer
from tests.appliance.control.fakes import Exit, key
from tests.appliance.control.test_creating import assert_nothing_left, execute


class Held:
    """A store whose thread hangs at the end of the next transaction, just before it is committed."""

    def __init__(self, node, monkeypatch):
        self.begun, self.go = threading.Event(), threading.Event()
        commit = node.store._writer._commit

        def held(group):
            self.begun.set()
            self.go.wait(20)
            return commit(group)

        monkeypatch.setattr(node.store._writer, "_commit", held)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(writer, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.4)


def patient(monkeypatch):
    """Everybody waits again, for what is to be answered."""
    monkeypatch.setattr(writer, "PATIENCE_SECONDS", 20)
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 30)


async def test_a_create_in_doubt_is_refused_in_time_and_ended_when_it_was_made_after_all(
    tmp_path, short, monkeypatch
):
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        account = await node.account()
        nursery.start_soon(node.control.run)
        await trio.testing.wait_all_tasks_blocked()
        held = Held(node, monkeypatch)
        with trio.fail_after(5):
            for number in range(3):  # one is begun, the others are refused before
                with pytest.raises(StorageUnavailable):
                    await node.control.create_session(account, "local", key(number + 1))
        # Of the refused ones nothing is left; the lease, slot and peer of the one in doubt are kept.
        assert (len(node.plane.peers), len(node.slots.bound())) == (1, 1)
        patient(monkeypatch)
        held.go.set()
        with trio.fail_after(5):
            while node.plane.peers:  # noqa: ASYNC110 - nobody tells a client that has left
                await trio.sleep(0.01)
            await trio.testing.wait_all_tasks_blocked(0.05)
        assert_nothing_left(node)
        assert execute(node, "SELECT terminated_reason FROM sessions") == [("client_closed",)]
        await node.create(account, key(1))
        nursery.cancel_scope.cancel()


async def test_a_token_in_doubt_is_revoked_when_it_was_made_after_all(tmp_path, short, monkeypatch):
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.control.run)
        await trio.testing.wait_all_tasks_blocked()
        held = Held(node, monkeypatch)
        with trio.fail_after(5), pytest.raises(StorageUnavailable):
            await node.control.create_token(1_000_000)
        assert await node.control.list_tokens() == []
        patient(monkeypatch)
        held.go.set()
        with trio.fail_after(5):
            while not any(view.revoked for view in await node.control.list_tokens()):  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert [view.revoked for view in await node.control.list_tokens()] == [True]
        assert execute(node, "SELECT count(*) FROM tokens WHERE revoked_at_ns IS NOT NULL") == [(1,)]
        nursery.cancel_scope.cancel()


async def test_an_end_in_doubt_is_refused_in_time_and_done_when_the_store_is_back(
    tmp_path, short, monkeypatch
):
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        account = await node.account()
        first, _, _ = await node.create(account, key(1))
        second, _, _ = await node.create(account, key(2))
        nursery.start_soon(node.control.run)
        await trio.testing.wait_all_tasks_blocked()
        held = Held(node, monkeypatch)
        with trio.fail_after(5):
            for session in (first, second):
                with pytest.raises(StorageUnavailable):
                    await node.control.end_session(account, session, "client_closed")
        # The second was not begun: it lives on, with its peer.
        assert [row.id for row in await node.control.list_sessions()] == [first, second]
        assert len(node.plane.peers) == 1
        patient(monkeypatch)
        held.go.set()
        with trio.fail_after(5):
            while len(await node.control.list_sessions()) == 2:  # noqa: ASYNC110 - as above
                await trio.sleep(0.01)
        view = await node.control.end_session(account, first, "client_closed")
        assert view.terminated_at is not None
        nursery.cancel_scope.cancel()
    assert len(node.plane.peers) == 1


async def test_who_hangs_up_is_waited_for_until_it_is_decided(tmp_path):
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        account = await node.account()
        nursery.start_soon(node.control.run)
        node.plane.gate = trio.Event()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as client:
                client.start_soon(node.control.create_session, account, "local", key(1))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                node.plane.gate.set()
        assert_nothing_left(node)
        nursery.cancel_scope.cancel()


async def test_failures_are_those_of_the_change(tmp_path):
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        account = await node.account()
        nursery.start_soon(node.control.run)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(SessionNotFound):
            await node.control.end_session(account, "tb_nobody", "client_closed")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("failure", [RuntimeError("a bug"), StorageUnavailable()])
async def test_a_bug_after_the_caller_has_left_is_in_the_log(failure, caplog, autojump_clock):
    asked, go = Patience(), trio.Event()

    async def change():
        with trio.CancelScope(shield=True):
            await go.wait()
        raise failure

    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.run)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(StorageUnavailable):
            await asked.with_(change)
        go.set()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    said = ["a change failed after its caller had left"] if isinstance(failure, RuntimeError) else []
    assert [record.message for record in caplog.records] == said


async def test_a_change_that_is_cancelled_with_everything_says_so(autojump_clock):
    asked = Patience()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(_expect_unavailable, asked)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await asked.with_(_seven) == 7  # nobody runs them any more: where they are asked for


async def _expect_unavailable(asked):
    with trio.CancelScope(shield=True), pytest.raises(StorageUnavailable):
        await asked.with_(trio.sleep_forever)


async def _seven():
    return 7
