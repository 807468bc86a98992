"""Forwarding, switched on where the exit needs it and put back afterwards.

Who calls it: `exit.py`. Forwarding is a setting per interface, and a packet is forwarded when the
interface it *entered* by has it: so the tunnel and the egress get it, and `all` (which would open every
other interface) is never touched.

What stood there before is saved in the state directory, durably, before the first write. A start after a
crash finds that file and keeps its values, because what it would read now is its own doing. Values are
put back only while the setting still holds what we wrote (somebody else's change since then wins) and
only into the same boot and network namespace, since settings do not outlive those. An interface that is
gone took its setting along. The egress may be another exit's too: `holders.py` tells who was first, and
whether we are the last.

A container often has /proc/sys read-only. Then nothing is written, and `check` tells whether the tunnel,
which inherits from `default`, and the egress will forward anyway.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from appliance.core.exitplan import forwarding_sysctl
from appliance.errors import PrivilegeError, StateError, UserError
from appliance.log import event
from appliance.net.forwarding6 import ALL
from appliance.net.holders import Holders

_log = logging.getLogger("sallyport.net")

SAVE_FILE: Final = "network.json"
_VERSION: Final = 1


@dataclass(frozen=True)
class Saved:
    """What the save file holds: `original` values by path below /proc/sys, and what we `wrote` there. Once
    it is `undoing`, present values are half ours and half original, and only the saved ones are true."""

    original: dict[str, str]
    wrote: dict[str, str]
    table: str
    undoing: bool = False


def sysctl_name(path: str) -> str:
    """A path below /proc/sys as people write it; dots within a part (eth0.100) become slashes."""
    return ".".join(part.replace(".", "/") for part in path.split("/"))


class Forwarding:
    """The settings of one exit. `proc` is /proc, or a tree like it."""

    def __init__(self, state_dir: Path, holders: Holders, proc: Path = Path("/proc")) -> None:
        self._file = state_dir / SAVE_FILE
        self._holders = holders
        self._proc = proc

    @property
    def proc(self) -> Path:
        return self._proc

    def check_writable(self, settings: Mapping[str, str]) -> None:
        """Raise PrivilegeError when one of these is not so and cannot be made so; those of interfaces that do
        not exist yet will be like `default`."""
        for path, value in settings.items():
            parts = path.split("/")
            there = path if self._read(path) is not None else "/".join([*parts[:3], "default", *parts[4:]])
            if self._read(there) != value and not os.access(self._sysctl(there), os.W_OK):
                raise PrivilegeError(
                    f"IPv6 cannot be forwarded, /proc/sys is read-only: {sysctl_name(there)} is not {value}; "
                    "set net.ipv6.conf.all.forwarding=1 from outside, or ipv6 = reject here"
                )

    def check(self, ways: Iterable[str]) -> None:
        """Raise PrivilegeError when forwarding is off and cannot be switched on; changes nothing."""
        # The tunnel does not exist yet: it will inherit from `default`.
        for path in map(forwarding_sysctl, ("default", *ways)):
            if self._read(path) == "1" or os.access(self._sysctl(path), os.W_OK):
                continue
            raise PrivilegeError(
                f"IPv4 forwarding is off and /proc/sys is read-only: {sysctl_name(path)} is not 1; "
                "set net.ipv4.ip_forward=1 from outside (docker run --sysctl net.ipv4.ip_forward=1)"
            )

    def others_hold(self, path: str, table: str) -> bool:
        """Whether a setting is what it is because of other exits than that of `table`."""
        return self._holders.others(path, table)

    def saved(self) -> Saved | None:
        """What an exit of this state directory changed and has not put back; None when nothing."""
        try:
            content = json.loads(self._file.read_bytes())
            if content["version"] != _VERSION:
                raise StateError(f"{self._file} was written by a newer program")
            if content["where"] != self._where():
                return None
            return Saved(
                dict(content["original"]),
                dict(content["wrote"]),
                str(content["table"]),
                bool(content.get("undoing", False)),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as damage:
            raise StateError(f"{self._file} cannot be read ({damage}): delete it") from None

    def apply(self, settings: Mapping[str, str], table: str, shared: Collection[str] = ()) -> None:
        """Make the settings be, saving what stood there first; those of an earlier run that are no longer
        wanted are put back. `table` is remembered beside them, for whoever cleans up after a crash, and
        names us among the holders of the settings in `shared`, which other exits may hold as well."""
        before = self.saved() or Saved({}, {}, table)
        stale = [path for path in before.original if path not in settings]
        original = dict(before.original)
        for path in settings:
            # What we wrote ourselves before a crash is nobody's original; anything else is.
            current = self._read(path)
            ours = path in original and (before.undoing or before.wrote.get(path) == current)
            if current is not None and not ours:
                original[path] = current
            if path in shared and path in original:
                original[path] = self._holders.join(path, table, original[path])
        self._save(Saved(original, {**before.wrote, **settings}, table))
        for path, value in settings.items():
            self._write(path, value)
        if stale:
            self._put_back(before, [path for path in stale if self._holders.leave(path, before.table)])
            self._save(
                Saved({path: original[path] for path in settings if path in original}, dict(settings), table)
            )

    def undo(self, shared: Collection[str] = ()) -> None:
        """Put back what an exit of this state directory changed, except what others hold; idempotent."""
        saved = self.saved()
        if saved is not None:
            kept = {path for path in shared if not self._holders.leave(path, saved.table)}
            if ALL in saved.original:  # one write changes many: a crash after it must not lose the others
                self._save(replace(saved, undoing=True))
            self._put_back(saved, [path for path in saved.original if path not in kept])
        self._file.unlink(missing_ok=True)

    def _put_back(self, saved: Saved, paths: Iterable[str]) -> None:
        """Judged before the first write and in an order that is safe: `all` changes the interfaces', which
        are put right after it; `accept_ra` follows when nothing forwards any more."""
        ours = [path for path in paths if self._read(path) == saved.wrote.get(path)]
        for path in sorted(ours, key=lambda path: (path != ALL, path.endswith("/accept_ra"))):
            self._write(path, saved.original[path])

    def _sysctl(self, path: str) -> Path:
        return self._proc / "sys" / path

    def _read(self, path: str) -> str | None:
        """The present value; None when the interface is not there."""
        try:
            return self._sysctl(path).read_text().strip()
        except OSError:
            return None

    def _write(self, path: str, value: str) -> None:
        if self._read(path) in (value, None):
            return
        try:
            self._sysctl(path).write_text(value + "\n")
        except FileNotFoundError:
            return  # the interface went away between the two
        except OSError as refusal:
            raise PrivilegeError(
                f"cannot set {sysctl_name(path)} to {value}: {os.strerror(refusal.errno or 0)}"
            ) from None
        event(_log, logging.INFO, "setting changed", sysctl=sysctl_name(path), value=value)

    def _where(self) -> str:
        """This boot and this network namespace: beyond either, the saved values mean nothing."""
        boot = (self._proc / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(self._proc / 'thread-self/ns/net')}"

    def _save(self, saved: Saved) -> None:
        content = {
            "version": _VERSION,
            "where": self._where(),
            "original": saved.original,
            "wrote": saved.wrote,
            "table": saved.table,
            "undoing": saved.undoing,
        }
        fresh = self._file.with_suffix(".new")
        try:
            with open(fresh, "w", encoding="ascii", opener=_make_private) as file:
                os.fchmod(file.fileno(), 0o600)  # whatever a crash left under that name, and the umask
                json.dump(content, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, self._file)
            directory = os.open(self._file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as refusal:
            raise UserError(f"cannot write {self._file}: {os.strerror(refusal.errno or 0)}") from None


def _make_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
