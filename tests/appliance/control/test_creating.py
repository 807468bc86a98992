"""Creating a session: what it makes, what it refuses, and that a failure leaves nothing behind."""

from __future__ import annotations

import re
import sqlite3
from ipaddress import IPv4Address, IPv4Network

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from appliance.control.errors import (
    BadClientKey,
    NoActiveNodes,
    NoNodeInRegion,
    PeerApplyFailed,
    SessionNotFound,
    StorageUnavailable,
    SubnetExhausted,
)
from tests.appliance.control.fakes import SERVER_KEY, Exit, key, lines, private_key_of
from tests.appliance.core.test_primitives import LOW_ORDER


def execute(node: Exit, sql: str) -> list[tuple]:
    """Look into (or break) the database beside the running store."""
    connection = sqlite3.connect(node.directory / "state" / "sallyport.db", isolation_level=None)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def break_storage(node: Exit) -> None:
    execute(node, "CREATE TRIGGER full BEFORE INSERT ON sessions BEGIN SELECT RAISE(ABORT, 'full'); END")


def mend_storage(node: Exit) -> None:
    execute(node, "DROP TRIGGER full")


def assert_nothing_left(node: Exit, *, live: int = 0) -> None:
    assert len(node.plane.peers) == live
    assert len(node.slots.bound()) == live
    assert execute(node, "SELECT count(*) FROM sessions WHERE terminated_at_ns IS NULL") == [(live,)]
    assert execute(node, "SELECT count(*) FROM leases WHERE session_id IS NOT NULL") == [(live,)]


async def test_a_session_with_a_key_of_ours(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        made = await node.control.create_session(account, "local", None)
        assert re.fullmatch(r"tb_[a-z0-9]{12}", made.id)
        assert (made.public_ip, made.tier) == ("198.51.100.7", "paid")
        config = lines(made.wg_config)
        assert list(config) == [
            "PrivateKey", "Address", "PublicKey", "AllowedIPs", "Endpoint", "PersistentKeepalive",
        ]  # fmt: skip
        assert config["Address"] == "10.101.0.2/24"
        private = X25519PrivateKey.from_private_bytes(private_key_of(made.wg_config))
        (installed,) = node.plane.peers
        assert private.public_key().public_bytes_raw() == installed
        view = await node.control.session(account, made.id)
        assert (made.expires_at - view.created_at).total_seconds() == 30 * 86_400
        assert (view.terminated_at, view.terminated_reason) == (None, None)
        # Our client's private key is in the answer and nowhere else.
        for file in (tmp_path / "state").iterdir():
            assert private_key_of(made.wg_config) not in file.read_bytes()


async def test_a_session_with_the_clients_key(tmp_path):
    async with Exit(tmp_path) as node:
        made = await node.control.create_session(await node.account(), "local", key(1))
        assert "PrivateKey" not in made.wg_config
        address, words = node.plane.peers[key(1)]
        assert address == IPv4Address("10.101.0.2")
        (slot,) = node.slots.bound()
        assert (slot.session_id, slot.generation) == (made.id, 1)
        assert len(words) == 32


async def test_nodes_and_regions(tmp_path):
    async with Exit(tmp_path, endpoint=None, public_ip=None) as node:
        with pytest.raises(NoActiveNodes):
            await node.control.create_session(await node.account(), "local", None)
        assert node.control.regions() == []
        assert_nothing_left(node)
    async with node.again() as node:
        with pytest.raises(NoNodeInRegion) as refused:
            await node.control.create_session(await node.account(), "mars", None)
        assert (refused.value.region, refused.value.available) == ("mars", ("local",))
        assert_nothing_left(node)


@pytest.mark.parametrize("bad", [SERVER_KEY, bytes(32), bytes(31), b"", bytes([1]) * 33, *LOW_ORDER])
async def test_keys_that_cannot_be_used(tmp_path, bad):
    async with Exit(tmp_path) as node:
        with pytest.raises(BadClientKey, match="client_public_key"):
            await node.control.create_session(await node.account(), "local", bad)
        assert_nothing_left(node)
        assert node.plane.log == []


async def test_a_key_of_another_account_is_refused(tmp_path):
    async with Exit(tmp_path) as node:
        mine, theirs = await node.account(), await node.account()
        first, _, _ = await node.create(mine, key(1))
        with pytest.raises(BadClientKey, match="in use"):
            await node.create(theirs, key(1))
        assert_nothing_left(node, live=1)
        assert (await node.control.session(mine, first)).terminated_at is None


async def test_the_same_account_supersedes(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        old, _, old_address = await node.create(account, key(1))
        node.plane.count(key(1), 1000, 50)
        new, _, new_address = await node.create(account, key(1))
        ended = await node.control.session(account, old)
        assert (ended.terminated_reason, ended.bytes_in, ended.bytes_out) == ("superseded", 1000, 50)
        assert ended.terminated_at is not None
        live = await node.control.session(account, new)
        assert (live.terminated_at, live.bytes_in, live.quota_bytes_used) == (None, 0, 1050)
        assert new_address != old_address
        assert node.plane.peers[key(1)][0] == new_address
        assert node.flows.forgotten == [old_address]
        assert_nothing_left(node, live=1)


async def test_superseding_that_fails_leaves_the_old_session_as_it_was(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        old, _, address = await node.create(account, key(1))
        node.plane.count(key(1), 7, 7)
        for failure in ("plane", "storage"):
            if failure == "plane":
                node.plane.fail_add = [OSError("no")]
                with pytest.raises(PeerApplyFailed):
                    await node.create(account, key(1))
            else:
                break_storage(node)
                with pytest.raises(StorageUnavailable):
                    await node.create(account, key(1))
                mend_storage(node)
            node.plane.count(key(1), 1, 0)
            assert_nothing_left(node, live=1)
            assert node.plane.peers[key(1)][0] == address
            assert node.flows.forgotten == []
        view = await node.control.session(account, old)
        assert (view.terminated_at, view.bytes_in, view.bytes_out) == (None, 9, 7)
        assert (await node.create(account))[2] == IPv4Address("10.101.0.3")


async def test_superseding_in_a_full_pool_inherits_the_address(tmp_path):
    async with Exit(tmp_path, pool=IPv4Network("10.101.0.0/29")) as node:
        account = await node.account()
        made = [await node.create(account, key(n)) for n in range(5)]
        new, _, address = await node.create(account, key(2))
        assert address == made[2][2]
        assert_nothing_left(node, live=5)
        with pytest.raises(SubnetExhausted):
            await node.create(account)
        await node.control.end_session(account, new, "client_closed")
        assert (await node.create(account))[2] == address


async def test_a_plane_that_fails_or_hangs(tmp_path, virtual_time):
    async with Exit(tmp_path) as node:
        account = await node.account()
        node.plane.fail_add = [OSError("no"), ValueError("static peer")]
        with pytest.raises(PeerApplyFailed):
            await node.create(account, key(1))
        assert ("remove", key(1)) in node.plane.log  # it may have been half installed
        node.plane.log.clear()
        with pytest.raises(BadClientKey):
            await node.create(account, key(1))
        assert ("remove", key(1)) not in node.plane.log  # it is somebody else's peer
        node.plane.gate = trio.Event()
        with pytest.raises(PeerApplyFailed):
            await node.create(account, key(1))
        node.plane.gate = None
        assert_nothing_left(node)
        assert (await node.create(account, key(1)))[2] == IPv4Address("10.101.0.2")
        usage = await node.control.usage(account)
        assert usage.bytes_used == 0


async def test_a_peer_that_cannot_be_taken_out_again_keeps_its_slot(tmp_path):
    """Else it might count into the slot of the next session."""
    async with Exit(tmp_path) as node:
        account = await node.account()
        node.plane.fail_add, node.plane.fail_remove = [OSError("no")], [OSError("stuck")]
        with pytest.raises(PeerApplyFailed):
            await node.create(account, key(1))
        (haunted,) = node.slots.bound()
        await node.create(account, key(2))
        assert haunted in node.slots.bound()
        assert len(node.slots.bound()) == 2
    async with node.again() as node:
        assert len(node.slots.bound()) == 1


async def test_storage_that_fails(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        break_storage(node)
        with pytest.raises(StorageUnavailable):
            await node.create(account, key(1))
        mend_storage(node)
        assert_nothing_left(node)
        assert (await node.create(account, key(1)))[2] == IPv4Address("10.101.0.2")


async def test_no_free_slot_is_like_no_free_address(tmp_path):
    node = Exit(tmp_path)
    node.slot_count = 1
    async with node:
        account = await node.account()
        await node.create(account)
        with pytest.raises(SubnetExhausted):
            await node.create(account)
        assert_nothing_left(node, live=1)


@pytest.mark.parametrize("steps", range(14))
async def test_a_client_that_hangs_up_leaves_nothing(tmp_path, steps):
    """Cancelled after any number of scheduling steps: no peer, no lease, no slot, no live row.

    (Or, when it was quicker than the steps, a whole session.)
    """
    async with Exit(tmp_path) as node:
        account = await node.account()
        answers = []

        async def one() -> None:
            answers.append(await node.control.create_session(account, "local", key(1)))

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        assert_nothing_left(node, live=len(answers))
        assert len(await node.control.list_sessions()) == len(answers)
        await node.create(account, key(1))


async def test_an_answer_that_nobody_waits_for_any_more_ends_the_session(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        node.plane.gate = trio.Event()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(node.control.create_session, account, "local", key(1))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                node.plane.gate.set()
        assert_nothing_left(node)
        assert execute(node, "SELECT terminated_reason FROM sessions") == [("client_closed",)]


async def test_many_at_once_fill_the_pool_exactly(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        answers: list[tuple[str, IPv4Address]] = []
        refused = 0

        async def one() -> None:
            nonlocal refused
            try:
                made = await node.control.create_session(account, "local", None)
                answers.append((made.id, IPv4Address(lines(made.wg_config)["Address"].split("/")[0])))
            except SubnetExhausted:
                refused += 1

        async with trio.open_nursery() as nursery:
            for _ in range(260):
                nursery.start_soon(one)
        assert (len(answers), refused) == (253, 7)
        assert {address for _, address in answers} == set(IPv4Network("10.101.0.0/24").hosts()) - {
            IPv4Address("10.101.0.1")
        }
        assert len({session for session, _ in answers}) == 253
        # Freed ones come back oldest first.
        gone = answers[100:103][::-1]
        for session, _ in gone:
            await node.control.end_session(account, session, "client_closed")
        assert [(await node.create(account))[2] for _ in gone] == [address for _, address in gone]
        with pytest.raises(SubnetExhausted):
            await node.create(account)


async def test_five_hundred_at_once_share_nothing(tmp_path):
    async with Exit(tmp_path, pool=IPv4Network("10.64.0.0/22")) as node:
        accounts = [await node.account() for _ in range(5)]
        async with trio.open_nursery() as nursery:
            for number in range(500):
                given = key(number) if number % 2 else None
                nursery.start_soon(node.control.create_session, accounts[number % 5], "local", given)
        rows = await node.control.list_sessions()
        assert len(rows) == len({row.address for row in rows}) == len({row.public_key for row in rows}) == 500
        assert_nothing_left(node, live=500)


async def test_the_same_key_many_times_at_once_leaves_one_session(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(node.control.create_session, account, "local", key(1))
        assert_nothing_left(node, live=1)
        reasons = execute(node, "SELECT terminated_reason, count(*) FROM sessions GROUP BY 1 ORDER BY 1")
        assert reasons == [(None, 1), ("superseded", 19)]


async def test_a_foreign_account_sees_no_session(tmp_path):
    async with Exit(tmp_path) as node:
        mine, theirs = await node.account(), await node.account()
        made, _, _ = await node.create(mine)
        for session in (made, "tb_unknown"):
            with pytest.raises(SessionNotFound):
                await node.control.session(theirs, session)
            with pytest.raises(SessionNotFound):
                await node.control.end_session(theirs, session, "client_closed")
        assert_nothing_left(node, live=1)
