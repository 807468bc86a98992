"""A life that can always be ended: Trio in a thread of its own, signals in the main one, and a last resort.

Python runs signal handlers in the main thread, between two of its own steps. Were Trio there, then a call
into C that hangs, or a loop without an end, would make the process deaf to Ctrl-C and SIGTERM. So the
main thread (`run_apart`) does nothing but wait: it hears a signal at any time and hands it on. It waits for a
byte, which a signal writes too (signal.set_wakeup_fd): a wait for the thread itself would sleep through a
signal that came a moment before it began.

From the beginning of an end, by signal or because a vital part failed, the stop has ORDERLY_SECONDS.
`LastResort` counts them in threads that nothing can hang. When they are over, it puts the host's network
back itself and ends the process; when even that hangs, it ends it after STOP_SECONDS, and the next start
puts back what is left. Nothing that is billed is lost by either: the counters outlive the process.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Final, Never

import trio

from appliance.log import event

_log = logging.getLogger("sallyport.main")

ORDERLY_SECONDS: Final = 4.0
STOP_SECONDS: Final = 4.6


def run_apart(main: Callable[[trio.Event], Awaitable[None]], on_signal: Callable[[], None]) -> None:
    """Run `main` under Trio to its end; its argument is set when SIGINT or SIGTERM comes.

    `on_signal` is called then, too, once, in the main thread. Afterwards the signals stay without effect:
    what is left to do is quick, and a second Ctrl-C must not cut it short.
    """
    asked = False
    inside: list[tuple[trio.lowlevel.TrioToken, trio.Event]] = []
    failures: list[BaseException] = []

    def heard(_number: int, _frame: object) -> None:
        nonlocal asked
        if asked:
            return  # what a second one would begin is under way
        asked = True
        on_signal()
        for token, stopping in inside:
            try:
                token.run_sync_soon(stopping.set)
            except trio.RunFinishedError:
                pass  # it has ended already

    async def body() -> None:
        stopping = trio.Event()
        inside.append((trio.lowlevel.current_trio_token(), stopping))
        if asked:
            stopping.set()
        await main(stopping)

    def run() -> None:
        try:
            trio.run(body)
        except BaseException as failure:
            failures.append(failure)
        finally:
            over.set()
            _nudge(wake)

    over = threading.Event()
    woken, wake = socket.socketpair()
    with woken, wake:
        wake.setblocking(False)
        before = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, heard)
            thread = threading.Thread(target=run, name="trio")
            thread.start()
            while not over.is_set():
                woken.recv(64)
            thread.join()
        finally:
            signal.set_wakeup_fd(before)
    if failures:
        raise failures[0]


def _nudge(wake: socket.socket) -> None:
    try:
        wake.send(b"\0")
    except BlockingIOError:
        pass  # full of signals: there is enough to wake up for


class LastResort:
    """Ends the process when the orderly end takes too long."""

    def __init__(self) -> None:
        # What must not be left behind, once there is anything; called in any thread.
        self.put_back: Callable[[], None] = lambda: None
        self._timers: list[threading.Timer] = []
        self._over = False  # begun, or no longer wanted
        # Reentrant: a signal may come while the main thread is inside here because of the one before it.
        self._lock = threading.RLock()

    def begin(self) -> None:
        """An end has begun. May be called again, and from any thread."""
        with self._lock:
            if self._over:
                return
            self._over = True
            for seconds, end in ((ORDERLY_SECONDS, self._cut_short), (STOP_SECONDS, self._give_up)):
                timer = threading.Timer(seconds, end)
                timer.daemon = True
                timer.start()
                self._timers.append(timer)

    def cancel(self) -> None:
        """It ended by itself."""
        with self._lock:
            self._over = True
            for timer in self._timers:
                timer.cancel()

    def _cut_short(self) -> None:
        try:
            self.put_back()
        except Exception as failure:
            event(_log, logging.ERROR, "the network was not put back", error=str(failure))
            self._give_up()
        _end("the network is put back, what was counted is kept")

    def _give_up(self) -> None:
        _end("the next start repairs it")


def _end(how: str) -> Never:
    os.write(2, f"sallyport: stopping took too long and was cut short; {how}\n".encode())
    os._exit(1)
