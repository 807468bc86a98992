"""The state directory: who may read it (root alone), and who holds it (one process at a time).

A directory in which others could exchange files is none that keys and money can be kept in: one that belongs
to somebody else than root and us, or that others may write, is refused.

Whoever works on the state holds a lock on the file `lock` in it, from the first look to the last write;
the kernel drops the lock with the process, so a killed one leaves nothing to clean up. Modes are set on
the file descriptor and not left to the umask.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from pathlib import Path
from typing import Final, Self

from appliance.errors import InUseError, StateError

RESTORING: Final = "restoring"
"""A file that is there while the content is being exchanged (restore.py)."""

_LOCK: Final = "lock"
# Were one of them empty, it would still not be ours to close.
_EVERYBODYS: Final = frozenset({"/tmp", "/var/tmp", "/dev/shm", "/run/lock"})


class StateDir:
    """A state directory that this process holds."""

    def __init__(self, path: Path, lock_fd: int) -> None:
        self.path = path
        self._lock_fd = lock_fd

    @classmethod
    def open(cls, path: Path, *, create: bool = True) -> Self:
        """Hold the directory; made (0700) when it is missing and `create` says so.

        Raises `InUseError` when another process holds it, `StateError` when it cannot be used.
        """
        try:
            if create:
                _make(path)
            elif not path.is_dir():
                raise StateError(f"there is no state directory {path}")
            else:
                _check_owner(path)
            fd = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"the state directory {path} cannot be used: {error.strerror}") from error
        try:
            os.fchmod(fd, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            raise InUseError(f"the state directory {path} is in use by a running sallyport") from error
        except OSError as error:
            os.close(fd)
            raise StateError(f"the state directory {path} cannot be used: {error.strerror}") from error
        return cls(path, fd)

    def close(self) -> None:
        """Let go of the directory; idempotent."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read: wholly there or not at all, whatever happens meanwhile."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.fchmod(fd, 0o600)
            os.write(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Return when the names in a directory are on the disk."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def private_file(path: Path) -> None:
    """Make `path` exist as a plain file that only its owner may read, before a library opens it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def _check_owner(path: Path) -> None:
    about = path.stat()
    if about.st_uid not in (0, os.geteuid()):
        raise StateError(f"the state directory {path} belongs to user {about.st_uid}, not to root: chown it")
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StateError(
            f"the state directory {path} can be written by others: chmod 700 it, or give another"
        )


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        about = path.stat()
        if not stat.S_ISDIR(about.st_mode):
            raise NotADirectoryError(20, "it is not a directory") from None
        # A directory made for us by hand, by a service manager or by a mount is closed; a shared one is not.
        names = set(os.listdir(path))
        ours = not names or _LOCK in names
        if ours and about.st_uid == os.geteuid() and str(path.resolve()) not in _EVERYBODYS:
            path.chmod(0o700)
        _check_owner(path)
        return
    path.chmod(0o700)  # a strict umask may have taken even our own bits
