"""Who holds a setting that several exits of one host share, and what stood there before the first of them.

Two exits may leave by the same interface. The second finds forwarding on, and would take that for what stood
there before; so the first stop left it on for good. Hence one note per setting, outside of any state
directory: the original value and the holders, by the names of their tables. Joining gives the original as
the first holder found it; leaving tells whether nobody is left. A holder whose interface is gone (it
crashed) does not count.

The notes lie in /run/sallyport, per network namespace, and go with the boot like the settings themselves.
Where that cannot be written each exit is alone with its own note in the state directory, as one per host is.
Who calls it: `forwarding.py`.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from appliance.log import event

_log = logging.getLogger("sallyport.net")

DIRECTORY: Final = Path("/run/sallyport")

_SO_NETNS_COOKIE: Final = 71


class Holders:
    """The notes of this network namespace. `alive` tells whether the exit of a table still runs."""

    def __init__(self, alive: Callable[[str], bool], directory: Path = DIRECTORY) -> None:
        self._alive = alive
        self._directory = directory

    def join(self, setting: str, holder: str, current: str) -> str:
        """Hold a setting whose value is `current`; the value that stood there before the first holder."""
        with self._note(setting) as note:
            if note is None:
                return current
            original, holders = self._read(note, without=holder)
            if not holders and original is None:
                original = current
            self._write(note, current if original is None else original, [*holders, holder])
            return current if original is None else original

    def others(self, setting: str, holder: str) -> bool:
        """Whether anybody but `holder` holds a setting; asking leaves no trace."""
        try:
            note = open(self._path(setting), encoding="ascii")  # noqa: SIM115  # closed two lines on
        except OSError:
            return False  # nobody ever wrote one
        with note:
            fcntl.flock(note, fcntl.LOCK_SH)
            return bool(self._read(note, without=holder)[1])

    def leave(self, setting: str, holder: str) -> bool:
        """Hold it no longer. True when nobody else does: then the original is to be put back."""
        with self._note(setting) as note:
            if note is None:
                return True
            original, holders = self._read(note, without=holder)
            if holders and original is not None:
                self._write(note, original, holders)
                return False
            self._write(note, None, [])
            return True

    def _read(self, note: TextIO, *, without: str) -> tuple[str | None, list[str]]:
        """The original and the other living holders; of a note that makes no sense, nothing."""
        try:
            content = json.load(note)
            original, holders = content["original"], content["holders"]
        except (ValueError, KeyError, TypeError):
            return None, []
        return original, [name for name in holders if name != without and self._alive(name)]

    def _write(self, note: TextIO, original: str | None, holders: list[str]) -> None:
        note.seek(0)
        note.truncate()
        if original is None:
            os.unlink(note.name)
        else:
            json.dump({"original": original, "holders": holders}, note)
            note.flush()

    def _path(self, setting: str) -> Path:
        return self._directory / f"{_namespace()}-{setting.replace('/', '_')}.setting"

    @contextmanager
    def _note(self, setting: str) -> Iterator[TextIO | None]:
        """The note of a setting, locked; None where there can be none."""
        path = self._path(setting)
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            note = _locked(path)
        except OSError as refusal:
            event(_log, logging.DEBUG, "no shared note of a setting", setting=setting, error=refusal.strerror)
            yield None
            return
        with note:
            yield note


def _locked(path: Path) -> TextIO:
    while True:
        note = open(path, "r+", encoding="ascii", opener=_make)  # noqa: SIM115  # given to the caller
        fcntl.flock(note, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.stat(path), os.fstat(note.fileno())):
                return note
        except FileNotFoundError:
            pass  # the last holder removed it while we waited for the lock
        note.close()


def _make(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _namespace() -> str:
    """This network namespace. Its inode's number may be given again, its cookie (Linux 5.14) is not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            return probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8).hex()
        except OSError:
            return str(os.stat("/proc/thread-self/ns/net").st_ino)
