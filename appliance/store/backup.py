"""A backup: everything of a state directory that an exit cannot make anew, in one file that can be checked.

A tar archive (so that `tar tf` shows what is in it), for its owner alone:

    manifest.json     format, program, schema, time, and size and SHA-256 of each file that follows
    manifest.sha256   the SHA-256 of the manifest, as sha256sum writes it
    sallyport.db      the database, as of one moment between two transactions
    private.key private.key.old pool operator.token    those that there are

Not in it: the counters of live sessions (they are settled into the database first), whether it drains, and
what is saved of the host's settings. Made by `Store.backup`: only the copies of the database and of those
files (of one moment: the keys must be those of the sessions) are made in the writer's thread, all the rest
beside it, so that nobody waits for checksums. Read by `restore.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import sqlite3
import tarfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from sqlalchemy import Connection

from appliance import __version__
from appliance.clock import wall_ns
from appliance.errors import StateError, UserError

FORMAT: Final = 1
DATABASE: Final = "sallyport.db"
KEYS: Final = ("private.key", "private.key.old")
OTHERS: Final = (*KEYS, "pool", "operator.token")
MANIFEST: Final = "manifest.json"
CHECKSUM: Final = "manifest.sha256"

_LEFT_BEHIND: Final = "backup-*.part"
_FORGOTTEN_AFTER_NS: Final = 3600 * 1_000_000_000
_MOST_MANIFEST_BYTES: Final = 65_536
_MOST_OTHER_BYTES: Final = 65_536
_PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself; `files` has size in bytes and SHA-256 by name."""

    program: str
    schema: str
    made_at: str
    files: dict[str, tuple[int, str]]


@dataclass(frozen=True)
class Snapshot:
    """A copy of the database in a file of its own, and what was in the files beside it at that moment."""

    database: Path
    others: dict[str, bytes]


def snapshot(connection: Connection, directory: Path) -> Snapshot:
    """Copy the database as it is between two transactions, and the files that go with it.

    Raises `StateError`, then nothing is left.
    """
    copy = directory / f"backup-{secrets.token_hex(4)}.db.part"
    source: Any = connection.connection.driver_connection
    try:
        os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, without helpers beside it
        others = {name: (directory / name).read_bytes() for name in OTHERS if (directory / name).exists()}
    except (OSError, sqlite3.Error) as error:
        copy.unlink(missing_ok=True)
        raise _not_made(directory, error) from error
    return Snapshot(copy, others)


def pack(taken: Snapshot) -> Path:
    """Make a backup of a snapshot (which it uses up), and leave it in the state directory.

    Raises `StateError`, then nothing is left.
    """
    database, directory = taken.database, taken.database.parent
    archive = database.with_name(database.name.replace(".db.", "."))
    try:
        _forget_old(directory)
        with open(os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            _write(file, _schema(database), taken)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, sqlite3.Error, tarfile.TarError) as error:
        archive.unlink(missing_ok=True)
        raise _not_made(directory, error) from error
    finally:
        database.unlink(missing_ok=True)
    return archive


def verify(path: Path) -> Manifest:
    """Read a backup from end to end. Raises `UserError` when what is in it is not what was put in."""
    return unpack(path, None)


def unpack(path: Path, into: Path | None) -> Manifest:
    """`verify`, and write the files into a directory on the way."""
    try:
        with tarfile.open(path, "r:") as archive:
            return _unpack(archive, path, into)
    except (tarfile.TarError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is no backup of sallyport, or a damaged one") from error
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror or 'cannot be read'}") from error


def _forget_old(directory: Path) -> None:
    """Remove what was made for somebody who was killed before fetching it."""
    for left in directory.glob(_LEFT_BEHIND):
        with contextlib.suppress(FileNotFoundError):
            if wall_ns() - left.stat().st_mtime_ns > _FORGOTTEN_AFTER_NS:
                left.unlink()


def _schema(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def _not_made(directory: Path, error: Exception) -> StateError:
    reason = error.strerror if isinstance(error, OSError) else error
    return StateError(f"the backup could not be made in {directory}: {reason}")


def _write(file: IO[bytes], schema: str, taken: Snapshot) -> None:
    size = taken.database.stat().st_size
    about = {DATABASE: {"bytes": size, "sha256": _sha256(taken.database)}}
    for name, content in taken.others.items():
        about[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    made_at = datetime.fromtimestamp(wall_ns() // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = {"format": FORMAT, "program": __version__, "schema": schema, "made_at": made_at, "files": about}
    manifest = json.dumps(words, indent=1).encode() + b"\n"
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in ((MANIFEST, manifest), (CHECKSUM, _checksum(manifest))):
            archive.addfile(_entry(name, len(content)), io.BytesIO(content))
        with taken.database.open("rb") as handle:
            archive.addfile(_entry(DATABASE, size), handle)
        for name, content in taken.others.items():
            archive.addfile(_entry(name, len(content)), io.BytesIO(content))


def _checksum(manifest: bytes) -> bytes:
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, wall_ns() // 1_000_000_000
    return entry


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _unpack(archive: tarfile.TarFile, path: Path, into: Path | None) -> Manifest:
    raw = _small(archive, MANIFEST)
    said = _small(archive, CHECKSUM)
    words = json.loads(raw)
    if words["format"] != FORMAT:
        raise UserError(f"{path} was made by another sallyport ({words['program']!s:.20}): use that one")
    if said != _checksum(raw):
        raise UserError(f"{path} is damaged: the checksum of {MANIFEST} does not fit")
    files = {str(name): (int(about["bytes"]), str(about["sha256"])) for name, about in words["files"].items()}
    if DATABASE not in files or not files.keys() <= {DATABASE, *OTHERS}:
        raise UserError(f"{path} is damaged: it does not have the files of a backup")
    for name, (size, sha256) in files.items():
        entry = archive.next()
        if entry is None or entry.name != name or not entry.isreg() or entry.size != size:
            raise UserError(f"{path} is damaged: {name} is not whole")
        if name != DATABASE and size > _MOST_OTHER_BYTES:
            raise UserError(f"{path} is damaged: {name} is too large")
        if _copy(archive, entry, None if into is None else into / name) != sha256:
            raise UserError(f"{path} is damaged: the checksum of {name} does not fit")
    if archive.next() is not None:
        raise UserError(f"{path} is damaged: something was added to it")
    return Manifest(str(words["program"]), str(words["schema"]), str(words["made_at"]), files)


def _small(archive: tarfile.TarFile, name: str) -> bytes:
    entry = archive.next()
    if entry is None or entry.name != name or not entry.isreg() or entry.size > _MOST_MANIFEST_BYTES:
        raise ValueError(name)
    handle = archive.extractfile(entry)
    return handle.read() if handle is not None else b""


def _copy(archive: tarfile.TarFile, entry: tarfile.TarInfo, target: Path | None) -> str:
    """The SHA-256 of a member, written to a new file on the way."""
    source = archive.extractfile(entry)
    digest = hashlib.sha256()
    where = target if target is not None else Path(os.devnull)
    flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if target is not None else 0)
    with open(os.open(where, flags, 0o600), "wb") as file:
        while source is not None and (piece := source.read(_PIECE_BYTES)):
            digest.update(piece)
            file.write(piece)
        file.flush()
        if target is not None:
            os.fsync(file.fileno())
    return digest.hexdigest()
