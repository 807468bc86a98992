"""A timer on CLOCK_BOOTTIME that Trio can wait for.

The handshake brain's deadlines are CLOCK_BOOTTIME nanoseconds (suspend counts); Trio's own clock does
not count suspend. So the device sleeps on one timerfd, armed to the nearest deadline. Python has
`os.timerfd_create` only from 3.13 on, hence ctypes: three calls of libc, nothing more.
"""

from __future__ import annotations

import ctypes
import os
import time

import trio

_TFD_TIMER_ABSTIME = 1
_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_CLOEXEC = os.O_CLOEXEC


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _ITimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


_libc = ctypes.CDLL(None, use_errno=True)


class BoottimeTimer:
    """One timer; `arm` may be called at any time, also while a task is in `wait`."""

    def __init__(self) -> None:
        self._fd = _libc.timerfd_create(time.CLOCK_BOOTTIME, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "timerfd_create")

    def arm(self, deadline_ns: int | None) -> None:
        """Fire once at `deadline_ns` (at once when that is past); None: never."""
        spec = _ITimerSpec()
        if deadline_ns is not None:
            # The value 0 would disarm; 1 ns after boot is as past as can be.
            spec.value.seconds, spec.value.nanoseconds = divmod(max(deadline_ns, 1), 1_000_000_000)
        if _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "timerfd_settime")

    async def wait(self) -> None:
        """Return once the timer has fired since it was armed last."""
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                os.read(self._fd, 8)
            except BlockingIOError:  # armed anew between the two calls
                continue
            return

    def close(self) -> None:
        """Close the descriptor; no task may be in `wait`."""
        os.close(self._fd)
