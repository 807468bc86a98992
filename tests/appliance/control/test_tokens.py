"""Bearer tokens: hashed, revocable, and the operator's own in its file."""

from __future__ import annotations

import hashlib
import re

import pytest
import trio

from appliance.control.errors import StorageUnavailable, TokenNotFound
from appliance.errors import StateError
from tests.appliance.control.fakes import Exit, key
from tests.appliance.control.test_creating import assert_nothing_left, execute


async def test_a_token_and_its_account(tmp_path):
    async with Exit(tmp_path) as node:
        one, two = await node.control.create_token(), await node.control.create_token()
        assert re.fullmatch(r"tk_[a-z0-9]{12}", one.id)
        assert re.fullmatch(r"sp_[A-Za-z0-9_-]{43}", one.token)
        first, second = await node.control.authenticate(one.token), await node.control.authenticate(two.token)
        assert first is not None
        assert second is not None
        assert first.id != second.id
        assert first.tier == "paid"
        for wrong in ("", "sp_", one.token[:-1], one.token + "x", one.id, "\udcff"):
            assert await node.control.authenticate(wrong) is None
        views = await node.control.list_tokens()
        assert {view.id for view in views} == {one.id, two.id}
        assert not any(view.revoked for view in views)
    for file in (tmp_path / "state").iterdir():
        assert one.token.encode() not in file.read_bytes()
    async with node.again() as node:
        assert await node.control.authenticate(one.token) == first
        assert await node.control.list_tokens() == views


async def test_a_token_is_looked_up_by_its_hash_alone(tmp_path):
    async with Exit(tmp_path) as node:
        token = (await node.control.create_token()).token
        state = node.control._state
        assert set(state.tokens_by_hash) == {hashlib.sha256(token.encode()).digest()}
        assert token not in repr(vars(state))
        last = "A" if token[-1] != "A" else "B"
        for near in (token[:-1], token + "A", token[:-1] + last, token.swapcase(), f" {token}", ""):
            assert await node.control.authenticate(near) is None
        for hash_ in state.tokens_by_hash:
            assert await node.control.authenticate(hash_.hex()) is None


async def test_revoking_ends_the_sessions(tmp_path):
    async with Exit(tmp_path) as node:
        token = await node.control.create_token()
        account = await node.control.authenticate(token.token)
        session, _, _ = await node.create(account, key(1))
        await node.control.revoke_token(token.id)
        assert await node.control.authenticate(token.token) is None
        assert (await node.control.session(account, session)).terminated_reason == "token_revoked"
        await node.control.revoke_token(token.id)
        assert [view.revoked for view in await node.control.list_tokens()] == [True]
        with pytest.raises(TokenNotFound):
            await node.control.revoke_token("tk_unknown")
    async with node.again() as node:
        assert await node.control.authenticate(token.token) is None
        assert [view.revoked for view in await node.control.list_tokens()] == [True]


async def test_a_create_that_was_on_its_way_does_not_outlive_its_token(tmp_path):
    async with Exit(tmp_path) as node:
        token = await node.control.create_token()
        account = await node.control.authenticate(token.token)
        node.plane.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.create, account, key(1))
            await trio.testing.wait_all_tasks_blocked()
            await node.control.revoke_token(token.id)
            node.plane.gate.set()
        assert_nothing_left(node)
        assert execute(node, "SELECT terminated_reason FROM sessions") == [("token_revoked",)]


async def test_a_killed_revocation_is_finished_by_the_next_start(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        execute(node, "UPDATE tokens SET revoked_at_ns = 1")
    async with node.again() as node:
        assert (await node.control.session(account, session)).terminated_reason == "token_revoked"


async def test_storage_that_fails(tmp_path):
    async with Exit(tmp_path) as node:
        token = await node.control.create_token()
        for event in ("INSERT", "UPDATE"):
            fail = "BEGIN SELECT RAISE(ABORT, ''); END"
            execute(node, f"CREATE TRIGGER t{event} BEFORE {event} ON tokens {fail}")
        with pytest.raises(StorageUnavailable):
            await node.control.create_token()
        with pytest.raises(StorageUnavailable):
            await node.control.revoke_token(token.id)
        assert [(view.id, view.revoked) for view in await node.control.list_tokens()] == [(token.id, False)]
        assert execute(node, "SELECT count(*) FROM accounts") == [(1,)]


async def test_the_operator_token_is_made_once(tmp_path):
    async with Exit(tmp_path) as node:
        state_dir = tmp_path / "state"
        made = await node.control.ensure_operator_token(state_dir)
        path = state_dir / "operator.token"
        assert (made.created, made.path) == (True, str(path))
        assert path.read_text() == made.token + "\n"
        assert path.stat().st_mode & 0o7777 == 0o600
        assert await node.control.authenticate(made.token) is not None
        again = await node.control.ensure_operator_token(state_dir)
        assert (again.created, again.token) == (False, made.token)
    async with node.again() as node:
        assert (await node.control.ensure_operator_token(state_dir)).created is False
        path.write_text("sp_not-ours\n")
        other = await node.control.ensure_operator_token(state_dir)
        assert other.created
        assert path.read_text() == other.token + "\n"
        path.unlink()
        path.mkdir()
        with pytest.raises(StateError, match="operator token"):
            await node.control.ensure_operator_token(state_dir)
