"""The operator socket: how the command line speaks to the running process, which alone writes the state.

`operator.sock` in the state directory (0600): one JSON line in, one JSON line out, then the end.

    {"verb": "token_create", "args": {}}  ->  {"ok": {"id": "tk_...", "token": "sp_..."}}
    {"verb": "sessions_end", "args": {"id": "tb_x"}}  ->  {"error": "there is no session tb_x"}

The verbs are below (`perform`); `offline.py` performs the same ones when no process runs. The server bounds
what a client can take: the length of its line, its time, and how many there are at once; a client that hangs
hinders nobody. Whoever serves holds the lock of the state directory, so a socket file that is there
already is a dead process's and is replaced.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from appliance.control.errors import (
    PeerApplyFailed,
    Refused,
    SessionNotFound,
    StorageUnavailable,
    TokenNotFound,
)
from appliance.errors import PrivilegeError, StateError, UserError
from appliance.log import event

if TYPE_CHECKING:  # the client must not load the database to ask a question
    from appliance.control.door import Control
    from appliance.control.views import Keys

logger = logging.getLogger("sallyport.operator")

SOCKET: Final = "operator.sock"
LINE_BYTES: Final = 64 * 1024
CONNECTION_SECONDS: Final = 10.0
MOST_CONNECTIONS: Final = 32
# What more a verb may take: copying and checking a large database.
LONG_VERBS_SECONDS: Final = {"backup": 300.0}
_CLIENT_SECONDS: Final = CONNECTION_SECONDS + 5
_RETRY_SECONDS: Final = 0.1
_OUT_OF_DESCRIPTORS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class NotRunning(UserError):
    """No process serves this state directory."""


class Telling(Protocol):
    """What a running process tells about itself, beyond what the door knows (`status.Inside`)."""

    async def status(self) -> dict[str, Any]: ...

    async def peers(self) -> list[dict[str, Any]]: ...


async def perform(control: Control, verb: str, args: dict[str, Any], inside: Telling | None = None) -> Any:
    """Do what a verb says and answer in JSON's types. Raises `UserError` with a line for the operator.

    `inside` is None while no process runs: then what can only be told from inside one is unknown.
    """
    try:
        match verb, args:
            case "token_create", {"bytes": asked}:
                return _plain(await control.create_token(_bytes(asked)))
            case "token_create", {}:
                return _plain(await control.create_token())
            case "token_list", {}:
                return [_plain(token) for token in await control.list_tokens()]
            case "token_revoke", {"id": str(name)}:
                await control.revoke_token(name)
                return {"id": name, "revoked": True}
            case "sessions_list", {}:
                return [_plain(row) for row in await control.list_sessions()]
            case "sessions_show", {"id": str(name)}:
                return await _session(control, name)
            case "sessions_end", {"id": str(name)}:
                return _plain(await control.end_session(None, name, "admin"))
            case "backup", _ if not args:
                return {"file": str(await control.backup())}
            case "drain", {"on": bool(on)}:
                await control.drain(on)
                return await _drain(control)
            case "drain", _ if not args:
                return await _drain(control)
            case "key_rotate", _ if not args:
                return key_words(await control.rotate_key())
            case "status", {} if inside is not None:
                return await inside.status()
            case "peers", {} if inside is not None:
                return await inside.peers()
    except Refused as refused:
        raise UserError(_words(refused, args)) from refused
    raise UserError(f"unknown verb or arguments: {verb}")


async def serve(
    control: Control,
    state_dir: Path,
    inside: Telling | None = None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on the operator socket until cancelled. `StateError` when it cannot be made."""
    try:
        listener = _listen(state_dir)
    except OSError as error:
        raise StateError(f"the operator socket in {state_dir} cannot be made: {error.strerror}") from error
    room = trio.Semaphore(MOST_CONNECTIONS)
    try:
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                await room.acquire()
                connection = await _accept(listener)
                nursery.start_soon(_attend, control, inside, connection, room.release)
    finally:
        listener.close()
        (state_dir / SOCKET).unlink(missing_ok=True)


def call(state_dir: Path, verb: str, args: dict[str, Any]) -> Any:
    """Ask the running process (client side, blocking). Raises `NotRunning`, or `UserError` with its words."""
    request = json.dumps({"verb": verb, "args": args}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(_CLIENT_SECONDS + LONG_VERBS_SECONDS.get(verb, 0.0))
        try:
            with _short(state_dir) as directory:
                connection.connect(f"{directory}/{SOCKET}")
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
            raise NotRunning(f"no sallyport runs on {state_dir}") from error
        except PermissionError as error:
            raise PrivilegeError(f"the operator socket in {state_dir} is for root alone") from error
        try:
            connection.sendall(request)
            answer = json.loads(b"".join(iter(lambda: connection.recv(65_536), b"")))
        except (OSError, ValueError) as error:
            raise UserError(f"the sallyport that runs on {state_dir} does not answer") from error
    if "error" in answer:
        raise UserError(answer["error"])
    return answer["ok"]


async def _session(control: Control, name: str) -> dict[str, Any]:
    """One session, live or ended; where it is in the tunnel is told while it lives."""
    view = _plain(await control.session(None, name))
    rows = [_plain(row) for row in await control.list_sessions() if row.id == name]
    tunnel = rows[0] if rows else {}
    return view | {field: tunnel.get(field) for field in ("address", "public_key", "last_handshake")}


def key_words(keys: Keys) -> dict[str, Any]:
    """The exit's keys in JSON's types."""
    return {"public_key": keys.public_key, "old_key": None if keys.old is None else _plain(keys.old)}


async def _drain(control: Control) -> dict[str, Any]:
    return {"draining": control.draining, "sessions": len(await control.list_sessions())}


async def _accept(listener: trio.socket.SocketType) -> trio.SocketStream:
    while True:
        try:
            return trio.SocketStream((await listener.accept())[0])
        except OSError as error:
            if error.errno not in _OUT_OF_DESCRIPTORS:
                raise
            await trio.sleep(_RETRY_SECONDS)  # others will close theirs


async def _attend(
    control: Control, inside: Telling | None, connection: trio.SocketStream, release: Callable[[], None]
) -> None:
    """One client, one question, one answer; whatever it does stays its own affair."""
    try:
        with trio.move_on_after(CONNECTION_SECONDS) as limit:
            async with connection:
                line = await _read_line(connection)
                if line is not None:
                    await connection.send_all(await _answer(control, inside, line, limit))
    except trio.BrokenResourceError:
        pass  # it went away before the answer did
    except Exception as error:
        event(logger, logging.ERROR, "operator connection failed", exc_info=error)
    finally:
        release()


async def _read_line(connection: trio.SocketStream) -> bytes | None:
    """The question; None when the client left without one. Too long a line comes back too long."""
    line = bytearray()
    while len(line) <= LINE_BYTES:
        part = await connection.receive_some(LINE_BYTES)
        end = part.find(b"\n")
        if end >= 0:
            return bytes(line + part[:end])
        if not part:
            return None
        line += part
    return bytes(line)


async def _answer(control: Control, inside: Telling | None, line: bytes, limit: trio.CancelScope) -> bytes:
    try:
        verb, args = _parse_untrusted(line)
        limit.deadline += LONG_VERBS_SECONDS.get(verb, 0.0)
        answer = {"ok": await perform(control, verb, args, inside)}
    except UserError as error:
        answer = {"error": str(error)}
    return json.dumps(answer).encode() + b"\n"


def _parse_untrusted(line: bytes) -> tuple[str, dict[str, Any]]:
    """Split a question. Raises `UserError` only."""
    if len(line) > LINE_BYTES:
        raise UserError(f"the request is longer than {LINE_BYTES} bytes")
    try:
        question = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError("the request is not JSON") from error
    match question:
        case {"verb": str(verb), "args": dict(args)}:
            return verb, args
    raise UserError("the request needs a verb and args")


def _bytes(asked: object) -> int:
    """A number of bytes as JSON has it (where true is none)."""
    if not isinstance(asked, int) or isinstance(asked, bool):
        raise UserError("bytes must be a whole number")
    return asked


def _words(refused: Refused, args: dict[str, Any]) -> str:
    match refused:
        case SessionNotFound():
            return f"there is no session {args.get('id')}"
        case TokenNotFound():
            return f"there is no token {args.get('id')}"
        case StorageUnavailable():
            return "the database did not take the change in time; it may still be done: ask again"
        case PeerApplyFailed():
            return "the tunnel did not remove the peer; the session is still live"
    return str(refused) or type(refused).__name__


def _plain(record: Any) -> dict[str, Any]:
    """A record of `control.views` in JSON's types."""
    return {name: _plain_value(value) for name, value in asdict(record).items()}


def _plain_value(value: Any) -> Any:
    match value:
        case datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%SZ")
        case IPv4Address():
            return str(value)
    return value


def _listen(state_dir: Path) -> trio.socket.SocketType:
    """A listening socket, closed to others from its first moment: made aside, then moved to its place."""
    aside = state_dir / f"{SOCKET}.part"
    aside.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with _short(state_dir) as directory:
            listener.bind(f"{directory}/{aside.name}")
        aside.chmod(0o600)
        listener.listen(MOST_CONNECTIONS)
        aside.replace(state_dir / SOCKET)
    except BaseException:
        listener.close()
        raise
    return trio.socket.from_stdlib_socket(listener)


@contextmanager
def _short(directory: Path) -> Iterator[str]:
    """A name of the directory that fits into a socket address (108 bytes), however deep it lies."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
