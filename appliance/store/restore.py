"""Put a backup in the place of a state directory's content, and keep what was there.

Only while no process holds the directory. Everything about the backup is checked before anything of the old
state is touched: its checksums, then (unpacked beside the old files) the database, its schema and the key.
Then the old files move into a directory of their own and the new ones into their places.

Those moves cannot be one. The file `restoring` is there from before the first until after the last, and while
it is there the state does not open (store.py): a restore that was killed half way is noticed and done again
instead of giving an exit with half of each.
"""

from __future__ import annotations

import base64
import os
import shutil
import sqlite3
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

from appliance.clock import wall_ns
from appliance.errors import StateError, UserError
from appliance.store import backup
from appliance.store.schema import REVISIONS
from appliance.store.state_dir import RESTORING, StateDir, sync_directory, write_secret

_FRESH: Final = "restore.part"
_KEPT: Final = "before-restore-"
_OLD_FILES: Final = (
    backup.DATABASE,
    f"{backup.DATABASE}-wal",
    f"{backup.DATABASE}-shm",
    *backup.OTHERS,
)


@dataclass(frozen=True)
class Restored:
    """What is in the state directory now; `kept` is where the old content is, None when there was none."""

    made_at: str
    live_sessions: int
    kept: Path | None


def restore(file: Path, state_dir: Path) -> Restored:
    """Restore a backup. Raises `InUseError`, `StateError` or `UserError`, and then all is as it was."""
    _check_schema(file, backup.verify(file))
    directory = StateDir.open(state_dir)
    try:
        with closing(directory):
            fresh = state_dir / _FRESH
            shutil.rmtree(fresh, ignore_errors=True)
            try:
                fresh.mkdir(mode=0o700)
                manifest = backup.unpack(file, fresh)
                _check_schema(file, manifest)  # it may have been exchanged meanwhile
                live = _check(file, manifest, fresh)
                return Restored(manifest.made_at, live, _swap(fresh, state_dir))
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise StateError(f"{error.filename or state_dir}: {error.strerror}; nothing was changed") from error


def _check_schema(file: Path, manifest: backup.Manifest) -> None:
    if manifest.schema not in REVISIONS:
        raise UserError(
            f"{file} was made by a newer sallyport ({manifest.program}, schema {manifest.schema}; "
            f"this one knows up to {REVISIONS[-1]}): install that version"
        )


def _check(file: Path, manifest: backup.Manifest, fresh: Path) -> int:
    """The contents, as a start would find them; how many sessions live in them."""
    pool = fresh / "pool"
    try:
        for key in (fresh / name for name in backup.KEYS):
            if key.exists() and len(base64.b64decode(key.read_bytes().strip(), validate=True)) != 32:
                raise ValueError(key.name)
        if pool.exists():
            IPv4Network(pool.read_text(encoding="ascii").strip())
        with closing(sqlite3.connect(fresh / backup.DATABASE)) as database:
            if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise ValueError("quick_check")
            if database.execute("SELECT version_num FROM alembic_version").fetchone() != (manifest.schema,):
                raise ValueError("schema")
            query = "SELECT count(*) FROM sessions WHERE terminated_at_ns IS NULL"
            return int(database.execute(query).fetchone()[0])
    except (ValueError, sqlite3.Error) as error:
        raise UserError(f"{file} cannot be used: what is in it is not a state of sallyport") from error


def _swap(fresh: Path, state_dir: Path) -> Path | None:
    """The old files aside, the new ones in their places; all back when one move fails."""
    old = [name for name in _OLD_FILES if (state_dir / name).exists()]
    write_secret(state_dir / RESTORING, b"sallyport restore FILE, once more\n")
    with ExitStack() as undo:
        undo.callback((state_dir / RESTORING).unlink)
        kept = None
        if old:
            kept = _new_directory(state_dir)
            undo.callback(kept.rmdir)
        for name in old:
            assert kept is not None, "made above"
            _move(state_dir / name, kept / name, undo)
        for path in sorted(fresh.iterdir()):
            _move(path, state_dir / path.name, undo)
        for directory in (kept, state_dir):
            if directory is not None:
                sync_directory(directory)
        undo.pop_all()
    (state_dir / RESTORING).unlink()
    sync_directory(state_dir)
    return kept


def _move(source: Path, target: Path, undo: ExitStack) -> None:
    os.rename(source, target)
    undo.callback(os.rename, target, source)


def _new_directory(state_dir: Path) -> Path:
    stamp = datetime.fromtimestamp(wall_ns() // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        try:
            path = state_dir / f"{_KEPT}{stamp}{suffix}"
            path.mkdir(mode=0o700)
            return path
        except FileExistsError:
            continue
    raise StateError(f"too many restores into {state_dir} in one second")
