"""The operator socket: its verbs, and clients that misbehave."""

from __future__ import annotations

import base64
import json
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance import operator
from appliance.errors import PrivilegeError, StateError, UserError
from appliance.operator import LINE_BYTES, MOST_CONNECTIONS, NotRunning, call, serve
from appliance.store.backup import verify
from tests.appliance.control.fakes import SERVER_KEY, Exit, key
from tests.appliance.control.test_creating import execute


@asynccontextmanager
async def served(directory: Path):
    async with Exit(directory) as node, trio.open_nursery() as nursery:
        await nursery.start(serve, node.control, directory / "state")
        yield node
        nursery.cancel_scope.cancel()


async def ask(node: Exit, verb: str, **args):
    return await trio.to_thread.run_sync(call, node.directory / "state", verb, args)


async def raw(node: Exit, sent: bytes) -> bytes:
    stream = await trio.open_unix_socket(node.directory / "state" / "operator.sock")
    async with stream:
        await stream.send_all(sent)
        answer = b""
        async for part in stream:
            answer += part
        return answer


async def test_every_verb(tmp_path):
    async with served(tmp_path) as node:
        assert await ask(node, "token_list") == []
        made = await ask(node, "token_create")
        assert set(made) == {"id", "token"}
        account = await node.control.authenticate(made["token"])
        (listed,) = await ask(node, "token_list")
        assert set(listed) == {"id", "created_at", "revoked"}
        assert (listed["id"], listed["revoked"]) == (made["id"], False)
        assert listed["created_at"].endswith("Z")

        session, _, address = await node.create(account, key(1))
        node.plane.count(key(1), 5, 6)
        (row,) = await ask(node, "sessions_list")
        created_at = row.pop("created_at")
        assert len(created_at) == len("2026-05-28T14:02:14Z")
        assert row == {
            "id": session,
            "address": str(address),
            "public_key": base64.b64encode(key(1)).decode(),
            "bytes_in": 5,
            "bytes_out": 6,
            "last_handshake": None,
            "old_key": False,
        }
        node.plane.peers[key(1)][1][12] = 1_780_000_000 * 10**9
        assert (await ask(node, "sessions_list"))[0]["last_handshake"] == "2026-05-28T20:26:40Z"

        live = await ask(node, "sessions_show", id=session)
        assert (live["terminated_at"], live["bytes_in"], live["address"]) == (None, 5, str(address))
        assert live["last_handshake"] == "2026-05-28T20:26:40Z"

        view = await ask(node, "sessions_end", id=session)
        assert (view["terminated_reason"], view["bytes_in"], view["created_at"]) == ("admin", 5, created_at)
        assert await ask(node, "sessions_end", id=session) == view
        told = await ask(node, "sessions_show", id=session)
        assert told == view | {"address": None, "public_key": None, "last_handshake": None}
        assert await ask(node, "token_revoke", id=made["id"]) == {"id": made["id"], "revoked": True}
        assert await node.control.authenticate(made["token"]) is None


async def test_rotating_the_key(tmp_path):
    async with served(tmp_path) as node:
        await node.create(await node.account(), key(1))
        old = base64.b64encode(SERVER_KEY).decode()
        made = await ask(node, "key_rotate")
        assert made["public_key"] != old
        until = made["old_key"].pop("until")
        assert made["old_key"] == {"public_key": old, "sessions": 1, "static_peers": 0}
        assert len(until) == len("2026-05-28T14:02:14Z")
        assert (await ask(node, "sessions_list"))[0]["old_key"] is True
        with pytest.raises(UserError, match=f"still in use by 1 session .*{until}") as refused:
            await ask(node, "key_rotate")
        assert refused.value.exit_code == 1
        with pytest.raises(UserError, match="unknown verb or arguments"):
            await ask(node, "key_rotate", key="x")


async def test_refusals_are_lines_for_a_person(tmp_path):
    async with served(tmp_path) as node:
        for verb, args, words in (
            ("sessions_end", {"id": "tb_x"}, "there is no session tb_x"),
            ("sessions_show", {"id": "tb_x"}, "there is no session tb_x"),
            ("token_revoke", {"id": "tk_x"}, "there is no token tk_x"),
            ("token_revoke", {}, "unknown verb or arguments: token_revoke"),
            ("sessions_end", {"id": 7}, "unknown verb or arguments: sessions_end"),
            ("format_disk", {}, "unknown verb or arguments: format_disk"),
        ):
            with pytest.raises(UserError) as refused:
                await ask(node, verb, **args)
            assert str(refused.value) == words
            assert refused.value.exit_code == 1
        execute(node, "CREATE TRIGGER full BEFORE INSERT ON tokens BEGIN SELECT RAISE(ABORT, 'full'); END")
        with pytest.raises(UserError, match="it may still be done: ask again"):
            await ask(node, "token_create")
        session, _, _ = await node.create(await account_of(node), key(1))
        node.plane.fail_remove = [OSError("stuck")]
        with pytest.raises(UserError, match="still live"):
            await ask(node, "sessions_end", id=session)


async def test_prepaid_tokens(tmp_path):
    async with served(tmp_path) as node:
        made = await ask(node, "token_create", bytes=2**63 - 1)
        account = await node.control.authenticate(made["token"])
        assert (await node.control.usage(account)).bytes_limit == 2**63 - 1
        for wrong in (0, -5, 2**63, 1.5, "5", None, True, [5]):
            with pytest.raises(UserError, match="bytes must be a whole number"):
                await ask(node, "token_create", bytes=wrong)
        assert len(await ask(node, "token_list")) == 1


async def test_backup(tmp_path):
    async with served(tmp_path) as node:
        made = Path((await ask(node, "backup"))["file"])
        assert made.parent == tmp_path / "state"
        assert verify(made).schema
        with pytest.raises(UserError, match="unknown verb or arguments: backup"):
            await ask(node, "backup", file="/etc/passwd")


async def test_a_backup_may_take_its_time_and_nothing_else(tmp_path, virtual_time, monkeypatch):
    async with served(tmp_path) as node:

        async def slow(*_: object) -> Path:
            await trio.sleep(100)
            return Path("/x")

        monkeypatch.setattr(node.control, "backup", slow)
        monkeypatch.setattr(node.control, "list_tokens", slow)
        assert json.loads(await raw(node, b'{"verb": "backup", "args": {}}\n')) == {"ok": {"file": "/x"}}
        assert await raw(node, b'{"verb": "token_list", "args": {}}\n') == b""


async def test_drain(tmp_path):
    async with served(tmp_path) as node:
        await node.create(await node.account(), key(1))
        assert await ask(node, "drain") == {"draining": False, "sessions": 1}
        assert await ask(node, "drain", on=True) == {"draining": True, "sessions": 1}
        assert await ask(node, "drain") == {"draining": True, "sessions": 1}
        for bad in ("yes", 1, None):
            with pytest.raises(UserError, match="unknown verb or arguments: drain"):
                await ask(node, "drain", on=bad)
        assert await ask(node, "drain", on=False) == {"draining": False, "sessions": 1}


class _Inside:
    async def status(self) -> dict:
        return {"well": True}

    async def peers(self) -> list:
        return [{"public_key": "K="}]


async def test_only_a_running_process_tells_of_itself(tmp_path):
    async with Exit(tmp_path) as node:
        assert await operator.perform(node.control, "status", {}, _Inside()) == {"well": True}
        assert await operator.perform(node.control, "peers", {}, _Inside()) == [{"public_key": "K="}]
        for verb in ("status", "peers"):
            with pytest.raises(UserError, match=f"unknown verb or arguments: {verb}"):
                await operator.perform(node.control, verb, {})
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, node.control, tmp_path / "state", _Inside())
            assert await ask(node, "status") == {"well": True}
            nursery.cancel_scope.cancel()


async def account_of(node: Exit):
    execute(node, "DROP TRIGGER full")
    return await node.account()


@pytest.mark.parametrize(
    "sent",
    [
        b"\n",
        b"rubbish\n",
        b"\xff\xfe\n",
        b"7\n",
        b"[]\n",
        b"{}\n",
        b'{"verb": 1, "args": {}}\n',
        b'{"verb": "token_list", "args": []}\n',
        b"[" * 60_000 + b"\n",
        b"1" * 60_000 + b"\n",
        b"x" * (LINE_BYTES + 1),
    ],
    ids=lambda sent: repr(sent[:20]),
)
async def test_bad_questions_get_json_errors(tmp_path, sent):
    async with served(tmp_path) as node:
        answer = json.loads(await raw(node, sent))
        assert list(answer) == ["error"]
        assert await ask(node, "token_list") == []


async def test_a_question_in_pieces(tmp_path):
    async with served(tmp_path) as node:
        stream = await trio.open_unix_socket(tmp_path / "state" / "operator.sock")
        async with stream:
            for byte in b'{"verb": "token_list", "args": {}}\n':
                await stream.send_all(bytes([byte]))
            assert json.loads(await stream.receive_some()) == {"ok": []}
        assert await ask(node, "token_list") == []


async def test_stuck_clients_block_nobody(tmp_path, virtual_time):
    async with served(tmp_path) as node, trio.open_nursery() as nursery:

        async def stuck() -> None:
            stream = await trio.open_unix_socket(tmp_path / "state" / "operator.sock")
            async with stream:
                await stream.send_all(b'{"verb":')
                began = trio.current_time()
                assert await stream.receive_some() == b""
                assert 9 <= trio.current_time() - began <= 21

        for _ in range(MOST_CONNECTIONS - 1):
            nursery.start_soon(stuck)
        await trio.testing.wait_all_tasks_blocked()
        assert json.loads(await raw(node, b'{"verb": "token_list", "args": {}}\n')) == {"ok": []}
        # Even when all places are taken, the next is served once the first ones' time is over.
        nursery.start_soon(stuck)
        nursery.start_soon(stuck)
        await trio.testing.wait_all_tasks_blocked()
        assert json.loads(await raw(node, b'{"verb": "token_list", "args": {}}\n')) == {"ok": []}


async def test_clients_that_leave(tmp_path, caplog):
    async with served(tmp_path) as node:
        for sent in (b"", b'{"verb": "tok', b'{"verb": "token_list", "args": {}}\n'):
            stream = await trio.open_unix_socket(tmp_path / "state" / "operator.sock")
            if sent:
                await stream.send_all(sent)
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await ask(node, "token_list") == []
    assert caplog.text == ""


async def test_an_error_of_ours_stays_in_its_connection(tmp_path, caplog, monkeypatch):
    async with served(tmp_path) as node:
        async def broken() -> list:
            raise ZeroDivisionError("bug")

        monkeypatch.setattr(node.control, "list_tokens", broken)
        with pytest.raises(UserError, match="does not answer"):
            await ask(node, "token_list")
        assert "operator connection failed" in caplog.text
        assert await ask(node, "sessions_list") == []


async def test_the_socket_is_for_root_and_goes_away(tmp_path):
    path = tmp_path / "state" / "operator.sock"
    async with served(tmp_path):
        assert path.stat().st_mode & 0o777 == 0o600
        assert not path.with_name("operator.sock.part").exists()
    assert not path.exists()


async def test_a_dead_processes_socket_is_replaced(tmp_path):
    async with served(tmp_path) as node:
        pass
    for name in ("operator.sock", "operator.sock.part"):
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(str(tmp_path / "state" / name))
        dead.close()
    with pytest.raises(NotRunning):
        call(tmp_path / "state", "token_list", {})
    async with served(tmp_path) as node:
        assert await ask(node, "token_list") == []


def test_nobody_runs(tmp_path):
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NotRunning, match=str(place)):
            call(place, "token_list", {})


def test_a_place_that_is_closed(tmp_path, monkeypatch):
    class Closed(socket.socket):
        def connect(self, address) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(operator.socket, "socket", Closed)
    with pytest.raises(PrivilegeError):
        call(tmp_path, "token_list", {})


async def test_a_directory_with_a_very_long_name(tmp_path):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    async with served(deep) as node:
        assert await ask(node, "token_list") == []


async def test_a_socket_that_cannot_be_made(tmp_path):
    async with Exit(tmp_path) as node:
        (tmp_path / "state" / "operator.sock").mkdir()
        with pytest.raises(StateError, match="operator socket"):
            await serve(node.control, tmp_path / "state")


async def test_answers_longer_than_a_buffer(tmp_path):
    async with served(tmp_path) as node:
        account = await node.account()
        for number in range(250):
            await node.create(account, key(number))
        assert len(await ask(node, "sessions_list")) == 250
