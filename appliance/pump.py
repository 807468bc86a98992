"""The only importer of `crypto_ext`, and the owner of the one pump thread.

`drive` runs the C loop in a worker thread and guarantees the order in which things end: whatever
cancels or fails around it, the loop is told to stop, the thread is joined, and only then does control
return to code that may close descriptors or free memory. The thread is parked in C with all signals
blocked and the GIL released, so Ctrl-C always reaches Python's main thread.
"""

from __future__ import annotations

import logging
import os

import trio

from appliance import log
from appliance.errors import UsageError, UserError
from crypto_ext import (
    DROPS,
    Aead,
    Datagram,
    End,
    Endpoint,
    Event,
    Notice,
    Offload,
    PeerView,
    Pending,
    Pump,
    Stats,
    Symmetric,
)

__all__ = [
    "DROPS",
    "Datagram",
    "End",
    "Endpoint",
    "Event",
    "Notice",
    "Offload",
    "PeerView",
    "Pending",
    "Pump",
    "PumpFailed",
    "Stats",
    "Symmetric",
    "aead_broken",
    "aead_choice",
    "aead_path",
    "drive",
]


_log = logging.getLogger("sallyport.pump")


class PumpFailed(UserError):
    """The loop that moves the packets cannot go on."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the packet pump failed: {reason}; what was counted is kept, start it again")


async def drive(pump: Pump) -> End:
    """Run the pump until it ends by itself or this task is cancelled; the thread is joined either way.

    Gives `STOPPED` or `TUN_GONE`; raises `PumpFailed` when the loop cannot go on. On cancellation the pump is
    stopped and `Cancelled` goes on its way afterwards.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_when_cancelled, pump)
        end = await trio.to_thread.run_sync(_run, pump, abandon_on_cancel=False)
        nursery.cancel_scope.cancel()
    return end


def _run(pump: Pump) -> End:
    try:
        end = End(pump.run())
    except OSError as failure:
        raise PumpFailed(os.strerror(failure.errno or 0)) from failure
    if end is End.UDP_GONE:
        raise PumpFailed("its UDP sockets are gone")
    return end


async def _stop_when_cancelled(pump: Pump) -> None:
    try:
        await trio.sleep_forever()
    finally:
        pump.stop()


AEAD_VARIABLE = "SALLYPORT_AEAD"
AEAD_PATHS = ("avx512", "avx2", "portable", "libcrypto")


def aead_choice() -> str:
    """The cipher path that the environment forces, else "auto". What cannot be had is the user's mistake.

    Which paths "auto" has to pass over, because they compute wrong answers here, is logged.
    """
    wanted = _forced()
    if wanted == "auto":
        for path in aead_broken():
            log.event(_log, logging.WARNING, "a cipher path fails its self-test and is not used", path=path)
    return wanted


def aead_broken() -> list[str]:
    """The cipher paths that this machine has but that compute wrong answers on it; there should be none."""
    return [path for path in AEAD_PATHS if Aead.broken(path)]


def aead_path() -> str:
    """Which cipher code the data path uses on this machine, in one word."""
    return str(Aead(_forced()).path)


def _forced() -> str:
    wanted = os.environ.get(AEAD_VARIABLE, "")
    if not wanted:
        return "auto"
    if wanted not in AEAD_PATHS:
        raise UsageError(f"{AEAD_VARIABLE}={wanted}: no such path; there are {', '.join(AEAD_PATHS)}")
    try:
        Aead(wanted)
    except ValueError:
        raise UsageError(f"{AEAD_VARIABLE}={wanted}: this machine cannot run that path") from None
    return wanted
