"""Virtual time for tests that also use the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
import trio
import trio.testing

from appliance.store import writer

T = TypeVar("T")


@pytest.fixture
def virtual_time(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> trio.testing.MockClock:
    """Trio's clock jumps over every sleep; the store's thread runs in line.

    The clock would otherwise jump while everybody waits for that thread, by as much as the next sleep.
    """

    async def in_line(work: Callable[..., T], *args: object, **_: object) -> T:
        await trio.lowlevel.checkpoint()
        return work(*args)

    def at_once(_: object, work: Callable[[], object], done: Callable[[BaseException | None], None]) -> None:
        work()
        done(None)

    monkeypatch.setattr(trio.to_thread, "run_sync", in_line)
    monkeypatch.setattr(writer._Thread, "do", at_once)
    return autojump_clock
