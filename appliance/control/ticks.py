"""The settle tick: what the counters show is written into the ledger, at most 10 seconds late.

Nothing ticks on an idle exit. The first byte counted after the counters were last armed makes the device
call `counted`; 10 seconds later the event is armed again and, after that, the counters are read and
committed: in this order, so that a byte that comes in between starts the next tick instead of being
forgotten until another one comes.

A byte that is not settled yet is not lost when the process dies: the counters outlive it (slots.py). The tick
bounds what a power loss can take.
"""

from __future__ import annotations

import logging
from typing import Final

import trio

from appliance.control.charging import Charged, Reading, charge
from appliance.control.errors import StorageUnavailable
from appliance.control.quota import Quota
from appliance.control.state import State
from appliance.log import event
from appliance.store.writer import StoreFailed

logger = logging.getLogger("sallyport.control")

TICK_SECONDS: Final = 10.0


class Ticks:
    """Waits for counted bytes, and settles."""

    def __init__(self, state: State, quota: Quota) -> None:
        self._state = state
        self._quota = quota
        self._counted = trio.Event()

    def counted(self) -> None:
        """Bytes were counted since the event was armed."""
        self._counted.set()

    async def run(self) -> None:
        """Settle after each `counted`, for ever. A commit that fails is tried again at the next tick."""
        self._state.rearm()
        while True:
            await self._counted.wait()
            await trio.sleep(TICK_SECONDS)
            self._counted = trio.Event()
            self._state.rearm()
            self._quota.look()
            try:
                await settle(self._state)
            except StorageUnavailable:
                event(logger, logging.ERROR, "counters were not settled; trying again")
                self._counted.set()


async def settle(state: State) -> None:
    """Commit every live session's counters as they stand now. Raises `StorageUnavailable`."""
    sessions = {
        (session.row.id, session.slot.generation): session
        for session in state.live.values()
        if session.unsettled_bytes()
    }
    if not sessions:
        return
    readings = [
        Reading(session.row.account_id, life, session.slot.counts()) for life, session in sessions.items()
    ]
    now_ns = state.wall_ns()

    def applied(charged: Charged) -> None:
        for life, counts in charged.settled.items():
            sessions[life].settled = counts
        for account_id, windows in charged.windows.items():
            state.accounts[account_id].windows = windows

    try:
        await state.store.write(lambda connection: charge(connection, readings, now_ns), applied)
    except StoreFailed as error:
        raise StorageUnavailable from error
