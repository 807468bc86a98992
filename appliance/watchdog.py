"""Telling systemd that we live, but only after the packet pump has said so itself.

Both halves must be well: this task proves that Python's loop turns, the pump's answer to a ping that
its thread does. When either hangs, no WATCHDOG=1 is sent and systemd starts the service anew.
"""

from __future__ import annotations

import logging

import trio

from appliance.device.device import Device
from appliance.log import event
from appliance.sdnotify import notify, watchdog_interval_seconds

_log = logging.getLogger("sallyport.watchdog")


async def feed_watchdog(device: Device) -> None:
    """Feed it until cancelled; returns at once when systemd does not ask for it."""
    interval_seconds = watchdog_interval_seconds()
    if interval_seconds is None:
        return
    hangs = False
    while True:
        with trio.move_on_after(interval_seconds) as patience:
            await device.pump_answers()
        if patience.cancelled_caught:
            if not hangs:
                event(_log, logging.ERROR, "the packet pump does not answer", waited_seconds=interval_seconds)
            hangs = True
            continue
        if hangs:
            event(_log, logging.WARNING, "the packet pump answers again")
        hangs = False
        notify("WATCHDOG=1")
        await trio.sleep(interval_seconds)
