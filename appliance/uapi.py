"""The control socket of an interface: /var/run/wireguard/NAME.sock, as `wg` expects it.

Each client has a task of its own and every read and write a deadline, so one that is slow or stuck
blocks nobody; when there are too many, the one that has said nothing for longest makes room. A request is
read up to its blank line before any of it is parsed: after an error the connection is in step for the next
request. The words are `core/uapi_text.py`'s, the deeds `device/configure.py`'s.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Iterator
from itertools import islice

import trio

from appliance.core.uapi_text import UapiError, format_get, parse_set_untrusted
from appliance.device.configure import apply, device_state, peer_states
from appliance.device.device import Device
from appliance.errors import InUseError, PrivilegeError
from appliance.log import event

_log = logging.getLogger("sallyport.uapi")

SOCKET_DIRECTORY = "/var/run/wireguard"

_CLIENTS = 64
_IDLE_SECONDS = 60.0
_LINE_BYTES = 4096
# 130,560 allowed-ips of one device are some 8 MB.
_REQUEST_BYTES = 64 * 1024 * 1024
_PIECES_PER_SEND = 64
_RECEIVE_BYTES = 65536


def check_name_free(name: str, *, directory: str = SOCKET_DIRECTORY) -> None:
    """InUseError when a living process answers for that interface, in whichever network namespace it is."""
    path = os.path.join(directory, f"{name}.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return
        except TimeoutError:
            pass  # somebody listens, however slowly
        except PermissionError:
            return  # whoever may not look may not make an interface either, and is told so then
    raise InUseError(f"interface {name} is in use: another process answers at {path}")


class UapiServer:
    """Serves one device. `guarded`: sessions own this interface (see `device/configure.py`)."""

    def __init__(
        self, device: Device, name: str, *, guarded: bool, directory: str = SOCKET_DIRECTORY
    ) -> None:
        self.path = os.path.join(directory, f"{name}.sock")
        self._device = device
        self._name = name
        self._guarded = guarded
        self._lock = trio.Lock()
        # Those who are connected, in the order in which they last finished a request.
        self._clients: dict[trio.CancelScope, None] = {}
        self._listener: socket.socket | None = None
        self._file: tuple[int, int] | None = None

    def open(self) -> None:
        """Listen. InUseError when a living process answers there; a dead one's socket is replaced."""
        try:
            os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
            check_name_free(self._name, directory=os.path.dirname(self.path))
            if os.path.exists(self.path):
                os.unlink(self.path)  # a dead process left it
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            before = os.umask(0o077)
            try:
                listener.bind(self.path)
            finally:
                os.umask(before)
        except PermissionError:
            raise PrivilegeError(f"no permission to create {self.path}: run as root") from None
        listener.listen(16)
        listener.setblocking(False)
        self._listener = listener
        self._file = _identity(self.path)

    def close(self) -> None:
        """Stop listening and remove the socket file, unless it is somebody else's by now."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        if _identity(self.path) == self._file:
            os.unlink(self.path)

    async def run(self) -> None:
        """Serve until cancelled."""
        assert self._listener is not None, "open() first"
        listener = trio.socket.from_stdlib_socket(self._listener.dup())
        with listener:
            async with trio.open_nursery() as nursery:
                while True:
                    client, _ = await listener.accept()
                    stream, scope = trio.SocketStream(client), trio.CancelScope()
                    if len(self._clients) >= _CLIENTS:
                        silent = next(iter(self._clients))
                        del self._clients[silent]
                        silent.cancel()
                    self._clients[scope] = None
                    nursery.start_soon(self._serve, stream, scope)

    async def _serve(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            async with stream:
                with scope:
                    await self._requests(_Requests(stream), stream, scope)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            return  # the client went away, or was stuck
        except UapiError as broken:
            event(_log, logging.DEBUG, "control connection closed", why=str(broken))
        finally:
            self._clients.pop(scope, None)

    async def _requests(
        self, requests: _Requests, stream: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        while (request := await requests.next()) is not None:
            operation, _, text = request.partition("\n")
            if operation == "get=1" and not text:
                pieces = format_get(device_state(self._device), peer_states(self._device))
                # Some at a time: ten thousand peers one by one are ten thousand system calls.
                while some := "".join(islice(pieces, _PIECES_PER_SEND)):
                    await _send(stream, some)
            elif operation == "set=1":
                await _send(stream, f"errno={-await self._set(text)}\n\n")
            else:
                return
            if self._clients.pop(scope, self) is None:
                self._clients[scope] = None  # the last to have to go

    async def _set(self, text: str) -> int:
        try:
            change = parse_set_untrusted(_lines(text))
            with trio.CancelScope(shield=True):  # all of it or nothing, whoever has to make room
                async with self._lock:
                    await apply(self._device, change, guarded=self._guarded)
        except UapiError as refused:
            event(_log, logging.INFO, "set refused", interface=self._name, why=str(refused))
            return refused.errno
        except OSError as failed:
            event(
                _log, logging.ERROR, "set failed", interface=self._name, error=os.strerror(failed.errno or 0)
            )
            return failed.errno or errno.EIO
        return 0


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


async def _send(stream: trio.SocketStream, text: str) -> None:
    with trio.fail_after(_IDLE_SECONDS):
        await stream.send_all(text.encode())


def _lines(text: str) -> Iterator[str]:
    """One after the other: all at once, those of ten thousand peers would be in memory twice more."""
    begin = 0
    while begin < len(text):
        end = text.find("\n", begin)
        if end < 0:
            end = len(text)
        yield text[begin:end]
        begin = end + 1


class _Requests:
    """Cuts a byte stream into requests: texts, each up to a blank line."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def next(self) -> str | None:
        """The next request, None at the end. UapiError when what arrives cannot be cut any more."""
        searched = 0
        while (end := self._buffer.find(b"\n\n", max(searched - 1, 0))) < 0:
            searched = len(self._buffer)
            with trio.fail_after(_IDLE_SECONDS):
                piece = await self._stream.receive_some(_RECEIVE_BYTES)
            if not piece:
                return None
            self._buffer += piece
            if len(self._buffer) > _REQUEST_BYTES:
                raise UapiError(errno.EMSGSIZE, "request too long")
            if len(self._buffer) > _LINE_BYTES and b"\n" not in self._buffer[-_LINE_BYTES:]:
                raise UapiError(errno.EMSGSIZE, "line too long")
        # What is not ASCII is no key we know and no value we take: the parser refuses it.
        text = self._buffer[:end].decode("ascii", errors="replace")
        del self._buffer[: end + 2]
        return text
