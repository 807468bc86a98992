"""End sessions when their time is over.

Each session's end is kept on the boot clock, which does not step and counts suspend; the task sleeps until
the nearest. Trio's clock, on which it sleeps, stands still while the machine is suspended: that is why it
looks again every hour at the latest.
"""

from __future__ import annotations

import logging
from typing import Final

import trio

from appliance.control import ending
from appliance.control.errors import Refused
from appliance.control.state import State
from appliance.core.accounting import NS_PER_SECOND
from appliance.log import event

logger = logging.getLogger("sallyport.control")

_LONGEST_SLEEP_SECONDS: Final = 3600.0
_RETRY_SECONDS: Final = 10.0


class Expiry:
    """Sleeps until the nearest end, and ends what is over."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._first = trio.Event()

    def session_made(self) -> None:
        """There is a session now. New ones end last, so only the first one changes what is waited for."""
        self._first.set()

    async def run(self) -> None:
        while True:
            while not self._state.live:
                self._first = trio.Event()
                await self._first.wait()
            nearest_ns = min(session.ends_boot_ns for session in self._state.live.values())
            left_seconds = (nearest_ns - self._state.boot_ns()) / NS_PER_SECOND
            if left_seconds > 0:
                await trio.sleep(min(left_seconds, _LONGEST_SLEEP_SECONDS))
            elif not await self._end_what_is_over():
                await trio.sleep(_RETRY_SECONDS)

    async def _end_what_is_over(self) -> bool:
        now_ns, all_ended = self._state.boot_ns(), True
        for session in list(self._state.live.values()):
            if session.ends_boot_ns <= now_ns:
                try:
                    await ending.end(self._state, session.row.id, "expired")
                except Refused as error:
                    event(logger, logging.ERROR, "an expired session lives on; trying again", error=error)
                    all_ended = False
        return all_ended
