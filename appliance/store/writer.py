"""The one thread that talks to the database, the group commit, and what holds when that thread hangs.

A change is a function of a connection: it reads what it depends on and writes, all inside one
transaction, so that it is right whatever was written between its making and its turn. It may be run
twice and must have no other effect.

Changes that arrive while a commit is on its way wait together and are committed together: one fsync for
the whole group, so hundreds of sessions can be made at once on a slow disk. When a group fails, each of
its changes is tried again alone, so that one bad change spoils nobody else's; unless no transaction could be
begun at all, for then the next try would only wait as long again.

Memory follows the database: `applied` is called with a change's result in Trio's thread, in the order of
the transactions and before any waiter goes on. A change cannot be cancelled half way: whoever waits
for it learns whether it was committed.

A disk may hang instead of failing. What waits is bounded: MOST_WAITING changes and queries, and each for
PATIENCE_SECONDS; then it is taken back, certainly not done, and refused. While the thread hangs, new ones are
refused at once. A change that the thread has begun is another matter: nobody can say whether it will
be committed, so its waiter goes on waiting, and who asked is given an answer elsewhere
(`control/patience.py`). Only the end of the process (`hurry`) lets go of it, and the next start reads what
became of it. A thread that fails by itself is fatal (`run`).
"""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Generic, TypeVar

import trio
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.log import event

logger = logging.getLogger("sallyport.store")

PATIENCE_SECONDS: Final = 4.0
MOST_WAITING: Final = 512
# At the end of the process nobody waits longer than this.
LAST_SECONDS: Final = 0.7

T = TypeVar("T")


class StoreFailed(Exception):
    """The database did not do it; nothing of the change is in it."""


def failed(error: SQLAlchemyError) -> StoreFailed:
    """The failure in the database's own words, said once in the log: it has no other way to the operator."""
    reason = f"{type(error).__name__}: {getattr(error, 'orig', None) or 'no reason given'}"
    event(logger, logging.ERROR, "the database failed", reason=reason)
    return StoreFailed(reason)


class _Job(Generic[T]):
    """One change or one query, its result or its failure."""

    def __init__(
        self,
        work: Callable[[Connection], T],
        applied: Callable[[T], None] | None = None,
        *,
        is_query: bool = False,
    ) -> None:
        self.is_query = is_query
        self.over = trio.Event()
        self._work = work
        self._applied = applied
        self._results: list[T] = []
        self._error: BaseException | None = None

    def run(self, connection: Connection) -> None:
        self._results = [self._work(connection)]

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._results = []

    def give_up(self, error: BaseException) -> None:
        """Nobody waits for it any more: what the thread says of it later is not heard."""
        self.fail(error)
        self.over.set()

    def finish(self) -> None:
        if self.over.is_set():
            return
        try:
            if self._applied is not None and self._results:
                self._applied(self._results[0])
        except Exception as error:
            self.fail(error)
        finally:
            self.over.set()

    def result(self) -> T:
        if self._error is not None:
            if isinstance(self._error, SQLAlchemyError):
                raise failed(self._error) from self._error
            raise self._error
        return self._results[0]


class Writer:
    """Runs changes and queries, one group after the other, in a thread of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = _Thread()
        self._waiting: list[_Job[Any]] = []
        self._under_way: list[_Job[Any]] = []
        self._since = 0.0  # when the thread began with those
        self._waits: set[trio.CancelScope] = set()
        self._hurried = False
        self._said: set[str] = set()
        self._broken: BaseException | None = None
        self._broke = trio.Event()

    async def run(self) -> None:
        """Raise `StoreFailed` when the thread has failed by itself. With the end of this task all hurry."""
        try:
            await self._broke.wait()
            raise StoreFailed(f"its thread failed: {type(self._broken).__name__}") from self._broken
        finally:
            self.hurry()

    def hurry(self) -> None:
        """The process ends: from now on nobody waits longer than LAST_SECONDS for anything."""
        self._hurried = True
        for wait in self._waits:
            wait.deadline = min(wait.deadline, trio.current_time() + LAST_SECONDS)

    def close(self) -> bool:
        """End the thread; False when it hangs, and then what it uses must be left alone."""
        return self._thread.end(LAST_SECONDS)

    async def write(self, change: Callable[[Connection], T], applied: Callable[[T], None] | None = None) -> T:
        """Commit a change and return its result. Raises `StoreFailed`, then nothing was written."""
        job = _Job(change, applied)
        self._take(job)
        with trio.CancelScope(shield=True):
            if not await self._over(job, PATIENCE_SECONDS):
                self._say("the database does not answer")
                if job in self._waiting:
                    self._waiting.remove(job)
                    raise StoreFailed("no answer")
                if not await self._over(job, math.inf):
                    job.give_up(StoreFailed("no answer before the end; the next start finds out"))
        return job.result()

    async def read(self, query: Callable[[Connection], T], *, patience_seconds: float | None = None) -> T:
        """Answer a query with what is committed. Raises `StoreFailed`, also when the patience is over."""
        job = _Job(query, is_query=True)
        self._take(job)
        try:
            if not await self._over(job, PATIENCE_SECONDS if patience_seconds is None else patience_seconds):
                self._say("the database does not answer")
                raise StoreFailed("no answer")
        finally:
            if job in self._waiting:
                self._waiting.remove(job)
            job.over.set()
        return job.result()

    def _take(self, job: _Job[T]) -> None:
        if self._broken is not None:
            raise StoreFailed("its thread failed")
        if self._under_way and trio.current_time() - self._since > PATIENCE_SECONDS:
            raise StoreFailed("no answer")
        if len(self._waiting) >= MOST_WAITING:
            self._say("too many changes wait for the database")
            raise StoreFailed("too many changes wait")
        self._waiting.append(job)
        self._go_on()

    async def _over(self, job: _Job[T], seconds: float) -> bool:
        """Wait for it that long; whether it is over."""
        with self._patience(seconds):
            await job.over.wait()
        return job.over.is_set()

    @contextmanager
    def _patience(self, seconds: float) -> Iterator[None]:
        longest = min(seconds, LAST_SECONDS) if self._hurried else seconds
        with trio.CancelScope(deadline=trio.current_time() + longest) as wait:
            self._waits.add(wait)
            try:
                yield
            finally:
                self._waits.discard(wait)

    def _go_on(self) -> None:
        """When the thread is free, hand it all changes that wait; or all queries, if one of them is older."""
        if self._under_way or not self._waiting:
            return
        kind = self._waiting[0].is_query
        self._under_way = [job for job in self._waiting if job.is_query is kind]
        self._waiting = [job for job in self._waiting if job.is_query is not kind]
        self._since = trio.current_time()
        token = trio.lowlevel.current_trio_token()
        self._thread.do(
            partial(self._answer if kind else self._commit, self._under_way),
            partial(_tell, token, self._done),
        )

    def _done(self, failure: BaseException | None) -> None:
        """In Trio's thread again."""
        group, self._under_way = self._under_way, []
        if failure is not None:
            self._broken = failure
            group, self._waiting = [*group, *self._waiting], []
            for job in group:
                job.fail(StoreFailed("its thread failed"))
            self._broke.set()
        for job in group:
            job.finish()
        if self._said:
            self._said.clear()
            event(logger, logging.WARNING, "the database answers again")
        self._go_on()

    def _say(self, message: str) -> None:
        """Once, until it is over: while the thread hangs everybody would say the same."""
        if message not in self._said:
            self._said.add(message)
            event(logger, logging.ERROR, message)

    # ---- in the thread ---------------------------------------------------------------------------------

    def _commit(self, group: list[_Job[Any]]) -> bool:
        """Whether a transaction could be begun."""
        begun = False
        try:
            with self._engine.begin() as connection:
                begun = True
                for job in group:
                    job.run(connection)
        except Exception as error:
            if not begun or len(group) == 1:
                for job in group:
                    job.fail(error)
            else:
                for number, job in enumerate(group):
                    if not self._commit([job]):
                        for rest in group[number:]:
                            rest.fail(error)
                        break
        return begun

    def _answer(self, group: list[_Job[Any]]) -> None:
        for job in group:
            try:
                with self._engine.connect() as connection:
                    job.run(connection)
            except Exception as error:
                job.fail(error)


def _tell(
    token: trio.lowlevel.TrioToken,
    done: Callable[[BaseException | None], None],
    failure: BaseException | None,
) -> None:
    try:
        token.run_sync_soon(done, failure)
    except trio.RunFinishedError:
        pass  # everybody has left: it took longer than anybody could wait


Task = tuple[Callable[[], object], Callable[[BaseException | None], None]]


class _Thread:
    """A thread that does one thing after the other; started with the first one, asleep without any.

    Not one of Trio's, which cannot be left behind when they hang, and which end and begin when they please.
    """

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, work: Callable[[], object], done: Callable[[BaseException | None], None]) -> None:
        """Call `work` there, and then `done` with what it raised."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="store", daemon=True)
            self._thread.start()
        self._tasks.put((work, done))

    def end(self, seconds: float) -> bool:
        """Let it end after what it does now; whether it did in that time."""
        if self._thread is None:
            return True
        self._tasks.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            work, done = task
            failure: BaseException | None = None
            try:
                work()
            except BaseException as error:
                failure = error
            done(failure)
            del task, work, done, failure
