"""Bounds on strangers' connections: in all, per source, and on how long nobody reads."""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import ip_network

import pytest
import trio
import trio.testing

from api import connections, origin
from api.origin import Proxies
from tests.api.fakes import FakeControl
from tests.api.served import eventually, exchange, served

_ASK = b"GET /v1/regions HTTP/1.0\r\n\r\n"


def _strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback stands for the internet here."""
    monkeypatch.setattr(origin, "source", lambda host: host)


async def _connect(base: str) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", int(base.rpartition(":")[2]))


async def test_further_connections_wait_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_AT_MOST", 2)
    answers: list[bytes] = []

    async def ask(base: str) -> None:
        answers.append(await exchange(base, _ASK))

    async with served(FakeControl()) as base, trio.open_nursery() as nursery:
        first, second = await _connect(base), await _connect(base)
        nursery.start_soon(ask, base)
        await trio.sleep(0.2)
        assert answers == []
        await first.aclose()
        await eventually(lambda: bool(answers))
        await second.aclose()
    assert answers[0].startswith(b"HTTP/1.1 200")


async def test_one_source_cannot_take_all_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    _strangers(monkeypatch)
    monkeypatch.setattr(connections, "CONNECTIONS_PER_SOURCE", 2)
    async with served(FakeControl()) as base:
        kept = [await _connect(base), await _connect(base)]
        third = await _connect(base)
        with trio.fail_after(5):
            try:
                assert await third.receive_some() == b""
            except trio.BrokenResourceError:
                pass  # a reset says the same
        await kept[0].aclose()
        answers = []
        for _ in range(100):
            answers.append(await _try(base))
            await trio.sleep(0.01)
        assert answers[-1].startswith(b"HTTP/1.1 200")
        await kept[1].aclose()
        await third.aclose()


async def _try(base: str) -> bytes:
    try:
        return await exchange(base, _ASK)
    except trio.BrokenResourceError:
        return b""


async def test_a_trusted_proxy_has_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    _strangers(monkeypatch)
    monkeypatch.setattr(connections, "CONNECTIONS_PER_SOURCE", 1)
    async with served(FakeControl(), proxies=Proxies([ip_network("127.0.0.0/8")])) as base:
        kept = [await _connect(base) for _ in range(3)]
        assert (await exchange(base, _ASK)).startswith(b"HTTP/1.1 200")
        for stream in kept:
            await stream.aclose()


async def test_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WRITE_SECONDS", 0.3)
    async with served(FakeControl()) as base:
        deaf = await _connect(base)
        # Short questions with long answers, one after the other: what fills the way back.
        with trio.fail_after(60), pytest.raises(trio.BrokenResourceError):
            await deaf.send_all(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000_000)
        await deaf.aclose()


async def test_reading_ends_as_the_connection_does() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    connection = connections.Connection(stream, None)
    theirs.send(b"word")
    assert await connection.receive_some(3) == b"wor"
    assert await connection.receive_some() == b"d"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_close_soon, connection)
        with pytest.raises(trio.ClosedResourceError):
            await connection.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await connection.receive_some()
    theirs.close()


async def _close_soon(connection: connections.Connection) -> None:
    await trio.testing.wait_all_tasks_blocked()
    await connection.aclose()


async def test_a_reset_is_a_broken_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    ours.setblocking(False)
    connection = connections.Connection(trio.SocketStream(trio.socket.from_stdlib_socket(ours)), None)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    with pytest.raises(trio.BrokenResourceError):
        await connection.receive_some()
    await connection.aclose()


async def test_connections_come_and_go_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    _strangers(monkeypatch)
    async with served(FakeControl()) as base:
        await exchange(base, _ASK)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            await exchange(base, _ASK)
        assert len(os.listdir("/proc/self/fd")) <= before
