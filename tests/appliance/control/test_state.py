"""What is kept in memory about live sessions."""

from __future__ import annotations

from appliance.control.state import secret_hash
from appliance.core.accounting import Counts
from tests.appliance.control.fakes import Exit, key


async def test_a_live_session_is_known_by_id_by_key_and_by_account(tmp_path):
    async with Exit(tmp_path) as node:
        state = node.control._state
        account = await node.account()
        session_id, _, _ = await node.create(account, key(1))
        session = state.live[session_id]
        assert state.live_by_key[key(1)] is session
        assert state.accounts[account.id].live == {session_id: session}
        state.drop_live(session)
        assert (state.live, state.live_by_key, state.accounts[account.id].live) == ({}, {}, {})


async def test_what_is_told_never_goes_back(tmp_path):
    async with Exit(tmp_path) as node:
        session_id, _, _ = await node.create(await node.account(), key(1))
        session = node.control._state.live[session_id]
        session.earlier, session.settled = Counts(1000, 1), Counts(50, 5)
        session.slot.words[6], session.slot.words[7] = 40, 9
        assert session.reading() == Counts(50, 9)
        assert session.counts() == Counts(1050, 10)
        assert session.unsettled_bytes() == 4


def test_secrets_are_hashed():
    assert secret_hash("sp_a") != secret_hash("sp_b")
    assert len(secret_hash("\udcff")) == 32
