"""Parts that may fail without taking the exit down: restarted with back-off and a logged reason.

A bug in an endpoint of the API must not close the tunnel for everybody. What is fatal instead (pump,
store, device) is simply started in the main nursery. Delays are I/O time, so Trio's clock rules them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from appliance.errors import cause_of
from appliance.log import event

_log = logging.getLogger("sallyport.supervise")

_FIRST_DELAY_SECONDS = 0.5
_GREATEST_DELAY_SECONDS = 30.0
# A part that ran this long before it failed starts with the first delay again.
_STEADY_SECONDS = 60.0


async def keep_running(part: str, serve: Callable[[], Awaitable[None]]) -> None:
    """Run `serve` until it returns by itself; each failure is logged and followed by another try."""
    delay_seconds = _FIRST_DELAY_SECONDS
    while True:
        started = trio.current_time()
        try:
            await serve()
        except Exception as failure:
            if trio.current_time() - started >= _STEADY_SECONDS:
                delay_seconds = _FIRST_DELAY_SECONDS
            cause = cause_of(failure)
            event(
                _log,
                logging.ERROR,
                "part failed and is started again",
                failed=part,
                error=f"{type(cause).__name__}: {cause}",
                delay_seconds=delay_seconds,
            )
        else:
            return
        await trio.sleep(delay_seconds)
        delay_seconds = min(2 * delay_seconds, _GREATEST_DELAY_SECONDS)
