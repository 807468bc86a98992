"""The data plane's failures in our words, each within its time."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
import trio

from appliance.control import peers
from appliance.control.errors import BadClientKey, PeerApplyFailed
from appliance.control.state import AccountState, LiveSession
from appliance.slots import Slot
from appliance.store.sessions import SessionRow
from tests.appliance.control.fakes import SERVER_KEY, Exit, key

ANYBODY = AccountState("ac_anybody", "paid")
ADDRESS = IPv4Address("10.101.0.9")


@pytest.fixture
async def state(tmp_path):
    async with Exit(tmp_path) as node:
        yield node.control._state


async def test_installing(state):
    slot = Slot.detached("tb_x", 1)
    await peers.install(state, ANYBODY, key(1), ADDRESS, slot, SERVER_KEY)
    assert state.dataplane.peers[key(1)] == (ADDRESS, slot.words)
    with pytest.raises(BadClientKey):
        await peers.install(state, ANYBODY, key(1), ADDRESS, slot, SERVER_KEY)
    assert key(1) in state.dataplane.peers
    await peers.remove(state, key(1))
    assert state.dataplane.peers == {}
    await peers.remove(state, key(1))
    await peers.remove_if_there(state, key(1), slot)
    assert state.haunted_slots == set()
    state.dataplane.fail_remove = [OSError("stuck")]
    await peers.remove_if_there(state, key(1), slot)
    assert state.haunted_slots == {slot}


async def test_a_plane_that_hangs(state, virtual_time):
    state.dataplane.gate = trio.Event()
    began = trio.current_time()
    with pytest.raises(PeerApplyFailed):
        await peers.install(state, ANYBODY, key(1), ADDRESS, Slot.detached("tb_x", 1), SERVER_KEY)
    assert trio.current_time() - began == peers.APPLY_SECONDS


async def test_putting_back_that_fails_is_said(state, caplog):
    state.dataplane.fail_add = [OSError("no")]
    row = SessionRow("tb_x", ANYBODY.id, "paid", "local", "", key(1), ADDRESS, 0, 0, SERVER_KEY)
    state.accounts[ANYBODY.id] = ANYBODY
    await peers.put_back(state, LiveSession(row, Slot.detached("tb_x", 1), 0, 0))
    assert "lost its peer" in caplog.text
    assert "10.101.0.9" not in caplog.text


async def test_forgetting_never_fails(state, caplog, virtual_time):
    await peers.forget_flows(state, ADDRESS)
    assert state.flows.forgotten == [ADDRESS]

    async def hang(address: IPv4Address) -> None:
        await trio.sleep_forever()

    state.flows.forget = hang
    await peers.forget_flows(state, ADDRESS)
    assert "not forgotten" in caplog.text
