"""Odd requests on a real port: every answer is JSON, none is a 500, and early answers arrive."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest
import trio

from api import front, shares
from api.body import BODY_LIMIT_BYTES
from api.origin import Proxies
from api.shares import Shares
from tests.api.fakes import TOKEN, FakeControl
from tests.api.served import eventually, exchange, served

_END = b"Connection: close\r\n\r\n"


def _parts(answer: bytes) -> tuple[int, dict[str, object]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head.lower()
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/v1/regions", 200),
        (b"/v1/regions?x=%ff", 200),
        (b"http://exit.example/v1/regions", 200),
        (b"HTTPS://[::1/v1/regions", 200),
        (b"http://exit.example", 404),
        (b"?x", 404),
        (b"*", 404),
        (b"x", 404),
        (b"exit.example:443", 404),
        (b"//v1/regions", 200),
        (b"/v1//regions", 404),
        (b"/%ff%00%0d%0aX:y", 404),
        (b"/" + b"a" * 8000, 404),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"OPTIONS", b"CONNECT"])
async def test_targets(method: bytes, target: bytes, status: int) -> None:
    async with served(FakeControl()) as base:
        answer = await exchange(base, method + b" " + target + b" HTTP/1.1\r\nHost: x\r\n" + _END)
    if status == 404 or method == b"GET":
        assert _parts(answer)[0] == status
    else:
        assert answer.split()[1] == (b"204" if method == b"OPTIONS" else b"405")


@pytest.mark.parametrize("host", [b"", b"[::1", b"a:b:c", b"\xfc", b"x" * 5000, b"a b", b"a/b"])
async def test_hosts(host: bytes) -> None:
    async with served(FakeControl()) as base:
        answer = await exchange(base, b"GET /v1/regions HTTP/1.1\r\nHost: " + host + b"\r\n" + _END)
    assert _parts(answer)[0] == 200


async def test_http_1_0_without_any_host() -> None:
    async with served(FakeControl()) as base:
        assert _parts(await exchange(base, b"GET /v1/regions HTTP/1.0\r\n\r\n"))[0] == 200


async def test_a_websocket_is_told_in_json_that_there_is_none() -> None:
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    async with served(FakeControl()) as base:
        answer = await exchange(base, b"GET /v1/regions HTTP/1.1\r\nHost: x\r\n" + upgrade + key)
    assert answer.startswith(b"HTTP/1.1 404")
    assert b'{"error":"not found"}' in answer


async def test_an_early_answer_reaches_a_client_that_is_still_sending() -> None:
    head = b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n" + _END
    async with served(FakeControl()) as base:
        status, body = _parts(await exchange(base, head + b" " * 3_000_000))
    assert (status, body) == (413, {"error": "request body too large"})


async def test_the_app_is_handed_one_byte_more_than_the_limit_at_most() -> None:
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            seen.append(len(message["body"]))
            more = message["more_body"]

    to_app, from_client = trio.open_memory_channel[Any](10)
    for size, more in ((1000, True), (70_000, True), (70_000, True), (0, False)):
        to_app.send_nowait({"type": "http.request", "body": bytes(size), "more_body": more})
    headers = [(b"transfer-encoding", b"chunked")]
    scope: Any = {"type": "http", "http_version": "1.1", "path": "/", "headers": headers, "client": None}
    await front.Front(app, Shares(Proxies()))(scope, from_client.receive, to_app.send)
    assert seen == [1000, BODY_LIMIT_BYTES + 1 - 1000, 0, 0]


async def test_the_connection_goes_on_after_a_body_that_was_thrown_away() -> None:
    authorization = f"Authorization: Bearer {TOKEN}\r\n".encode()
    first = b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\n" + authorization + b"Content-Length: 70000\r\n\r\n"
    second = b"GET /v1/usage HTTP/1.1\r\nHost: x\r\n" + authorization + _END
    async with served(FakeControl()) as base:
        answer = await exchange(base, first + b" " * 70_000 + second)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"HTTP/1.1 200" in answer


async def test_a_client_that_announces_a_body_and_sends_none_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(front, "LINGER_SECONDS", 0.3)
    head = b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n"
    async with served(FakeControl()) as base:
        status, _ = _parts(await exchange(base, head, wait_seconds=30))
    assert status == 413


async def test_a_client_that_never_stops_sending_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "LINGER_BYTES", 1_000_000)
    monkeypatch.setattr(front, "LINGER_SECONDS", 60)
    sent = 0

    async def send_without_end(base: str) -> None:
        nonlocal sent
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        stream = await trio.open_tcp_stream("127.0.0.1", int(base.rpartition(":")[2]))
        async with stream:
            await stream.send_all(
                b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            while True:
                await stream.send_all(chunk)
                sent += len(chunk)

    async with served(FakeControl()) as base:
        with trio.fail_after(30), pytest.raises(trio.BrokenResourceError):
            await send_without_end(base)
    assert sent > 1_000_000


def _create(client: bytes) -> bytes:
    head = f"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    forwarded = b"X-Forwarded-For: " + client + b"\r\n"
    return head + forwarded + b"Content-Length: 16\r\n" + _END + b'{"region":"ash"}'


async def test_one_source_has_so_many_requests_under_way_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "REQUESTS_PER_SOURCE", 2)
    control = FakeControl()
    go_on = trio.Event()
    control.before_create = go_on.wait
    answers: list[int] = []

    async def ask(base: str, client: bytes) -> None:
        answers.append(_parts(await exchange(base, _create(client)))[0])

    async with served(control, proxies=Proxies([ip_network("127.0.0.1/32")])) as base:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, base, b"198.51.100.1")
            await eventually(lambda: bool(answers))
            nursery.start_soon(ask, base, b"198.51.100.2")
            await trio.sleep(0.2)
            assert answers == [429]
            go_on.set()
        assert sorted(answers) == [200, 200, 200, 429]
        answers.clear()
        await ask(base, b"198.51.100.1")
    assert answers == [200]


async def test_a_header_of_nobody_trusted_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "REQUESTS_PER_SOURCE", 0)
    async with served(FakeControl()) as base:
        assert _parts(await exchange(base, _create(b"198.51.100.1")))[0] == 200
