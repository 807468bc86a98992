"""What is told about sessions while they live, and to whom."""

from __future__ import annotations

import base64

import pytest
import trio

from appliance.control.errors import SessionNotFound, StorageUnavailable
from tests.appliance.control.fakes import Exit, key
from tests.appliance.control.test_creating import execute


async def test_counters_are_live(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        for size in (1, 1500, 2**33):
            node.plane.count(key(1), size, 2 * size)
            view = await node.control.session(account, session)
            assert view.bytes_out == 2 * view.bytes_in
        assert view.bytes_in == 1 + 1500 + 2**33
        assert view.quota_bytes_used == 3 * view.bytes_in
        assert (view.id, view.tier) == (session, "paid")


async def test_rows_are_of_live_sessions_oldest_first(tmp_path, virtual_time):
    async with Exit(tmp_path) as node:
        account, other = await node.account(), await node.account()
        made = []
        for number, owner in enumerate((account, other, account)):
            made.append(await node.create(owner, key(number)))
            await trio.sleep(1)
        await node.control.end_session(other, made[1][0], "client_closed")
        rows = await node.control.list_sessions()
        assert [row.id for row in rows] == [made[0][0], made[2][0]]
        assert [row.address for row in rows] == [made[0][2], made[2][2]]
        assert base64.b64decode(rows[0].public_key) == key(0)
        assert rows[0].last_handshake is None


async def test_the_end_cannot_be_told_while_storage_fails(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        await node.control.end_session(account, session, "client_closed")
        execute(node, "ALTER TABLE settled RENAME TO gone")
        with pytest.raises(StorageUnavailable):
            await node.control.session(account, session)
        with pytest.raises(SessionNotFound):
            await node.control.session(account, "tb_unknown")
