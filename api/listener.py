"""Listening and serving, apart: `bind` before anything is created, `serve` when everything is.

A busy port must be found while there is still nothing to undo, so `bind` also listens: with SO_REUSEADDR
Linux reports some conflicts only there. Early clients wait in the backlog. `serve` runs Hypercorn's Trio
worker on duplicates of those sockets, so that a listener that failed can be started again on the same port.

Stopping is bounded. After `shutdown` idle connections close at once and running requests get
GRACE_SECONDS. Then what is left is hung up on: Hypercorn shields its writes from cancellation, so a client
that does not read its answers could hold the whole program otherwise.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from typing import Final, cast

import trio
from hypercorn.config import Config, Sockets
from hypercorn.trio import serve as hypercorn_serve
from hypercorn.typing import ASGIFramework
from quart_trio import QuartTrio

from api.front import Front
from appliance.errors import InUseError, PrivilegeError, UsageError

GRACE_SECONDS: Final = 1.5
# An idle connection, one between requests or one that dawdles over its headers is closed after this.
IDLE_SECONDS: Final = 15.0
_HEADER_LIMIT_BYTES: Final = 16 * 1024
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


def url(sockets: Sequence[socket.socket]) -> str:
    """Where the API can be reached, with the real port and IPv6 hosts in brackets."""
    host, port = sockets[0].getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(
    app: QuartTrio,
    sockets: Sequence[socket.socket],
    shutdown: trio.Event,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until `shutdown` is set; returns when the last connection is gone.

    `sockets` stay open when this fails, for another try with another app, and are closed by a shutdown.
    """
    ports = {sock.getsockname()[1] for sock in sockets}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_hang_up_late, ports, shutdown)
        task_status.started()
        await hypercorn_serve(
            cast(ASGIFramework, Front(cast(ASGIFramework, app))),
            _Settings(sockets),
            shutdown_trigger=shutdown.wait,
            mode="asgi",
        )
        nursery.cancel_scope.cancel()
    _close(sockets)


class _Settings(Config):
    """Hypercorn's settings over sockets that are bound already."""

    accesslog = None  # it would hold client addresses
    errorlog = _log
    backlog = _BACKLOG
    graceful_timeout = GRACE_SECONDS
    h11_max_incomplete_size = _HEADER_LIMIT_BYTES
    include_server_header = False
    keep_alive_timeout = IDLE_SECONDS
    startup_timeout = 5.0
    shutdown_timeout = 1.0

    def __init__(self, sockets: Iterable[socket.socket]) -> None:
        self._listening = list(sockets)

    def create_sockets(self) -> Sockets:
        # Trio closes a listener's socket with the listener; ours outlive it.
        return Sockets([], [sock.dup() for sock in self._listening], [])


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


async def _hang_up_late(ports: set[int], shutdown: trio.Event) -> None:
    try:
        await shutdown.wait()
        await trio.sleep(GRACE_SECONDS + 0.5)
    finally:
        _hang_up(ports)


def _hang_up(ports: set[int]) -> None:
    """Shut every connection of this process that was accepted on one of `ports`.

    Hypercorn keeps no list of them; the kernel does. What the program connected to elsewhere has other
    local ports.
    """
    for name in os.listdir("/proc/self/fd"):
        try:
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as sock:
                inet = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
                if inet and sock.getsockname()[1] in ports:
                    sock.getpeername()  # a listening socket has none
                    sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue  # closed meanwhile, or not a connection
