"""Prepaid accounts: one purse for all sessions, never more than the limit, spent once and for good."""

from __future__ import annotations

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.control.errors import BadAmount, QuotaExceeded, StorageUnavailable
from appliance.control.views import moment
from appliance.core.accounting import MOST_PREPAID_BYTES, NEVER_NS
from tests.appliance.control.fakes import DAY_SECONDS, Exit, key
from tests.appliance.control.test_creating import assert_nothing_left, execute

LIMIT = 10_000
NEVER = moment(NEVER_NS)


async def ended(node: Exit, account, *sessions: str) -> set[str | None]:
    return {(await node.control.session(account, session)).terminated_reason for session in sessions}


async def test_what_a_prepaid_account_is_told(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account(LIMIT)
        assert account.tier == "free"
        session, _, _ = await node.create(account, key(1))
        assert node.plane.count(key(1), 100, 1)
        usage = await node.control.usage(account)
        assert (usage.tier, usage.bytes_used, usage.bytes_limit) == ("free", 101, LIMIT)
        assert (usage.session_seconds_limit, usage.max_session_seconds) == (0, 0)
        assert usage.bytes_window_resets_at == usage.seconds_window_resets_at == NEVER
        assert NEVER.isoformat() == "9999-12-31T23:59:59+00:00"
        view = await node.control.session(account, session)
        assert (view.quota_bytes_used, view.quota_bytes_limit, view.quota_seconds_limit) == (101, LIMIT, 0)
        view = await node.control.end_session(account, session, "client_closed")
        assert (view.quota_bytes_used, view.quota_bytes_limit) == (101, LIMIT)
        # Others keep no purse at all.
        await node.create(await node.account(), key(2))
        assert (node.plane.payers, node.plane.purses) == ({}, {})


@pytest.mark.parametrize("amount", [0, -1, MOST_PREPAID_BYTES + 1])
async def test_amounts_that_cannot_be(tmp_path, amount):
    async with Exit(tmp_path) as node:
        with pytest.raises(BadAmount, match="from 1 to"):
            await node.control.create_token(amount)
        assert await node.control.list_tokens() == []


@pytest.mark.parametrize("amount", [1, MOST_PREPAID_BYTES])
async def test_the_smallest_and_the_largest(tmp_path, amount):
    async with Exit(tmp_path) as node:
        account = await node.account(amount)
        await node.create(account, key(1))
        assert node.plane.purses == {account.id: amount}
    async with node.again() as node:
        assert node.plane.purses == {account.id: amount}


async def test_all_sessions_pay_from_one_purse_and_end_together(tmp_path, virtual_time):
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.control.run)
        account, other = await node.account(LIMIT), await node.account(LIMIT)
        sessions = [(await node.create(account, key(number)))[0] for number in range(3)]
        stranger, _, _ = await node.create(other, key(9))
        assert node.plane.count(key(0), 6000, 0)
        assert node.plane.count(key(1), 0, 3000)
        assert node.plane.purses == {account.id: 1000, other.id: LIMIT}
        assert not node.plane.count(key(2), 1001, 0)
        node.control.purse_shut(account.id)
        with pytest.raises(QuotaExceeded):  # from that moment
            await node.create(account, key(5))
        await trio.sleep(0.5)
        assert await ended(node, account, *sessions) == {"quota_exceeded"}
        assert await ended(node, other, stranger) == {None}
        usage = await node.control.usage(account)
        assert (usage.bytes_used, usage.bytes_limit) == (9000, LIMIT)
        with pytest.raises(QuotaExceeded) as refused:
            await node.create(account, key(6))
        assert refused.value.usage == usage
        assert_nothing_left(node, live=1)
        nursery.cancel_scope.cancel()
    # 1000 bytes are left, but a packet was refused: spent it stays.
    async with node.again() as node:
        with pytest.raises(QuotaExceeded):
            await node.create(account, key(7))


async def test_used_to_the_last_byte(tmp_path, virtual_time):
    """The purse is empty but nothing was refused yet: no create, and the tick ends what lives."""
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.control.run)
        await trio.sleep(1)
        account = await node.account(LIMIT)
        session, _, _ = await node.create(account, key(1))
        assert node.plane.count(key(1), LIMIT, 0)
        node.control.counted()
        with pytest.raises(QuotaExceeded):
            await node.create(account, key(2))
        await trio.sleep(9)
        assert await ended(node, account, session) == {None}
        await trio.sleep(2)
        assert await ended(node, account, session) == {"quota_exceeded"}
        nursery.cancel_scope.cancel()


async def test_after_a_kill_the_purse_is_what_is_left_to_the_byte(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account(LIMIT)
        await node.create(account, key(1))
        await node.create(account, key(2))
        node.plane.count(key(1), 1000, 0)
        await node.control.settle()
        node.plane.count(key(2), 0, 500)  # in the slot alone
    async with node.again() as node:
        assert node.plane.purses == {account.id: 8500}
        assert node.plane.payers == {key(1): account.id, key(2): account.id}
        node.plane.count(key(1), 8400, 0)
        assert not node.plane.count(key(2), 101, 0)
        node.plane.count(key(2), 100, 0)  # not what C does, but the limit holds all the same
    # Killed between the last byte and the end of the sessions: the next start ends them.
    async with node.again() as node:
        assert node.plane.peers == {}
        assert execute(node, "SELECT DISTINCT terminated_reason FROM sessions") == [("quota_exceeded",)]
        assert (await node.control.usage(account)).bytes_used == LIMIT
        with pytest.raises(QuotaExceeded):
            await node.create(account, key(3))


async def test_when_the_counters_are_gone_the_ledger_says_what_is_left(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account(LIMIT)
        await node.create(account, key(1))
        node.plane.count(key(1), 1000, 0)
        await node.control.settle()
        node.plane.count(key(1), 7, 0)
    (tmp_path / "test.slots").unlink()
    async with node.again() as node:
        assert node.plane.purses == {account.id: LIMIT - 1000}


async def test_a_year_of_wall_clock_gives_nothing_back(tmp_path, virtual_time):
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.control.run)
        account = await node.account(LIMIT)
        session, _, _ = await node.create(account, key(1))
        node.plane.count(key(1), 4000, 0)
        await trio.sleep(60)
        for step in (400, -800, 400):
            node.wall_offset_seconds += step * DAY_SECONDS
            await node.control.settle()
            await trio.sleep(20)
            usage = await node.control.usage(account)
            assert (usage.bytes_used, usage.bytes_window_resets_at) == (4000, NEVER)
            assert await ended(node, account, session) == {None}
        assert usage.session_seconds == 120
        await node.control.end_session(account, session, "client_closed")
        assert (await node.control.usage(account)).session_seconds == 120
        await node.create(account, key(2))
        assert node.plane.purses == {account.id: 6000}
        nursery.cancel_scope.cancel()


async def test_a_create_that_was_on_its_way_when_the_last_packet_went(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account(LIMIT)
        await node.create(account, key(1))
        node.plane.gate = trio.Event()
        async with trio.open_nursery() as nursery:

            async def refused() -> None:
                with pytest.raises(QuotaExceeded):
                    await node.control.create_session(account, "local", key(2))

            nursery.start_soon(refused)
            await trio.testing.wait_all_tasks_blocked()
            node.control.purse_shut(account.id)
            node.plane.gate.set()
        assert_nothing_left(node, live=1)
        reasons = execute(node, "SELECT terminated_reason FROM sessions ORDER BY created_at_ns")
        assert reasons == [(None,), ("quota_exceeded",)]


async def test_an_end_that_cannot_be_written_lets_no_byte_through_and_is_tried_again(
    tmp_path, virtual_time, caplog
):
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.control.run)
        account = await node.account(LIMIT)
        session, _, _ = await node.create(account, key(1))
        node.plane.count(key(1), 9_500, 0)
        execute(node, "CREATE TRIGGER full BEFORE UPDATE ON sessions BEGIN SELECT RAISE(ABORT, 'full'); END")
        node.control.purse_shut(account.id)
        await trio.sleep(5)
        assert await ended(node, account, session) == {None}
        assert node.plane.purses == {account.id: 0}
        assert not node.plane.count(key(1), 100, 0)
        for _ in range(100):  # every packet says so again
            node.control.purse_shut(account.id)
            await trio.sleep(0.01)
        assert caplog.text.count("trying again") == 1
        execute(node, "DROP TRIGGER full")
        await trio.sleep(10)
        assert await ended(node, account, session) == {"quota_exceeded"}
        assert (await node.control.usage(account)).bytes_used == 9_500
        assert_nothing_left(node)
        nursery.cancel_scope.cancel()


async def test_storage_that_turns_read_only_is_as_a_full_disk(tmp_path, virtual_time):
    """Nobody new and no end; who is in runs on, and the purse holds without the database's help."""
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.control.run)
        account = await node.account(LIMIT)
        session, _, _ = await node.create(account, key(1))

        driver = node.store._engine.raw_connection().driver_connection
        driver.execute("PRAGMA query_only = ON")
        with pytest.raises(StorageUnavailable):
            await node.create(account, key(2))
        with pytest.raises(StorageUnavailable):
            await node.control.end_session(account, session, "client_closed")
        assert node.plane.count(key(1), 6_000, 0)
        node.control.counted()
        await trio.sleep(35)
        assert node.plane.count(key(1), 3_000, 0)
        node.control.counted()
        assert not node.plane.count(key(1), 1_001, 0)
        view = await node.control.session(account, session)
        assert (view.terminated_at, view.bytes_in, view.quota_bytes_used) == (None, 9_000, 9_000)
        driver.execute("PRAGMA query_only = OFF")
        await trio.sleep(20)
        assert execute(node, "SELECT traffic_used_bytes FROM accounts") == [(9_000,)]
        assert node.plane.purses == {account.id: 1_000}
        nursery.cancel_scope.cancel()


async def test_ended_by_its_owner_a_spent_account_stays_spent(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account(LIMIT)
        session, _, _ = await node.create(account, key(1))
        node.plane.count(key(1), 9_999, 0)
        node.control.purse_shut(account.id)
        await node.control.end_session(account, session, "client_closed")
        node.control.purse_shut("ac_nobody")
    async with node.again() as node:
        with pytest.raises(QuotaExceeded):
            await node.create(account, key(2))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("count"), st.integers(0, 3), st.integers(1, 3000)),
        st.tuples(st.sampled_from(("create", "end")), st.integers(0, 3), st.just(0)),
        st.tuples(st.sampled_from(("settle", "kill")), st.just(0), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_whatever_happens_billed_and_left_are_the_limit(tmp_path_factory, steps):
    """Races the purse against one number: what all packets that went through add up to."""

    async def run() -> None:
        node = await Exit(tmp_path_factory.mktemp("exit")).start()
        try:
            account, passed = await node.account(LIMIT), 0
            live: dict[int, str] = {}
            for what, number, size in steps:
                if what == "count" and number in live:
                    if node.plane.count(key(number), size, 0):
                        passed += size
                elif what == "create" and passed < LIMIT:
                    live[number] = (await node.create(account, key(number)))[0]
                elif what == "end" and number in live:
                    await node.control.end_session(account, live.pop(number), "client_closed")
                elif what == "settle":
                    await node.control.settle()
                elif what == "kill":
                    node.stop()
                    node = await node.again().start()
                    if passed == LIMIT:
                        live.clear()
                assert (await node.control.usage(account)).bytes_used == passed <= LIMIT
                assert node.plane.purses == ({account.id: LIMIT - passed} if live else {})
        finally:
            node.stop()

    trio.run(run)
