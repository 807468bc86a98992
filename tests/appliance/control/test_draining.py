"""While an exit drains nothing begins, everything goes on, and a restart changes neither."""

from __future__ import annotations

import pytest

from appliance.control.draining import DRAINING, load
from appliance.control.errors import NoActiveNodes
from appliance.errors import StateError
from tests.appliance.control.fakes import Exit, key


async def test_no_new_sessions_and_the_old_ones_live(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        assert not node.control.draining
        for _ in range(2):
            await node.control.drain(True)
            assert node.control.draining
            assert node.control.regions() == []
            for name in (key(1), key(2), None):
                with pytest.raises(NoActiveNodes):
                    await node.control.create_session(account, "local", name)
        node.plane.count(key(1), 5, 6)
        view = await node.control.session(account, session)
        assert (view.terminated_at, view.bytes_in) == (None, 5)
        assert list(node.plane.peers) == [key(1)]
        for _ in range(2):
            await node.control.drain(False)
            assert not node.control.draining
        assert [region.code for region in node.control.regions()] == ["local"]
        await node.create(account, key(2))


async def test_it_survives_a_kill(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        await node.create(account, key(1))
        await node.control.drain(True)
        assert (tmp_path / "state" / DRAINING).stat().st_mode & 0o777 == 0o600
    async with node.again() as node:
        assert node.control.draining
        assert node.control.regions() == []
        assert list(node.plane.peers) == [key(1)]
        await node.control.drain(False)
    async with node.again() as node:
        assert not node.control.draining
        await node.create(account, key(2))


async def test_a_state_directory_that_takes_no_file_leaves_it_as_it_was(tmp_path):
    async with Exit(tmp_path) as node:
        (tmp_path / "state" / DRAINING).mkdir()
        (tmp_path / "state" / DRAINING / "x").touch()
        with pytest.raises(StateError, match=DRAINING):
            await node.control.drain(True)
        assert not node.control.draining
        assert [path.name for path in (tmp_path / "state").glob("*.part")] == []


def test_a_directory_that_cannot_be_read(tmp_path):
    with pytest.raises(StateError):
        load(tmp_path / "missing")
