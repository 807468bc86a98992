"""What the operator asks of the storage itself: whether it still takes a transaction."""

from __future__ import annotations

from appliance.control.errors import StorageUnavailable
from appliance.control.state import State
from appliance.store.writer import StoreFailed


async def check(state: State) -> None:
    """Return once the database has taken a transaction (of nothing). Raises `StorageUnavailable`."""
    try:
        await state.store.write(lambda _connection: None)
    except StoreFailed as error:
        raise StorageUnavailable from error
