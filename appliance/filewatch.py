"""Waiting until a file is removed: inotify(7), three libc calls.

`sallyport-wg` ends when its control socket is removed, as `wireguard-go` does; polling for that would
wake an idle process.
"""

from __future__ import annotations

import ctypes
import os

import trio

_IN_ATTRIB = 0x4  # an unlink of a name whose inode lives on (an open socket) shows as a link-count change
_IN_DELETE_SELF = 0x400
_IN_MOVE_SELF = 0x800

_libc = ctypes.CDLL(None, use_errno=True)


async def wait_removed(path: str) -> None:
    """Return when `path` no longer names the file it names now. OSError when it cannot be watched."""
    fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        raise _error("inotify_init1")
    try:
        was = _inode(path)
        mask = ctypes.c_uint32(_IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF)
        if _libc.inotify_add_watch(fd, os.fsencode(path), mask) < 0:
            raise _error(path)
        while _inode(path) == was:
            await trio.lowlevel.wait_readable(fd)
            os.read(fd, 4096)
    finally:
        os.close(fd)


def _inode(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
