"""The watchdog: fed while the pump answers, starved while it does not, silent without systemd."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.watchdog import feed_watchdog
from tests.appliance.device.pair import running_side

FEED_US = 1_000_000  # what stands still for less is well


async def test_without_systemd_it_returns_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    async with running_side("10.9.0.1") as side:
        with trio.fail_after(5):
            await feed_watchdog(side.device)


async def test_fed_only_while_the_pump_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
        manager.bind(path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        monkeypatch.setenv("WATCHDOG_USEC", str(2 * FEED_US))
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        async with running_side("10.9.0.1") as side, trio.open_nursery() as nursery:
            nursery.start_soon(feed_watchdog, side.device)
            with trio.fail_after(60):
                for _ in range(2):
                    await trio.lowlevel.wait_readable(manager)
                    assert manager.recv(100) == b"WATCHDOG=1"
            # A pump that hears no ping stands for one that hangs.
            ping = side.device.pump.ping
            monkeypatch.setattr(side.device.pump, "ping", lambda: None)
            with trio.fail_after(60):
                while not caplog.records:  # noqa: ASYNC110 - logging wakes nobody
                    await trio.sleep(0.05)
            while True:
                try:
                    manager.recv(100)
                except BlockingIOError:
                    break
            with trio.move_on_after(2 * FEED_US / 1e6) as patience:
                await trio.lowlevel.wait_readable(manager)
            assert patience.cancelled_caught
            monkeypatch.setattr(side.device.pump, "ping", ping)
            with trio.fail_after(60):
                await trio.lowlevel.wait_readable(manager)
            nursery.cancel_scope.cancel()
    # Said once each, however long it lasts.
    said = [record.message for record in caplog.records]
    assert said == ["the packet pump does not answer", "the packet pump answers again"]
