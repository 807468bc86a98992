"""An answer in time, also when what was asked for is not decided yet.

A change that the store's thread has begun and then hangs in (a dead disk) is in doubt: it must be waited for,
by whoever holds the lease, the slot and the peer that go with it. Whoever asked need not wait as long. So
the door lets each change run as a task of its own and gives it ANSWER_SECONDS; then the answer is
`StorageUnavailable`, which says nothing of what becomes of it, and the task goes on as after a client that
hung up in the middle: when it is decided after all, a session that nobody knows of is ended (creating.py), a
token revoked (tokens.py); an end or a revocation is done, and may be asked for again.

The store's own patience with what it has not begun (store/writer.py) is shorter, so that everything that can
be taken back is, before anybody is told.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import trio

from appliance.control.errors import Refused, StorageUnavailable
from appliance.log import event

logger = logging.getLogger("sallyport.control")

ANSWER_SECONDS: Final = 5.0

T = TypeVar("T")


class Patience:
    """Runs changes for those who ask for them; without `run` they run where they are asked for."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Home of the changes, until cancelled; then those that are under way are waited for."""
        try:
            async with trio.open_nursery() as self._nursery:
                await trio.sleep_forever()
        finally:
            self._nursery = None

    async def with_(self, change: Callable[[], Awaitable[T]]) -> T:
        """What `change` gives or raises; `StorageUnavailable` when that takes too long."""
        if self._nursery is None:
            return await change()
        asked = _Asked(change)
        self._nursery.start_soon(asked.run)
        try:
            with trio.move_on_after(ANSWER_SECONDS):
                await asked.over.wait()
        except trio.Cancelled:
            asked.leave()
            with trio.CancelScope(shield=True), trio.move_on_after(ANSWER_SECONDS):
                await asked.over.wait()  # so that who hangs up and asks again meets what was decided
            raise
        if not asked.over.is_set():
            asked.leave()
            raise StorageUnavailable
        return asked.result()


class _Asked(Generic[T]):
    """One change, and whether anybody waits for it."""

    def __init__(self, change: Callable[[], Awaitable[T]]) -> None:
        self.over = trio.Event()
        self._change = change
        self._scope = trio.CancelScope()
        self._left = False
        self._results: list[T] = []
        self._error: Exception = StorageUnavailable()  # what a change that was cancelled comes to

    async def run(self) -> None:
        """The task of its own."""
        try:
            with self._scope:
                self._results.append(await self._change())
        except Exception as error:
            self._error = error
            if self._left and not isinstance(error, Refused):
                event(logger, logging.ERROR, "a change failed after its caller had left", exc_info=error)
        finally:
            self.over.set()

    def leave(self) -> None:
        """As of a client that hung up."""
        self._left = True
        self._scope.cancel()

    def result(self) -> T:
        if not self._results:
            raise self._error
        return self._results[0]
