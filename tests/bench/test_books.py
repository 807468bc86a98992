"""The books of an exit, read from outside while it holds them open."""

from __future__ import annotations

from appliance.core.accounting import Counts
from appliance.store.store import DATABASE
from bench import books
from tests.appliance.control.fakes import Exit, key


async def test_counters_and_ledger_are_read_beside_the_exit(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        one, _, _ = await node.create(account, key(1))
        two, _, _ = await node.create(account, key(2))
        node.plane.count(key(1), 1000, 1)
        node.plane.count(key(2), 20, 2)
        await node.control.end_session(account, two, "client_closed")
        node.plane.count(key(1), 500, 0)
        (mine,) = books.counters(tmp_path / "test.slots")
        found = books.ledger(tmp_path / "state" / DATABASE)
    assert (mine.life, mine.counts) == ((one, 1), Counts(1500, 1))
    assert found.live() == {one} == set(found.leases)
    assert (found.sessions[one].public_key, found.sessions[one].ended) == (key(1), None)
    assert found.sessions[two].ended == "client_closed"
    assert (found.of(one), found.of(two)) == (Counts(), Counts(20, 2))
    assert found.of_account(account.id) == found.charged_bytes[account.id] == 22
