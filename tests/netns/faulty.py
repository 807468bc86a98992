"""The real program with faults that can be switched on from outside: `faulty.py FIFO [--c] up ...`.

The program itself has no such switch: this file wraps its parts by name before it starts. Each line that
is written into the FIFO is one order, and is answered by `fault: ORDER` on stderr when it is in force:

    api | uapi | operator | device  raise|hang|go    the part fails or stops serving, and serves again
    store raise|hang|go                              its thread, at the next change
    queue N                                          no more than N changes may wait for the store
    trio hang                                        everything that is Python
    pump KIND hang|go|ERRNO                          a system call of the packet pump (with --c)

`--c` takes the fault build of the extension (tests/crypto_ext/conftest.py), which differs from the shipped
one in nothing but that its system calls can be made to fail.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import trio

import api.listener
import appliance.apart
import appliance.main
import appliance.operator
import crypto_ext.addresses
import crypto_ext.pump
from appliance.cli import main
from appliance.device.device import Device
from appliance.store import writer
from appliance.uapi import UapiServer


class Fault(Exception):
    """What a part fails with."""


class Part:
    """An async function of the program that can be made to raise, or to stop and go on."""

    def __init__(self, owner: Any, name: str) -> None:
        self._real: Callable[..., Awaitable[None]] = getattr(owner, name)
        self._changed = trio.Event()
        self._hangs = trio.Event()
        self._order = "go"
        setattr(owner, name, self._wrapped(owner))

    async def order(self, order: str) -> None:
        """In Trio's thread; back when it hangs that is to hang."""
        self._order, self._hangs = order, trio.Event()
        self._changed.set()
        self._changed = trio.Event()
        if order == "hang":
            await self._hangs.wait()

    def _wrapped(self, owner: Any) -> Callable[..., Awaitable[None]]:
        if not isinstance(owner, type):
            return self._run

        async def method(this: Any, *args: Any, **named: Any) -> None:
            await self._run(this, *args, **named)

        return method

    async def _run(self, *args: Any, **named: Any) -> None:
        while True:
            ended = False
            async with trio.open_nursery() as nursery:

                async def real(scope: trio.CancelScope = nursery.cancel_scope) -> None:
                    nonlocal ended
                    await self._real(*args, **named)
                    ended = True
                    scope.cancel()

                nursery.start_soon(real)
                await self._changed.wait()
                nursery.cancel_scope.cancel()
            if ended:
                return
            while self._order == "hang":
                self._hangs.set()
                await self._changed.wait()
            if self._order == "raise":
                self._order = "go"
                raise Fault("on order")


class StoreFault:
    """The store's thread."""

    def __init__(self) -> None:
        self._go = threading.Event()
        self._go.set()
        self._raises = False
        real = writer.Writer._commit

        def commit(this: writer.Writer, group: list[Any]) -> bool:
            self._go.wait()
            if self._raises:
                raise Fault("on order")
            return real(this, group)

        writer.Writer._commit = commit  # type: ignore[method-assign]  # that is what this is for

    def order(self, order: str) -> None:
        self._raises = order == "raise"
        (self._go.clear if order == "hang" else self._go.set)()


PARTS = {
    "api": Part(api.listener, "serve"),
    "uapi": Part(UapiServer, "run"),
    "operator": Part(appliance.operator, "serve"),
    "device": Part(Device, "_hear_upward"),
}
STORE = StoreFault()
TOKENS: list[trio.lowlevel.TrioToken] = []


def watch_for_trio() -> None:
    """Learn the token of the program's own run."""
    real = appliance.main._Exit.run

    async def run(this: Any, stopping: trio.Event) -> None:
        TOKENS.append(trio.lowlevel.current_trio_token())
        await real(this, stopping)

    appliance.main._Exit.run = run  # type: ignore[method-assign]  # as above


def have_patience() -> None:
    """What is cut short puts the network back, however busy the machine is. (Else: test_apart.py.)"""
    appliance.apart.STOP_SECONDS = 60.0  # type: ignore[misc]  # final for all but this build


def use_fault_build() -> Any:
    from tests.crypto_ext.conftest import faulty_module

    module = faulty_module()
    for user in (crypto_ext.pump, crypto_ext.addresses):
        user.ffi = module.ffi
    crypto_ext.pump.lib = module.lib
    return module.lib


def obey(lib: Any, words: list[str]) -> None:
    match words:
        case ["store", order]:
            STORE.order(order)
        case ["queue", most]:
            writer.MOST_WAITING = int(most)  # type: ignore[misc]  # as above
        case ["trio", "hang"]:
            TOKENS[0].run_sync_soon(time.sleep, 3600)
        case ["pump", kind, how]:
            from tests.crypto_ext.conftest import HANGS
            from tests.crypto_ext.conftest import Fault as Kind

            number = {"hang": HANGS, "go": 0}.get(how) if how in ("hang", "go") else getattr(errno, how)
            lib.sp_fault_set(int(Kind[kind]), number, 0, 0 if how == "go" else -1)
        case [part, order]:
            trio.from_thread.run(PARTS[part].order, order, trio_token=TOKENS[0])


def listen(lib: Any, fifo: str) -> None:
    while True:
        with open(fifo) as orders:
            for line in orders:
                obey(lib, line.split())
                os.write(2, f"fault: {line.strip()}\n".encode())


def run() -> int:
    fifo, *words = sys.argv[1:]
    lib = use_fault_build() if words[0] == "--c" else None
    watch_for_trio()
    have_patience()
    threading.Thread(target=listen, args=(lib, fifo), daemon=True).start()
    return main([word for word in words if word != "--c"])


if __name__ == "__main__":
    sys.exit(run())
