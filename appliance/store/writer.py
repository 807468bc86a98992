"""The one thread that talks to the database, and the group commit.

A change is a function of a connection: it reads what it depends on and writes, all inside one
transaction, so that it is right whatever was written between its making and its turn. It may be run
twice and must have no other effect.

Changes that arrive while a commit is on its way wait together and are committed together: one fsync for
the whole group, so hundreds of sessions can be made at once on a slow disk. When a group fails, each of
its changes is tried again alone, so that one bad change spoils nobody else's.

Memory follows the database: `applied` is called with a change's result in Trio's thread, in the order of
the transactions and before any waiter goes on. A change cannot be cancelled half way: whoever waits
for it learns whether it was committed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

import trio
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.log import event

logger = logging.getLogger("sallyport.store")

T = TypeVar("T")


class StoreFailed(Exception):
    """The database did not do it; nothing of the change is in it."""


def failed(error: SQLAlchemyError) -> StoreFailed:
    """The failure in the database's own words, said once in the log: it has no other way to the operator."""
    reason = f"{type(error).__name__}: {getattr(error, 'orig', None) or 'no reason given'}"
    event(logger, logging.ERROR, "the database failed", reason=reason)
    return StoreFailed(reason)


class _Job(Generic[T]):
    """One change, its result or its failure."""

    def __init__(self, change: Callable[[Connection], T], applied: Callable[[T], None] | None) -> None:
        self.change = change
        self.done = False
        self._applied = applied
        self._results: list[T] = []
        self._error: BaseException | None = None

    def run(self, connection: Connection) -> None:
        self._results = [self.change(connection)]

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._results = []

    def finish(self) -> None:
        try:
            if self._applied is not None and self._results:
                self._applied(self._results[0])
        except Exception as error:
            self.fail(error)
        finally:
            self.done = True

    def result(self) -> T:
        if self._error is not None:
            if isinstance(self._error, SQLAlchemyError):
                raise failed(self._error) from self._error
            raise self._error
        return self._results[0]


class Writer:
    """Runs changes and queries, one group after the other, in a thread of their own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = trio.CapacityLimiter(1)
        self._turn = trio.Lock()
        self._waiting: list[_Job[object]] = []

    async def write(
        self, change: Callable[[Connection], T], applied: Callable[[T], None] | None = None
    ) -> T:
        """Commit a change and return its result. Raises `StoreFailed`, then nothing was written."""
        job: _Job[T] = _Job(change, applied)
        self._waiting.append(job)  # type: ignore[arg-type]  # the queue never looks at a result
        with trio.CancelScope(shield=True):
            async with self._turn:
                # Whoever comes to its turn first commits for all that wait; the others find it done.
                if not job.done:
                    group, self._waiting = self._waiting, []
                    await trio.to_thread.run_sync(self._commit, group, limiter=self._thread)
                    for each in group:
                        each.finish()
        return job.result()

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Answer a query with what is committed. Raises `StoreFailed`."""

        def ask() -> T:
            with self._engine.connect() as connection:
                return query(connection)

        async with self._turn:
            try:
                return await trio.to_thread.run_sync(ask, limiter=self._thread)
            except SQLAlchemyError as error:
                raise failed(error) from error

    def _commit(self, group: list[_Job[object]]) -> None:
        try:
            with self._engine.begin() as connection:
                for job in group:
                    job.run(connection)
        except Exception as error:
            if len(group) == 1:
                group[0].fail(error)
            else:
                for job in group:
                    self._commit([job])
