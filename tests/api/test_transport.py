"""One connection: idle times, few writes, apps that fail, and clients that leave."""

from __future__ import annotations

import errno
import io
import socket
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
from quart_trio import QuartTrio

from api import connections, listener, transport
from api.listener import bind, serve, url
from api.tls import Certificate
from appliance.log import setup
from tests.api import certificates
from tests.api.fakes import TOKEN, FakeControl
from tests.api.served import eventually, exchange, served

_ASK = f"GET /v1/usage HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
_CREATE = (
    f"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    'Content-Length: 16\r\n\r\n{"region":"ash"}'
).encode()


async def _connect(base: str) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", int(base.rpartition(":")[2]))


async def _answer(stream: trio.SocketStream) -> bytes:
    answer = b""
    with trio.fail_after(30):
        while not answer.endswith(b"}\n"):
            answer += await stream.receive_some()
    return answer


async def test_an_answer_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    def count(connection: connections.Connection, data: Any) -> int:
        written.append(bytes(data))
        return connection.socket._sock.send(data)  # type: ignore[attr-defined,no-any-return]  # trio's

    monkeypatch.setattr(connections.Connection, "send_now", count)
    async with served(FakeControl()) as base, await _connect(base) as stream:
        for asked in (_ASK, _CREATE):
            await stream.send_all(asked)
            assert await _answer(stream) == written.pop()
            assert written == []


async def test_an_answer_that_the_socket_does_not_take_at_once_arrives_whole() -> None:
    async with served(FakeControl()) as base:
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        narrow.connect(("127.0.0.1", int(base.rpartition(":")[2])))
        narrow.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(narrow))
        pages = 100  # more than the buffers of both sides take, asked for in one breath
        await stream.send_all(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * pages)
        answer = b""
        with trio.fail_after(60):
            while answer.count(b"</html>") < pages:
                answer += await stream.receive_some()
        heads = answer.split(b"HTTP/1.1 200 ")
        assert len(heads) == pages + 1
        assert len({part.partition(b"\r\n\r\n")[2] for part in heads[1:]}) == 1
        await stream.aclose()


async def test_a_connection_is_idle_from_one_answer_to_the_next_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener._Settings, "keep_alive_timeout", 2.0)
    async with served(FakeControl()) as base, await _connect(base) as stream:
        for _ in range(3):
            await stream.send_all(_ASK)
            await _answer(stream)
            await trio.sleep(0.8)
        with trio.fail_after(30):
            assert await stream.receive_some() == b""


async def test_a_request_under_way_is_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener._Settings, "keep_alive_timeout", 1.0)
    control = FakeControl()

    async def think() -> None:
        await trio.sleep(1.5)

    control.before_create = think
    async with served(control) as base, await _connect(base) as stream:
        await stream.send_all(_CREATE)
        assert (await _answer(stream)).startswith(b"HTTP/1.1 200")
        with trio.fail_after(30):
            assert await stream.receive_some() == b""


async def test_a_request_ends_when_its_client_leaves() -> None:
    control = FakeControl()
    seen: list[str] = []

    async def wait() -> None:
        try:
            seen.append("begun")
            await trio.sleep_forever()
        finally:
            seen.append("over")

    control.before_create = wait
    async with served(control) as base:
        stream = await _connect(base)
        await stream.send_all(_CREATE)
        await eventually(lambda: seen == ["begun"])
        await stream.aclose()
        await eventually(lambda: seen == ["begun", "over"])


async def _served_app(app: Callable[..., Any], raw: bytes) -> bytes:
    sockets, shutdown = bind("127.0.0.1", 0), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, cast(QuartTrio, app), sockets, shutdown)
        answer = await exchange(url(sockets), raw)
        shutdown.set()
    return answer


@pytest.mark.parametrize("failure", [RuntimeError("a bug"), ExceptionGroup("two", [OSError("one")])])
async def test_an_app_that_fails_is_logged_and_the_next_request_served(failure: Exception) -> None:
    log = io.StringIO()
    setup("info", log)

    async def app(scope: dict[str, Any], receive: object, send: Any) -> None:
        if scope["path"] == "/bad":
            raise failure
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    close = b"Host: x\r\nConnection: close\r\n\r\n"
    assert (await _served_app(app, b"GET /bad HTTP/1.1\r\n" + close)).startswith(b"HTTP/1.1 500")
    assert (await _served_app(app, b"GET /good HTTP/1.1\r\n" + close)).startswith(b"HTTP/1.1 204")
    lines = [line for line in log.getvalue().splitlines() if 'msg="request failed"' in line]
    assert len(lines) == 1


async def test_a_client_that_is_gone_before_anything_was_said_is_no_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = io.StringIO()
    setup("debug", log)

    def gone(*_: object) -> None:
        raise OSError(errno.ENOTCONN, "not connected")

    monkeypatch.setattr(transport, "parse_socket_addr", gone)
    async with served(FakeControl()) as base:
        assert await exchange(base, _ASK) == b""
        monkeypatch.undo()
        assert (await exchange(base, _ASK.replace(b"Host", b"Connection: close\r\nHost"))).endswith(b"}\n")
    assert log.getvalue() == ""


async def test_who_speaks_no_tls_to_a_tls_port_is_let_go(tmp_path: Any) -> None:
    files = certificates.write(tmp_path, *certificates.make("first"))
    async with served(FakeControl(), tls=Certificate(*files)) as base:
        assert b"HTTP/1.1 200" not in await exchange(base.replace("https", "http"), _ASK)
