"""Netlink by hand: enough of it to read links, addresses and routes and to change a few of them.

Who calls it: `links`, `routes` and `conntrack`. A library for this costs a third of a second to import
and brings its own event loop; what we need is one request, one dump and one notification socket.
Requests block for the time the kernel takes (well under a millisecond, dumps of large tables
apart), so callers on the event loop run them in a thread when a table may be large.

Layout (rtnetlink(7), nfnetlink): a 16-byte header, a fixed body that depends on the kind, then attributes
of 16-bit length and kind, padded to four bytes, possibly nested. Numbers are in host order unless the
kind says otherwise.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final

NETLINK_ROUTE: Final = 0
NETLINK_NETFILTER: Final = 12

NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_DUMP: Final = 0x300
NLM_F_REPLACE: Final = 0x100
NLM_F_CREATE: Final = 0x400

_NLM_F_DUMP_INTR: Final = 0x10
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLA_KIND_MASK: Final = 0x3FFF  # without the bits "nested" and "network byte order"

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")

# The kernel fills dump answers up to 32 KiB a message; a smaller buffer would truncate them.
_RECEIVE_BYTES: Final = 256 * 1024
# A dump that raced a change says so; after this many tries the table changes faster than we read.
_DUMP_TRIES: Final = 5


@dataclass(frozen=True)
class Message:
    """One netlink message: its kind, and what follows the header."""

    kind: int
    body: bytes


class Netlink:
    """One netlink socket; also a context manager. `groups` is the bit mask of rtnetlink notifications."""

    def __init__(self, protocol: int = NETLINK_ROUTE, groups: int = 0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.bind((0, groups))
        except OSError:
            self._socket.close()
            raise
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def change(self, kind: int, payload: bytes, flags: int = 0) -> None:
        """Ask for a change and wait for the kernel's word; OSError with its errno when refused."""
        self._send(kind, payload, NLM_F_REQUEST | NLM_F_ACK | flags)
        for _ in self._answers():
            pass

    def get(self, kind: int, payload: bytes) -> Message | None:
        """Ask for one object; OSError when the kernel refuses."""
        self._send(kind, payload, NLM_F_REQUEST | NLM_F_ACK)
        found = list(self._answers())
        return found[0] if found else None

    def dump(self, kind: int, payload: bytes) -> list[Message]:
        """Read a whole table; asked again while it changes under the reader."""
        for _ in range(_DUMP_TRIES - 1):
            self._send(kind, payload, NLM_F_REQUEST | NLM_F_DUMP)
            try:
                return list(self._answers())
            except InterruptedError:
                continue
        self._send(kind, payload, NLM_F_REQUEST | NLM_F_DUMP)
        return list(self._answers(consistent=False))

    def read(self) -> list[Message]:
        """Take the notifications that wait. BlockingIOError: none. OSError ENOBUFS: some were lost."""
        data = self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
        return [Message(kind, body) for kind, _, _, body in _messages(data)]

    def _send(self, kind: int, payload: bytes, flags: int) -> None:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(payload), kind, flags, self._sequence, 0)
        self._socket.sendto(header + payload, (0, 0))

    def _answers(self, *, consistent: bool = True) -> Iterator[Message]:
        """The answers to the last request, up to its end. InterruptedError: the table changed."""
        changed = False
        while True:
            for kind, flags, sequence, body in _messages(self._socket.recv(_RECEIVE_BYTES)):
                if sequence != self._sequence:
                    continue  # the tail of a dump that was given up
                changed = changed or bool(flags & _NLM_F_DUMP_INTR)
                if kind in (_NLMSG_ERROR, _NLMSG_DONE):
                    code = int.from_bytes(body[:4], "little" if _LITTLE else "big", signed=True)
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    if changed and consistent:
                        raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
                    return
                yield Message(kind, body)


_LITTLE: Final = struct.pack("=H", 1)[0] == 1


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Split what one receive gave into (kind, flags, sequence, body)."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield kind, flags, sequence, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in `data`, by kind; of one that occurs twice the last."""
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size or at + length > len(data):
            break
        found[kind & _NLA_KIND_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded; for a nested one `value` is the attributes within."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def number(value: bytes | None) -> int:
    """An attribute that holds a 32-bit number in host order; 0 when it is not there."""
    return int(struct.unpack("=I", value[:4])[0]) if value is not None and len(value) >= 4 else 0
