"""Ports found busy in time, real addresses reported, curl as in the documentation, and bounded stops."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any, cast

import pytest
import trio
import trio.testing

from api import connections, listener
from api.app import create_app
from api.listener import bind, serve, url
from appliance.control.door import Control
from appliance.errors import InUseError, PrivilegeError, UsageError
from tests.api.fakes import OTHER_TOKEN, TOKEN, FakeControl
from tests.api.served import eventually, exchange, free_port, served, shell


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", "0.0.0.0")]
)
def test_port_0_is_a_real_port_in_the_url(host: str, shown: str) -> None:
    sockets = bind(host, 0)
    port = sockets[0].getsockname()[1]
    assert port != 0
    assert url(sockets) == f"http://{shown}:{port}"
    _close(sockets)


def test_a_name_listens_on_all_its_addresses_on_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(*_: object, **__: object) -> list[Any]:
        v4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
        v6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0))
        absent = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))
        return [v6, v4, v4, absent]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    sockets = bind("exit", 0)
    assert [sock.getsockname()[0] for sock in sockets] == ["::1", "127.0.0.1"]
    assert len({sock.getsockname()[1] for sock in sockets}) == 1
    _close(sockets)


@pytest.mark.parametrize(
    ("taken", "wanted"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("0.0.0.0", "127.0.0.1")]
)
def test_a_busy_port(taken: str, wanted: str) -> None:
    first = bind(taken, 0)
    port = first[0].getsockname()[1]
    with pytest.raises(InUseError) as refusal:
        bind(wanted, port)
    shown = f"[{wanted}]:{port}" if ":" in wanted else f"{wanted}:{port}"
    assert str(refusal.value) == f"api address {shown} is in use; give another with --api"
    _close(first)
    _close(bind(wanted, port))


def test_a_port_that_is_bound_but_does_not_listen_is_found_too() -> None:
    port = free_port()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        ours = bind("127.0.0.1", port)
        with pytest.raises(OSError, match="in use"):
            other.listen()
        _close(ours)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no-such-host.invalid", "x" * 70, "a..b"])
def test_a_host_that_is_not_here(host: str) -> None:
    with pytest.raises(UsageError) as refusal:
        bind(host, 0)
    assert str(refusal.value).startswith("api address ")


def test_a_port_that_is_not_ours_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(listener, "_listen", refuse)
    with pytest.raises(PrivilegeError, match=r"api address 127\.0\.0\.1:80: Permission denied"):
        bind("127.0.0.1", 80)


@pytest.mark.parametrize(("host", "others"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True)])
def test_who_can_connect(host: str, others: bool) -> None:
    sockets = bind(host, 0)
    assert listener.reaches_others(sockets) is others
    _close(sockets)


async def test_headers_that_trickle_in_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener._Settings, "keep_alive_timeout", 0.5)
    async with served(FakeControl()) as base:
        started = trio.current_time()
        stream = await trio.open_tcp_stream("127.0.0.1", int(base.rpartition(":")[2]))
        try:
            await stream.send_all(b"GET /v1/regions HTTP/1.1\r\nHost: x\r\nA: ")
            with trio.fail_after(listener.IDLE_SECONDS):
                while True:
                    await stream.send_all(b"a")
                    await trio.sleep(0.05)
        except trio.BrokenResourceError:
            assert trio.current_time() - started < listener.IDLE_SECONDS - 1
        await stream.aclose()


async def test_a_client_that_leaves_is_forgotten_at_once() -> None:
    async with served(FakeControl()) as base:
        before = len(os.listdir("/proc/self/fd"))
        streams = [await trio.open_tcp_stream("127.0.0.1", int(base.rpartition(":")[2])) for _ in range(5)]
        await eventually(lambda: len(os.listdir("/proc/self/fd")) == before + 10)
        for stream in streams:
            await stream.aclose()
        await eventually(lambda: len(os.listdir("/proc/self/fd")) == before)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_curl_lines_of_the_documentation(host: str) -> None:
    control = FakeControl()
    async with served(control, host) as base:
        created = json.loads(
            await shell(
                f"""curl -sX POST {base}/v1/sessions \\
  -H "Authorization: Bearer $TB_KEY" \\
  -d '{{"region":"ash"}}'""",
                TB_KEY=TOKEN,
            )
        )
        assert set(created) == {"id", "public_ip", "wg_config", "expires_at", "tier"}
        line = f'curl -s {base}/v1/sessions/{created["id"]} \\\n  -H "Authorization: Bearer $TB_KEY"'
        assert json.loads(await shell(line, TB_KEY=TOKEN))["id"] == created["id"]
        assert json.loads(await shell(line, TB_KEY=OTHER_TOKEN)) == {"error": "session not found"}
        gone = f'curl -s -X DELETE {base}/v1/sessions/{created["id"]} -H "Authorization: Bearer $TB_KEY"'
        assert json.loads(await shell(gone, TB_KEY=TOKEN))["terminated_reason"] == "client_closed"


@pytest.mark.parametrize("size", [65_537, 300_000, 5_000_000])
@pytest.mark.parametrize("how", ["", "-H 'Transfer-Encoding: chunked'", "-H 'Expect:'"])
async def test_curl_hears_that_its_body_is_too_large(tmp_path: Any, size: int, how: str) -> None:
    (tmp_path / "body").write_bytes(b" " * size)
    async with served(FakeControl()) as base:
        line = (
            f"curl -s -w ' %{{http_code}} %{{content_type}}' -X POST {how} --data-binary @{tmp_path}/body"
            f' -H "Authorization: Bearer {TOKEN}" {base}/v1/sessions'
        )
        assert await shell(line) == '{"error":"request body too large"}\n 413 application/json'


async def test_no_secret_is_cached_and_no_server_named() -> None:
    async with served(FakeControl()) as base:
        answer = await exchange(base, b"GET /v1/regions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b"cache-control: no-store" in head
    assert b"server:" not in head


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener._Settings, "keep_alive_timeout", 0.2)
    async with served(FakeControl()) as base:
        assert await exchange(base, b"GET /v1/regions HTTP/1.1\r\nHost") == b""


async def test_a_shutdown_closes_the_port_and_idle_connections_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grace(monkeypatch, 60)
    async with served(FakeControl()) as base:
        port = int(base.rpartition(":")[2])
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET /v1/regions HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}\n"):
            answer += await stream.receive_some()
        started = time.monotonic()
    assert time.monotonic() - started < 30
    assert await stream.receive_some() == b""
    await stream.aclose()
    _close(bind("127.0.0.1", port))


def grace(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """So long a stop waits for requests under way."""
    monkeypatch.setattr(listener, "GRACE_SECONDS", seconds)
    monkeypatch.setattr(listener._Settings, "graceful_timeout", seconds)


@pytest.mark.parametrize("finished", [True, False])
async def test_a_running_request_has_the_grace_period(
    finished: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    grace(monkeypatch, 30 if finished else 0.5)
    control = FakeControl()
    reached, go_on = trio.Event(), trio.Event()

    async def wait() -> None:
        reached.set()
        await go_on.wait()

    control.before_create = wait
    answers: list[bytes] = []

    async def ask(base: str) -> None:
        request = f"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        raw = request.encode() + b'Content-Length: 16\r\n\r\n{"region":"ash"}'
        answers.append(await exchange(base, raw))

    async def finish() -> None:
        await trio.sleep(0.1)
        go_on.set()

    async with trio.open_nursery() as nursery, served(control) as base:
        nursery.start_soon(ask, base)
        await reached.wait()
        if finished:
            nursery.start_soon(finish)
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200" if finished else b""]


async def test_a_client_that_does_not_read_cannot_hold_the_stop() -> None:
    async with served(FakeControl()) as base:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(("127.0.0.1", int(base.rpartition(":")[2])))
        deaf.setblocking(False)
        # Short questions with long answers, one after the other: what fills the way back.
        full = 0
        while full < 20:
            try:
                deaf.send(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
                full = 0
            except BlockingIOError:
                full += 1
            await trio.sleep(0.02 if full else 0)
        started = time.monotonic()
    # Else it would hold it until it must have read.
    assert time.monotonic() - started < connections.WRITE_SECONDS - 1
    deaf.close()


async def test_a_listener_that_failed_starts_again_on_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = bind("127.0.0.1", 0)
    before = len(os.listdir("/proc/self/fd"))

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    app = create_app(cast(Control, FakeControl()))
    with monkeypatch.context() as broken:
        broken.setattr(listener.trio, "serve_listeners", fail)
        with pytest.raises(ExceptionGroup):
            await serve(app, sockets, trio.Event())
    assert len(os.listdir("/proc/self/fd")) == before
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, create_app(cast(Control, FakeControl())), sockets, shutdown)
        answer = await exchange(url(sockets), b"GET /v1/regions HTTP/1.0\r\n\r\n")
        shutdown.set()
    assert answer.startswith(b"HTTP/1.1 200")
    assert sockets[0].fileno() == -1
