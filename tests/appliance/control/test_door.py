"""The door as its callers use it: a whole life through the public methods alone."""

from __future__ import annotations

import pytest
import trio

from appliance.control.errors import SessionNotFound
from appliance.control.views import Account, RegionView
from tests.appliance.control.fakes import SERVER_KEY, Exit, key


async def test_a_whole_life(tmp_path, virtual_time, caplog):
    caplog.set_level("DEBUG", logger="sallyport")
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        control = node.control
        nursery.start_soon(control.run)
        token = await control.create_token()
        account = await control.authenticate(token.token)
        assert account is not None
        assert control.regions() == [RegionView("local", 1)]
        made = await control.create_session(account, "local", None)
        (public_key,) = node.plane.peers
        node.plane.count(public_key, 1_000, 100)
        control.counted()
        await trio.sleep(15)
        assert (await control.usage(account)).bytes_used == 1_100
        view = await control.end_session(account, made.id, "client_closed")
        assert (view.bytes_in, view.bytes_out, view.quota_seconds_used) == (1_000, 100, 15)
        assert await control.session(account, made.id) == view
        assert await control.list_sessions() == []
        await control.revoke_token(token.id)
        assert await control.authenticate(token.token) is None
        nursery.cancel_scope.cancel()
    # Neither secrets nor keys nor addresses of clients are in the log.
    for hidden in (token.token, "10.101.0.", public_key.hex(), SERVER_KEY.hex(), "PrivateKey", "="):
        assert hidden not in caplog.text


async def test_an_account_of_another_database_owns_nothing(tmp_path):
    async with Exit(tmp_path) as node:
        session, _, _ = await node.create(await node.account(), key(1))
        with pytest.raises(SessionNotFound):
            await node.control.session(Account("ac_other", "paid"), session)
