"""A create with a key happens once: repeated, at the same time, after hanging up, over a restart."""

from __future__ import annotations

import pytest
import trio

from appliance.control import idempotency
from appliance.control.errors import AnswerGone, KeyReused, QuotaExceeded, StorageUnavailable, TooManyKeys
from appliance.control.idempotency import Once
from appliance.control.views import CreatedSession
from tests.appliance.control.fakes import DAY_SECONDS, Exit, key
from tests.appliance.control.test_creating import assert_nothing_left, break_storage, execute, mend_storage

ONCE = Once("order-1", b'{"region":"local"}')


async def test_the_same_key_and_body_give_the_same_answer(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        for client_key in (None, key(1)):
            once = Once(f"order-{client_key!r}", b"{}")
            first = await node.control.create_session(account, "local", client_key, once)
            assert await node.control.create_session(account, "local", client_key, once) == first
        assert_nothing_left(node, live=2)


async def test_another_key_another_account_and_no_key_are_other_requests(tmp_path):
    async with Exit(tmp_path) as node:
        account, other = await node.account(), await node.account()
        made = [
            await node.control.create_session(account, "local", None, ONCE),
            await node.control.create_session(account, "local", None, Once("order-2", ONCE.body)),
            await node.control.create_session(other, "local", None, ONCE),
            await node.control.create_session(account, "local", None),
        ]
        assert len({each.id for each in made}) == 4


async def test_another_body_is_refused_and_changes_nothing(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        first = await node.control.create_session(account, "local", key(1), ONCE)
        with pytest.raises(KeyReused):
            await node.control.create_session(account, "nowhere", key(2), Once(ONCE.key, b"{}"))
        assert await node.control.create_session(account, "local", key(1), ONCE) == first
        assert_nothing_left(node, live=1)


async def test_repetitions_at_the_same_time_wait_for_the_first(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        node.plane.gate = trio.Event()
        answers: list[CreatedSession] = []

        async def create() -> None:
            answers.append(await node.control.create_session(account, "local", None, ONCE))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(create)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert answers == []
            node.plane.gate.set()
        assert len(answers) == 5
        assert len({answer.wg_config for answer in answers}) == 1
        assert_nothing_left(node, live=1)


async def test_a_client_that_hung_up_gets_its_answer_later(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        node.plane.gate = trio.Event()
        with trio.move_on_after(0.05) as hung_up:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_let_go, node.plane.gate)
                await node.control.create_session(account, "local", None, ONCE)
        del hung_up
        assert_nothing_left(node, live=1)
        answer = await node.control.create_session(account, "local", None, ONCE)
        assert [row.id for row in await node.control.list_sessions()] == [answer.id]
        assert "PrivateKey" in answer.wg_config


async def _let_go(gate: trio.Event) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(0.15)
        gate.set()


async def test_after_a_restart_an_answer_without_a_private_key_is_still_there(tmp_path):
    async with Exit(tmp_path) as node:
        token = (await node.control.create_token()).token
        account = await node.control.authenticate(token)
        own = await node.control.create_session(account, "local", key(1), Once("own", b"1"))
        ours = await node.control.create_session(account, "local", None, Once("ours", b"2"))
    async with node.again() as node:
        account = await node.control.authenticate(token)
        assert await node.control.create_session(account, "local", key(1), Once("own", b"1")) == own
        with pytest.raises(AnswerGone):
            await node.control.create_session(account, "local", None, Once("ours", b"2"))
        with pytest.raises(KeyReused):
            await node.control.create_session(account, "local", None, Once("ours", b"3"))
        assert len(await node.control.list_sessions()) == 2
        assert (await node.control.session(account, ours.id)).terminated_at is None


async def test_no_private_key_and_no_idempotency_key_is_on_disk(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        made = await node.control.create_session(account, "local", None, Once("my-order-1042", b"{}"))
        rows = repr(execute(node, "SELECT * FROM idempotency_keys"))
    private = made.wg_config.partition("PrivateKey = ")[2].partition("\n")[0]
    assert private not in rows
    assert "my-order-1042" not in rows
    state = b"".join(path.read_bytes() for path in (tmp_path / "state").iterdir() if path.is_file())
    assert private.encode() not in state


async def test_a_refused_create_leaves_no_key(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        break_storage(node)
        with pytest.raises(StorageUnavailable):
            await node.control.create_session(account, "local", None, ONCE)
        mend_storage(node)
        assert execute(node, "SELECT count(*) FROM idempotency_keys") == [(0,)]
        assert (await node.control.create_session(account, "local", None, ONCE)).id


async def test_a_spent_account_leaves_no_key(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account(1000)
        node.plane.gate = trio.Event()
        refused: list[bool] = []

        async def create() -> None:
            try:
                await node.control.create_session(account, "local", key(2), ONCE)
            except QuotaExceeded:
                refused.append(True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(create)
            await trio.testing.wait_all_tasks_blocked(0.05)
            node.control._state.accounts[account.id].spent = True
            node.plane.gate.set()
        assert refused == [True]
        assert execute(node, "SELECT count(*) FROM idempotency_keys") == [(0,)]


async def test_keys_are_forgotten_after_a_day(tmp_path, virtual_time):
    async with Exit(tmp_path) as node:
        account = await node.account()
        first = await node.control.create_session(account, "local", None, ONCE)
        await trio.sleep(DAY_SECONDS - 2)
        assert await node.control.create_session(account, "local", None, ONCE) == first
        await trio.sleep(4)
        assert (await node.control.create_session(account, "local", None, ONCE)).id != first.id
        assert execute(node, "SELECT count(*) FROM idempotency_keys") == [(1,)]
        assert len(node.control._idempotency._answers) == 1


async def test_an_account_has_so_many_keys_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(idempotency, "KEYS_PER_ACCOUNT", 2)
    async with Exit(tmp_path) as node:
        account = await node.account()
        for number in range(2):
            await node.control.create_session(account, "local", None, Once(f"{number}", b""))
        with pytest.raises(TooManyKeys):
            await node.control.create_session(account, "local", None, Once("2", b""))
        assert await node.control.create_session(account, "local", None, Once("1", b""))
        assert await node.control.create_session(account, "local", None)
        assert await node.control.create_session(await node.account(), "local", None, Once("2", b""))
