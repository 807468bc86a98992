"""What the operator asks of the storage itself: whether it still takes a transaction, and a backup."""

from __future__ import annotations

from pathlib import Path

from appliance.control import ticks
from appliance.control.errors import StorageUnavailable
from appliance.control.state import State
from appliance.store.writer import StoreFailed


async def check(state: State) -> None:
    """Return once the database has taken a transaction (of nothing). Raises `StorageUnavailable`."""
    try:
        await state.store.write(lambda _connection: None)
    except StoreFailed as error:
        raise StorageUnavailable from error


async def backup(state: State) -> Path:
    """Settle what is counted, then make a backup in the state directory; whoever asked moves it away.

    Raises `StorageUnavailable`, `StateError`.
    """
    await ticks.settle(state)
    try:
        return await state.store.backup()
    except StoreFailed as error:
        raise StorageUnavailable from error
