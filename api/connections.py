"""Connections of strangers, bounded in number and in what each may hold.

* All together: when CONNECTIONS_AT_MOST are open, further ones wait in the kernel until one closes.
* Per source (api/origin.py): one more than CONNECTIONS_PER_SOURCE is closed at once, so that one machine that
  keeps its connections open cannot lock everybody else out. Trusted proxies have no such limit.
* A client that does not read what it asked for is cut off after WRITE_SECONDS; nothing else would end the
  wait, because writes are shielded from being cancelled.

How long a client may take to ask is said in listener.py and held by transport.py.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from typing import Final

import trio

from api import origin
from api.origin import Proxies

# Half of the descriptors that a process has by default.
CONNECTIONS_AT_MOST: Final = 512
CONNECTIONS_PER_SOURCE: Final = 64
WRITE_SECONDS: Final = 20.0
_READ_BYTES: Final = 64 * 1024


class Connection(trio.abc.HalfCloseableStream):
    """An accepted connection whose writes come to an end. The HTTP server also wants its `socket`."""

    def __init__(self, stream: trio.SocketStream, source: str | None) -> None:
        self._stream = stream
        self.socket = stream.socket
        self.source = source

    def send_now(self, data: bytes) -> int:
        """How much of it the kernel takes at once: nearly always all, and then nobody has to wait."""
        try:
            return os.write(self.socket.fileno(), data)
        except OSError:
            return 0  # no room, or no connection: whoever waits will hear which

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with trio.move_on_after(WRITE_SECONDS) as deadline:
            await self._stream.send_all(data)
        if deadline.cancelled_caught:
            self.hang_up()
            raise trio.BrokenResourceError("the client does not read")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        while (number := self.socket.fileno()) >= 0:
            # Waited for first: a client that has just been answered has not asked again yet.
            await trio.lowlevel.wait_readable(number)
            try:
                return os.read(number, max_bytes or _READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError("the connection is gone") from error
        raise trio.ClosedResourceError

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def hang_up(self) -> None:
        """End it both ways: whoever reads or writes here, shielded or not, hears of it at once."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # its client was faster


class Connections:
    """The connections that are open now."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies
        self._open: set[Connection] = set()
        self._of_source: Counter[str] = Counter()
        self._left = trio.Event()

    async def room(self) -> None:
        """Wait until there may be one more."""
        while len(self._open) >= CONNECTIONS_AT_MOST:
            self._left = trio.Event()
            await self._left.wait()

    def enter(self, stream: trio.SocketStream) -> Connection | None:
        """A connection of its own, None when its source has enough of them."""
        try:
            host = str(stream.socket.getpeername()[0])
        except OSError:
            return None  # gone already
        source = None if self._proxies.trust(host) else origin.source(host)
        if source is not None:
            if self._of_source[source] >= CONNECTIONS_PER_SOURCE:
                return None
            self._of_source[source] += 1
        connection = Connection(stream, source)
        self._open.add(connection)
        return connection

    def leave(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection.source is not None:
            self._of_source[connection.source] -= 1
            if not self._of_source[connection.source]:
                del self._of_source[connection.source]
        self._left.set()

    def hang_up(self) -> None:
        """End them all."""
        for connection in self._open:
            connection.hang_up()


class Listener(trio.abc.Listener[Connection]):
    """A listening socket that takes connections only as long as there is room for them."""

    def __init__(self, sock: socket.socket, connections: Connections) -> None:
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        self._connections = connections

    async def accept(self) -> Connection:
        while True:
            await self._connections.room()
            stream = await self._listener.accept()
            connection = self._connections.enter(stream)
            if connection is not None:
                return connection
            await trio.aclose_forcefully(stream)

    async def aclose(self) -> None:
        await self._listener.aclose()
