"""One connection: Hypercorn's protocols over a stream, in as few steps as they can do with.

Hypercorn's own `TCPServer` starts and ends a task for the idle time between any two requests, sends an answer
in three writes, and gives way to the scheduler at each of a dozen events; together that is most of what a
small answer costs. Here

* the idle time is a deadline of the task that reads, not a task;
* events for an app that has room for them are handed over at once;
* a write that the socket takes at once does not wait, and what belongs to one answer is one write (http1.py).

What it does is the same: the TLS handshake has its time, a connection without a request under way is closed
after `keep_alive_timeout` or when the server stops, a write that has begun is not cut short by a
cancellation, and all is over when the client has gone. A failure of an app is logged, answered with 500 if
nothing was sent yet, and is nobody else's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    Scope,
    TaskGroup,
)
from hypercorn.utils import parse_socket_addr

from api.connections import Connection
from appliance.log import event

_READ_BYTES: Final = 64 * 1024

_log = logging.getLogger("sallyport.http")


class Spoken(Protocol):
    """HTTP on one connection: hears what happens to it, and says through a function what to do."""

    async def initiate(self) -> None: ...

    async def handle(self, event: Event) -> None: ...


class Transport:
    """A connection on its way through TLS, if there is any, and HTTP.

    `http1` makes what speaks HTTP/1 from the same arguments as Hypercorn's HTTP/2 takes.
    """

    def __init__(
        self,
        app: ASGIWrapper,
        settings: Config,
        context: WorkerContext,
        stream: Connection | trio.SSLStream[Connection],
        http1: Callable[..., Spoken],
    ) -> None:
        self._app = app
        self._settings = settings
        self._context = context
        self._stream = stream
        self._http1 = http1
        self._plain = stream if isinstance(stream, Connection) else None
        self._writing = trio.Lock()
        # Its deadline is when an idle connection is closed; there is none while a request is under way.
        self._patience = trio.CancelScope()
        self._protocol: Spoken

    async def run(self) -> None:
        """Serve until the client has gone, was idle for too long, or the server stops."""
        try:
            with trio.fail_after(self._settings.ssl_handshake_timeout):
                spoken = await self._secure()
            async with trio.open_nursery() as nursery:
                self._protocol = self._speak(spoken, cast(TaskGroup, _Requests(nursery)))
                await self._protocol.initiate()
                self._be_idle()
                with self._patience:
                    await self._read()
                await self._protocol.handle(Closed())
        except* (OSError, trio.BrokenResourceError, trio.TooSlowError):
            pass  # its client left, or speaks no TLS
        finally:
            await self._close()

    def close_if_idle(self) -> None:
        """The server stops: no further request here."""
        if self._patience.deadline < math.inf:
            self._patience.cancel()

    async def _secure(self) -> str:
        """Shake hands, if this is TLS; gives the protocol that was agreed upon."""
        if isinstance(self._stream, Connection):
            return "http/1.1"
        await self._stream.do_handshake()
        return self._stream.selected_alpn_protocol() or "http/1.1"

    def _speak(self, spoken: str, requests: TaskGroup) -> Spoken:
        secure = not isinstance(self._stream, Connection)
        below = self._stream if isinstance(self._stream, Connection) else self._stream.transport_stream
        sock = below.socket
        speak = H2Protocol if spoken == "h2" else self._http1
        return speak(
            self._app,
            self._settings,
            self._context,
            requests,
            ConnectionState({}),
            secure,
            parse_socket_addr(sock.family, sock.getpeername()),
            parse_socket_addr(sock.family, sock.getsockname()),
            self._send,
        )

    async def _read(self) -> None:
        data = b"some"
        while data:
            try:
                data = bytes(await self._stream.receive_some(_READ_BYTES))
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                return
            await self._protocol.handle(RawData(data))

    async def _send(self, what: Event) -> None:
        """What the protocol wants done."""
        # Asked for exactly: these types are abstract at the root, where `isinstance` takes microseconds.
        if type(what) is RawData:
            # What has been cancelled says nothing more; what has begun to be said is said to its end.
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                await self._write(what.data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await self._protocol.handle(Closed())
        elif type(what) is Closed:
            await self._close()
            await self._protocol.handle(Closed())
        elif type(what) is Updated:
            if what.idle:
                self._be_idle()
            else:
                self._patience.deadline = math.inf

    async def _write(self, data: bytes) -> None:
        if self._plain is not None and not self._writing.locked():
            data = data[self._plain.send_now(data) :]
            if not data:
                return
        with trio.CancelScope(shield=True):
            async with self._writing:
                await self._stream.send_all(data)

    def _be_idle(self) -> None:
        self._patience.deadline = trio.current_time() + self._settings.keep_alive_timeout

    async def _close(self) -> None:
        try:
            if self._plain is not None:
                await self._plain.send_eof()
        except (trio.BrokenResourceError, trio.BusyResourceError, trio.ClosedResourceError):
            pass  # nobody is there to hear it
        await self._stream.aclose()


class _Requests:
    """The tasks of one connection: one for each request, and what HTTP/2 needs beside them."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    async def spawn_app(
        self,
        app: AppWrapper,
        settings: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        to_app, from_client = trio.open_memory_channel[ASGIReceiveEvent](settings.max_app_queue_size)
        self._nursery.start_soon(_answer, app, scope, from_client.receive, send)

        async def put(message: ASGIReceiveEvent) -> None:
            try:
                to_app.send_nowait(message)
            except trio.WouldBlock:
                await to_app.send(message)

        return put

    def spawn(self, work: Callable[..., Awaitable[object]], *arguments: object) -> None:
        self._nursery.start_soon(work, *arguments)


async def _answer(
    app: AppWrapper,
    scope: Scope,
    receive: ASGIReceiveCallable,
    send: Callable[[ASGISendEvent | None], Awaitable[None]],
) -> None:
    try:
        await app(scope, receive, send, trio.to_thread.run_sync, trio.from_thread.run)
    except* Exception as failures:
        event(_log, logging.ERROR, "request failed", exc_info=failures)
    finally:
        await send(None)
