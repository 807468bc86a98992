"""The control socket over a real connection: cutting requests, signs of errno, life cycle, stuck clients."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from appliance.device.device import Device
from appliance.errors import InUseError
from appliance.pump import Pump
from appliance.uapi import UapiServer

KEY = "01" * 32


@asynccontextmanager
async def serving(directory: Path, *, guarded: bool = False) -> AsyncIterator[tuple[Device, str]]:
    device = Device(Pump(seed=1))
    server = UapiServer(device, "wgtest0", guarded=guarded, directory=str(directory))
    try:
        server.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            yield device, server.path
            nursery.cancel_scope.cancel()
    finally:
        server.close()
        device.close()


@asynccontextmanager
async def connected(path: str) -> AsyncIterator[trio.SocketStream]:
    async with await trio.open_unix_socket(path) as stream:
        yield stream


async def answer(stream: trio.SocketStream) -> str:
    text = b""
    with trio.fail_after(10):
        while not text.endswith(b"\n\n"):
            piece = await stream.receive_some(65536)
            assert piece, "closed in the middle of an answer"
            text += piece
    return text.decode()


async def ask(stream: trio.SocketStream, *lines: str) -> str:
    await stream.send_all(("\n".join(lines) + "\n\n").encode())
    return await answer(stream)


async def ask_once(path: str, *lines: str) -> str:
    async with connected(path) as stream:
        return await ask(stream, *lines)


async def test_several_requests_on_one_connection(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path), connected(path) as stream:
        assert await ask(stream, "get=1") == "errno=0\n\n"
        assert await ask(stream, "set=1", f"private_key={KEY}", f"public_key={'02' * 32}") == "errno=0\n\n"
        shown = await ask(stream, "get=1")
        assert f"public_key={'02' * 32}\n" in shown
        assert shown.endswith("errno=0\n\n")


async def test_errors_are_negative_and_leave_the_connection_in_step(tmp_path: Path) -> None:
    async with serving(tmp_path) as (device, path), connected(path) as stream:
        lines = ["set=1", f"public_key={KEY}", "colour=blue", "allowed_ip=10.0.0.0/8", "listen_port=77"]
        assert await ask(stream, *lines) == "errno=-22\n\n"
        assert len(device.peers) == 0, "nothing of a request that is refused is applied"
        assert await ask(stream, "set=1", "nonsense") == "errno=-71\n\n"
        assert await ask(stream, "get=1") == "errno=0\n\n"


async def test_a_request_may_arrive_byte_by_byte_or_with_the_next(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path), connected(path) as stream:
        for byte in b"get=1\n\n":
            await stream.send_all(bytes([byte]))
        assert await answer(stream) == "errno=0\n\n"
        await stream.send_all(b"set=1\n\nset=1\nfwmark=9\n\nget=1\n\n")
        text = ""
        while text.count("errno") < 3:
            text += await answer(stream)
        assert text == "errno=0\n\nerrno=0\n\nfwmark=9\nerrno=0\n\n"


async def test_an_unknown_operation_or_an_endless_line_closes(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path), AsyncExitStack() as clients:
        for rubbish in (b"hello\n\n", b"x" * 10000):
            stream = await clients.enter_async_context(connected(path))
            await stream.send_all(rubbish)
            with trio.fail_after(10):
                try:
                    assert await stream.receive_some() == b""
                except trio.BrokenResourceError:  # closed while our bytes were unread
                    continue


async def test_a_stuck_client_blocks_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path), AsyncExitStack() as clients:
        stuck = [await clients.enter_async_context(connected(path)) for _ in range(10)]
        for stream in stuck:
            await stream.send_all(b"set=1\nprivate_")
        assert await ask_once(path, "get=1") == "errno=0\n\n"


async def test_when_there_are_too_many_the_silent_make_room(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path), AsyncExitStack() as clients:
        silent = [await clients.enter_async_context(connected(path)) for _ in range(70)]
        assert await ask_once(path, "get=1") == "errno=0\n\n"
        with trio.fail_after(10):
            assert await silent[0].receive_some() == b""
        # Whoever asks now and then stays, however many come.
        steady = await clients.enter_async_context(connected(path))
        for _ in range(70):
            assert await ask(steady, "get=1") == "errno=0\n\n"
            await clients.enter_async_context(connected(path))
        assert await ask(steady, "get=1") == "errno=0\n\n"


async def test_a_guarded_interface_says_eperm(tmp_path: Path) -> None:
    async with serving(tmp_path, guarded=True) as (_, path):
        assert await ask_once(path, "set=1", "replace_peers=true") == "errno=-1\n\n"


async def test_the_socket_is_private_and_goes_with_the_server(tmp_path: Path) -> None:
    directory = tmp_path / "wireguard"
    async with serving(directory) as (_, path):
        assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0
        assert stat.S_IMODE(directory.stat().st_mode) == 0o755
    assert list(directory.iterdir()) == []


async def test_a_dead_ones_socket_is_replaced_and_a_living_one_respected(tmp_path: Path) -> None:
    stale = tmp_path / "wgtest0.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    async with serving(tmp_path) as (_, path):
        assert await ask_once(path, "get=1") == "errno=0\n\n"
        second = Device(Pump(seed=1))
        try:
            with pytest.raises(InUseError, match="wgtest0"):
                UapiServer(second, "wgtest0", guarded=False, directory=str(tmp_path)).open()
        finally:
            second.close()
        assert await ask_once(path, "get=1") == "errno=0\n\n"


async def test_a_socket_that_somebody_else_put_there_is_not_removed(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path):
        os.unlink(path)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
    assert os.listdir(tmp_path) == [os.path.basename(path)]
