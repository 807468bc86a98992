"""Listening and serving, apart: `bind` before anything is created, `serve` when everything is.

A busy port must be found while there is still nothing to undo, so `bind` also listens: with SO_REUSEADDR
Linux reports some conflicts only there. Early clients wait in the backlog. `serve` runs connections
(transport.py) on duplicates of those sockets, so that a listener that failed can be started again on the
same port. The accepting is ours (connections.py), because Hypercorn's knows no bound.

Stopping is bounded. After `shutdown` idle connections close at once and running requests get
GRACE_SECONDS. Then what is left is hung up on: writes are shielded from cancellation, so a client
that does not read its answers could hold the whole program otherwise.
"""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, LifespanState
from quart_trio import QuartTrio

from api import origin, request_ids
from api.connections import Connection, Connections, Listener
from api.front import Front
from api.http1 import OurH11Protocol
from api.lane import Lane
from api.origin import Proxies
from api.shares import Shares
from api.tls import Certificate
from api.transport import Transport
from appliance.errors import InUseError, PrivilegeError, UsageError
from appliance.log import event

GRACE_SECONDS: Final = 1.5
# An idle connection, one between requests or one that dawdles over its headers is closed after this.
IDLE_SECONDS: Final = 15.0
HEADER_LIMIT_BYTES: Final = 16 * 1024
_BACKLOG: Final = 128

# Hypercorn announces addresses at INFO that the ready line says better; its errors are ours.
_log = logging.getLogger("sallyport.http")
_log.setLevel(logging.WARNING)


def bind(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of `host` (a literal or a name), all on one port; 0: any free one.

    Raises UsageError when the host has no address here, InUseError when the port is taken and
    PrivilegeError when it is not ours to take.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICSERV)
    except (OSError, UnicodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "no host name"
        raise UsageError(f"api address {where}: {said}") from None
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
        for family, address in addresses:
            # A free port is chosen once, by the first address.
            chosen = sockets[0].getsockname()[1] if sockets else port
            try:
                sockets.append(_listen(family, (address[0], chosen, *address[2:]), len(addresses) > 1))
            except OSError as error:
                # `localhost` means ::1, too, and a host may well have no IPv6.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error
    except OSError as error:
        _close(sockets)
        raise _refusal(where, error) from None
    if not sockets and missing is not None:
        raise _refusal(where, missing)
    return sockets


def url(sockets: Sequence[socket.socket], *, secure: bool = False) -> str:
    """Where the API can be reached, with the real port and IPv6 hosts in brackets."""
    host, port = sockets[0].getsockname()[:2]
    scheme = "https" if secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def reaches_others(sockets: Sequence[socket.socket]) -> bool:
    """Whether anybody but this host itself can connect."""
    return any(origin.source(sock.getsockname()[0]) is not None for sock in sockets)


async def serve(
    app: QuartTrio,
    sockets: Sequence[socket.socket],
    shutdown: trio.Event,
    *,
    proxies: Proxies | None = None,
    certificate: Certificate | None = None,
    lane: Lane | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until `shutdown` is set; returns when the last connection is gone.

    What `lane` can answer never reaches the app.
    `sockets` stay open when this fails, for another try with another app, and are closed by a shutdown.
    """
    believed = proxies or Proxies()
    shares = Shares(believed)
    http1 = partial(OurH11Protocol, lane, shares)
    server = _Server(Front(cast(ASGIFramework, app), shares), http1, Connections(believed), certificate)
    # Trio closes a listener's socket with the listener; ours outlive it.
    await server.run([sock.dup() for sock in sockets], shutdown, task_status)
    _close(sockets)


class _Settings(Config):
    """Hypercorn's settings for one connection."""

    accesslog = None  # it would hold client addresses
    errorlog = _log
    graceful_timeout = GRACE_SECONDS
    h11_max_incomplete_size = HEADER_LIMIT_BYTES
    h2_max_concurrent_streams = 16
    h2_max_header_list_size = HEADER_LIMIT_BYTES
    include_server_header = False
    keep_alive_timeout = IDLE_SECONDS
    startup_timeout = 5.0
    shutdown_timeout = 1.0
    ssl_handshake_timeout = IDLE_SECONDS

    # The headers that all answers of one second have: the date.
    _second = 0
    _of_second: list[tuple[bytes, bytes]]

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """Asked for every answer, also where no app was."""
        now = int(time.time())
        if now != self._second:
            self._second, self._of_second = now, super().response_headers(protocol)
        return [*self._of_second, request_ids.answered()]


class _Server:
    """One life of the listeners: like Hypercorn's own worker, over our connections."""

    def __init__(
        self,
        app: Front,
        http1: Callable[..., OurH11Protocol],
        connections: Connections,
        certificate: Certificate | None,
    ) -> None:
        self._app = ASGIWrapper(cast(ASGIFramework, app))
        self._http1 = http1
        self._connections = connections
        self._certificate = certificate
        self._settings = _Settings()
        self._context = WorkerContext(None)
        self._state: LifespanState = {}
        self._transports: set[Transport] = set()

    async def run(
        self, sockets: Sequence[socket.socket], shutdown: trio.Event, task_status: trio.TaskStatus[None]
    ) -> None:
        listeners = [Listener(sock, self._connections) for sock in sockets]
        lifespan = Lifespan(self._app, self._settings, self._state)
        try:
            async with trio.open_nursery() as around:
                await around.start(lifespan.handle_lifespan)
                await lifespan.wait_for_startup()
                around.start_soon(self._hang_up_late, shutdown)
                async with trio.open_nursery() as handlers:
                    accept = partial(trio.serve_listeners, handler_nursery=handlers)
                    async with trio.open_nursery() as accepting:
                        await accepting.start(accept, self._handle, listeners)
                        task_status.started()
                        await shutdown.wait()
                        accepting.cancel_scope.cancel()
                    await self._context.terminated.set()
                    for transport in self._transports:
                        transport.close_if_idle()
                    handlers.cancel_scope.deadline = trio.current_time() + self._settings.graceful_timeout
                await lifespan.wait_for_shutdown()
                around.cancel_scope.cancel()
        finally:
            for listener in listeners:
                await trio.aclose_forcefully(listener)

    async def _handle(self, connection: Connection) -> None:
        secured = self._secured(connection)
        transport = Transport(self._app, self._settings, self._context, secured, self._http1)
        self._transports.add(transport)
        try:
            await transport.run()
        except Exception as failure:  # what one client does to its connection is nobody else's business
            event(_log, logging.ERROR, "connection failed", exc_info=failure)
        finally:
            self._transports.discard(transport)
            self._connections.leave(connection)

    def _secured(self, connection: Connection) -> Connection | trio.SSLStream[Connection]:
        if self._certificate is None:
            return connection
        context = self._certificate.context()
        return trio.SSLStream(connection, context, server_side=True, https_compatible=True)

    async def _hang_up_late(self, shutdown: trio.Event) -> None:
        try:
            await shutdown.wait()
            await trio.sleep(GRACE_SECONDS + 0.5)
        finally:
            self._connections.hang_up()


def _listen(family: int, address: tuple[str | int, ...], one_of_many: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6 and one_of_many:  # else `[::]` stands for IPv4, too
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _refusal(where: str, error: OSError) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return InUseError(f"api address {where} is in use; give another with --api")
    if error.errno in (errno.EACCES, errno.EPERM):
        return PrivilegeError(f"api address {where}: {error.strerror}")
    return UsageError(f"api address {where}: {error.strerror}")


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
