"""The API on a real loopback port over the fake door, for tests of what the test client cannot show."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import trio

from api.app import create_app, create_lane
from api.listener import bind, serve, url
from api.origin import Proxies
from api.tls import Certificate
from appliance.control.door import Control
from tests.api.fakes import FakeControl


@asynccontextmanager
async def served(
    control: FakeControl,
    host: str = "127.0.0.1",
    proxies: Proxies | None = None,
    tls: Certificate | None = None,
) -> AsyncIterator[str]:
    """Yield the URL; on leaving, the server has been asked to stop and has stopped."""
    sockets = bind(host, 0)
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery:
        door = cast(Control, control)
        start = partial(serve, proxies=proxies, certificate=tls, lane=create_lane(door))
        await nursery.start(start, create_app(door), sockets, shutdown)
        try:
            yield url(sockets, secure=tls is not None)
        finally:
            shutdown.set()


async def exchange(base: str, raw: bytes, wait_seconds: float = 10.0) -> bytes:
    """Send `raw` to the server of `base` and read until it hangs up."""
    host, _, port = base.removeprefix("http://").rpartition(":")
    with trio.fail_after(wait_seconds):
        stream = await trio.open_tcp_stream(host.strip("[]"), int(port))
        async with stream:
            answer = b""
            await stream.send_all(raw)
            async for data in stream:
                answer += data
    return answer


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something is so; fails when it does not become so."""
    for _ in range(500):
        if holds():
            return
        await trio.sleep(0.01)
    raise AssertionError("it never was")


async def shell(command: str, **environment: str) -> str:
    """Run a command line as a person would, and give what it wrote on stdout."""
    done = await trio.run_process(
        ["sh", "-c", command], env={"PATH": "/usr/bin:/bin", **environment}, capture_stdout=True
    )
    return bytes(cast(subprocess.CompletedProcess[bytes], done).stdout).decode()


def free_port(family: int = socket.AF_INET) -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        return int(sock.getsockname()[1])
