"""Two keys of the exit: who is told which, how long the old one lives, and what a kill leaves."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
import trio

from appliance.control.errors import BadClientKey, KeyInUse, PeerApplyFailed, StorageUnavailable
from appliance.control.idempotency import Once
from appliance.control.views import moment
from appliance.core.accounting import SESSION_LIFETIME_NS
from appliance.errors import StateError
from tests.appliance.control.fakes import SERVER_KEY, Exit, key, lines
from tests.appliance.control.test_creating import execute

NEW = bytes([SERVER_KEY[0] + 1]) * 32


def text(public_key: bytes) -> str:
    return base64.b64encode(public_key).decode()


async def erased(node: Exit) -> bool:
    """Whether the old key goes by itself, soon."""
    for _ in range(100):
        if node.keys.old_public_key is None and node.plane.own_keys == [node.keys.public_key]:
            return True
        await trio.sleep(0.01)
    return False


@pytest.fixture
async def node(tmp_path, nursery):
    async with Exit(tmp_path) as node:
        nursery.start_soon(node.control.run)
        yield node


async def test_an_exit_without_sessions_has_a_new_key_and_no_old_one(node):
    told = await node.control.rotate_key()
    assert (told.public_key, told.old) == (text(NEW), None)
    assert await node.control.keys() == told
    assert node.plane.own_keys == [NEW]
    assert node.keys.old_public_key is None


async def test_old_sessions_keep_their_key_and_new_ones_get_the_new_one(node):
    account = await node.account()
    old, _, _ = await node.create(account, key(1))
    older, _, _ = await node.create(account, key(2))
    until = moment(int(node.wall_offset_seconds + trio.current_time()) * 10**9 + SESSION_LIFETIME_NS)
    told = await node.control.rotate_key()
    assert told.public_key == text(NEW)
    assert told.old is not None
    assert (told.old.public_key, told.old.sessions, told.old.static_peers) == (text(SERVER_KEY), 2, 0)
    assert told.old.until is not None
    assert until - timedelta(minutes=1) < told.old.until <= until

    made = await node.control.create_session(account, "local", key(3))
    assert lines(made.wg_config)["PublicKey"] == text(NEW)
    assert node.plane.knows == {key(1): SERVER_KEY, key(2): SERVER_KEY, key(3): NEW}
    assert [row.old_key for row in await node.control.list_sessions()] == [True, True, False]

    await node.control.end_session(account, old, "client_closed")
    await node.control.end_session(account, made.id, "client_closed")
    await trio.testing.wait_all_tasks_blocked()
    assert node.plane.own_keys == [SERVER_KEY, NEW]
    await node.control.end_session(account, older, "client_closed")
    assert await erased(node)
    assert (await node.control.keys()).old is None


async def test_a_second_rotation_is_refused_while_somebody_knows_the_old_key(node):
    account = await node.account()
    session, _, _ = await node.create(account, key(1))
    await node.control.rotate_key()
    with pytest.raises(
        KeyInUse, match=r"still in use by 1 session \(the last session ends by 20.*Z\): rotate when"
    ):
        await node.control.rotate_key()
    node.plane.static[SERVER_KEY] = 2
    with pytest.raises(KeyInUse, match=r"by 1 session and 2 static peers \("):
        await node.control.rotate_key()
    await node.control.end_session(account, session, "client_closed")
    with pytest.raises(KeyInUse, match=r"by 2 static peers: "):
        await node.control.rotate_key()
    assert node.plane.own_keys == [SERVER_KEY, NEW]
    node.plane.static.clear()
    node.control.static_left()
    assert await erased(node)
    assert (await node.control.rotate_key()).old is None


async def test_a_client_that_comes_again_leaves_the_old_key(node):
    account = await node.account()
    await node.create(account, key(1))
    await node.control.rotate_key()
    await node.create(account, key(1))
    assert node.plane.knows[key(1)] == NEW
    assert await erased(node)


async def test_one_that_cannot_come_again_is_put_back_under_its_own_key(node):
    account = await node.account()
    session, _, _ = await node.create(account, key(1))
    await node.control.rotate_key()
    execute(node, "CREATE TRIGGER full BEFORE INSERT ON sessions BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(StorageUnavailable):
        await node.create(account, key(1))
    execute(node, "DROP TRIGGER full")
    assert node.plane.knows[key(1)] == SERVER_KEY
    assert [row.id for row in await node.control.list_sessions()] == [session]
    assert (await node.control.keys()).old is not None


async def test_a_session_on_its_way_keeps_the_key_that_it_is_about_to_tell(node):
    account = await node.account()
    node.plane.gate = trio.Event()
    made = []

    async def create() -> None:
        made.append(await node.control.create_session(account, "local", key(1)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(create)
        await trio.testing.wait_all_tasks_blocked()
        await node.control.rotate_key()
        await node.control.retire_old_key()
        assert node.plane.own_keys == [SERVER_KEY, NEW]
        node.plane.gate.set()
    assert lines(made[0].wg_config)["PublicKey"] == text(SERVER_KEY)
    assert node.plane.knows[key(1)] == SERVER_KEY
    told = (await node.control.keys()).old
    assert told is not None
    assert told.sessions == 1
    await node.control.end_session(account, made[0].id, "client_closed")
    assert await erased(node)


async def test_one_that_came_to_nothing_does_not_keep_it(node):
    account = await node.account()
    node.plane.gate = trio.Event()
    node.plane.fail_add = [OSError("no")]

    async def create() -> None:
        with pytest.raises(PeerApplyFailed):
            await node.control.create_session(account, "local", key(1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(create)
        await trio.testing.wait_all_tasks_blocked()
        await node.control.rotate_key()
        node.plane.gate.set()
    assert await erased(node)


async def test_a_repeated_create_gives_the_answer_of_before(node):
    account = await node.account()
    once = Once("again", b"{}")
    first = await node.control.create_session(account, "local", key(1), once)
    ours = await node.control.create_session(account, "local", None, Once("ours", b"{}"))
    await node.control.rotate_key()
    assert await node.control.create_session(account, "local", key(1), once) == first
    assert await node.control.create_session(account, "local", None, Once("ours", b"{}")) == ours
    assert lines(first.wg_config)["PublicKey"] == lines(ours.wg_config)["PublicKey"] == text(SERVER_KEY)


async def test_neither_key_is_a_clients(node):
    account = await node.account()
    await node.create(account, key(1))
    await node.control.rotate_key()
    with pytest.raises(BadClientKey):
        await node.control.create_session(account, "local", NEW)


async def test_a_disk_that_is_full_changes_nothing(node):
    account = await node.account()
    await node.create(account, key(1))
    node.keys.failures = [StateError("full")]
    with pytest.raises(StateError, match="full"):
        await node.control.rotate_key()
    assert node.plane.own_keys == [SERVER_KEY]
    told = await node.control.keys()
    assert (told.public_key, told.old) == (text(SERVER_KEY), None)
    made = await node.control.create_session(account, "local", key(2))
    assert lines(made.wg_config)["PublicKey"] == text(SERVER_KEY)


async def test_a_file_that_stays_is_said_and_left_to_the_next_start(node, caplog):
    account = await node.account()
    session, _, _ = await node.create(account, key(1))
    await node.control.rotate_key()
    node.keys.failures = [StateError("read-only")]
    await node.control.end_session(account, session, "client_closed")
    assert await erased(node)
    assert "the next start erases the old key" in caplog.text
    assert text(SERVER_KEY) not in caplog.text


async def test_over_a_kill_everybody_keeps_the_key_that_he_was_told(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        old, _, _ = await node.create(account, key(1))
        await node.control.rotate_key()
        await node.create(account, key(2))
    async with node.again() as node:
        assert node.plane.knows == {key(1): SERVER_KEY, key(2): NEW}
        made = await node.control.create_session(account, "local", key(3))
        assert lines(made.wg_config)["PublicKey"] == text(NEW)
        node.stop()
        # While it was down the last one of the old key ended.
        down = node.again()
        await down.start(serve=False)
        assert down.keys.old_public_key == SERVER_KEY
        await down.control.end_session(None, old, "admin")
        down.stop()
        async with down.again() as last:
            assert last.keys.old_public_key is None
            assert last.plane.own_keys == [NEW]
            assert last.plane.knows == {key(2): NEW, key(3): NEW}


async def test_a_kill_after_the_files_and_before_the_tunnel_knew(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        await node.create(account, key(1))
        node.keys.rotate()
    async with node.again() as node:
        assert node.plane.knows == {key(1): SERVER_KEY}
        told = await node.control.keys()
        assert (told.public_key, told.old and told.old.sessions) == (text(NEW), 1)


async def test_sessions_of_before_there_were_two_keys_know_the_first(tmp_path):
    async with Exit(tmp_path) as node:
        await node.create(await node.account(), key(1))
        execute(node, "UPDATE sessions SET exit_key = NULL")
    async with node.again() as node:
        assert node.plane.knows == {key(1): SERVER_KEY}
        await node.control.rotate_key()
    async with node.again() as node:
        assert node.plane.knows == {key(1): SERVER_KEY}
        assert [row.old_key for row in await node.control.list_sessions()] == [True]
