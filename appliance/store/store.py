"""The store: a held state directory and the database in it.

`Store.open` does everything that can go wrong at start, before Trio runs, and says it as a `UserError`
(somebody else holds the directory: 4; it cannot be used: 5). After that `write` and `read` (writer.py)
are all that `control` needs; the queries, a file per noun, are plain functions of a connection.

SQLite in WAL mode with synchronous=FULL: what `write` returned is on the disk.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import trio
from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from appliance.errors import StateError
from appliance.store import backup
from appliance.store.state_dir import RESTORING, StateDir, private_file
from appliance.store.upgrade import upgrade
from appliance.store.writer import Writer

T = TypeVar("T")

DATABASE: Final = backup.DATABASE
# Somebody with the sqlite3 shell may be looking; shorter than anybody's patience (writer.py).
_BUSY_TIMEOUT_SECONDS: Final = 3


class Store:
    """The database of one state directory, held by this process."""

    def __init__(self, directory: StateDir, engine: Engine) -> None:
        self._directory = directory
        self._engine = engine
        self._writer = Writer(engine)
        self.files = trio.Lock()
        """Held while files beside the database that go with it change, or are copied with it."""

    @property
    def path(self) -> Path:
        """The state directory."""
        return self._directory.path

    @classmethod
    def open(cls, state_dir: Path, *, create: bool = True) -> Self:
        """Hold the directory, open the database and bring it to the present schema."""
        directory = StateDir.open(state_dir, create=create)
        engine = None
        try:
            if (directory.path / RESTORING).exists():
                raise StateError(f"a restore into {state_dir} was cut short: run `sallyport restore` again")
            database = directory.path / DATABASE
            _check_not_emptied(database)
            private_file(database)
            engine = _engine(database)
            upgrade(engine, database)
            return cls(directory, engine)
        except BaseException as error:
            if engine is not None:
                engine.dispose()
            directory.close()
            if isinstance(error, SQLAlchemyError | sqlite3.Error | OSError):
                raise StateError(f"the database in {state_dir} cannot be used: {_reason(error)}") from error
            raise

    def close(self) -> None:
        """Close the database and let go of the directory; idempotent.

        With a thread that hangs in the database both stay as they are until the process is gone.
        """
        if self._writer.close():
            self._engine.dispose()
            self._directory.close()

    async def run(self) -> None:
        """Raise `StoreFailed` when the writer's thread fails; to run as long as the store is used."""
        await self._writer.run()

    def hurry(self) -> None:
        """The process ends: nobody waits long for anything any more (see `Writer.hurry`)."""
        self._writer.hurry()

    async def write(self, change: Callable[[Connection], T], applied: Callable[[T], None] | None = None) -> T:
        """Commit a change (see `Writer.write`)."""
        return await self._writer.write(change, applied)

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Answer a query (see `Writer.read`)."""
        return await self._writer.read(query)

    async def backup(self) -> Path:
        """Make a backup of what is committed, in the state directory. Raises `StateError`, `StoreFailed`."""
        with trio.CancelScope(shield=True):  # the copy is not left behind
            async with self.files:
                taken = await self._writer.read(
                    lambda connection: backup.snapshot(connection, self.path), patience_seconds=math.inf
                )
            made = await trio.to_thread.run_sync(backup.pack, taken)
        return made


def _check_not_emptied(database: Path) -> None:
    """An empty file is a new database, unless the rest of the state says that there was one."""
    others = [name for name in backup.OTHERS if (database.parent / name).exists()]
    if others and database.exists() and database.stat().st_size == 0:
        raise StateError(
            f"{database} is damaged: it is empty, and {others[0]} beside it is not new; restore a backup"
        )


def _engine(database: Path) -> Engine:
    # One connection for good: the writer's thread is one at a time, though not always the same one.
    engine = create_engine(
        URL.create("sqlite", database=str(database)),
        poolclass=StaticPool,
        hide_parameters=True,  # errors are logged, and client addresses and keys are not
        connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_SECONDS},
    )

    def connected(connection: Any, _record: Any) -> None:
        # Transactions are begun by us (below) and not guessed from the SQL by Python's driver.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}")

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine


def _reason(error: BaseException) -> str:
    original = getattr(error, "orig", None) or error
    return str(getattr(original, "strerror", None) or original)
