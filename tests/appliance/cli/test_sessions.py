"""`sessions` against a process that serves the operator socket."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from appliance import operator
from appliance.cli import main
from appliance.control.door import Control
from appliance.control.errors import SessionNotFound
from appliance.control.views import SessionRow, SessionView

_MADE = datetime(2026, 5, 28, 14, 2, 14, tzinfo=UTC)


class _Control:
    """The verbs of a door with one live session and an ended one."""

    def __init__(self) -> None:
        self.handshake: datetime | None = None
        self.ended: list[tuple[object, str]] = []

    async def list_sessions(self) -> list[SessionRow]:
        return [SessionRow("tb_a", IPv4Address("10.1.0.2"), "K=", _MADE, 5 << 32, 7, self.handshake, False)]

    async def session(self, account: object, session_id: str) -> SessionView:
        assert account is None
        if session_id == "tb_a":
            return SessionView("tb_a", _MADE, None, None, 9, 7, "paid", 16, 0, 1, 86400)
        if session_id == "tb_old":
            return SessionView("tb_old", _MADE, _MADE, "expired", 9, 7, "paid", 16, 0, 1, 86400)
        raise SessionNotFound

    async def end_session(self, account: object, session_id: str, reason: str) -> SessionView:
        if session_id != "tb_a":
            raise SessionNotFound
        self.ended.append((account, reason))
        return SessionView("tb_a", _MADE, _MADE, reason, 9, 7, "paid", 16, 0, 1, 0)


@asynccontextmanager
async def _serving(control: _Control, state_dir: Path) -> AsyncIterator[None]:
    await trio.Path(state_dir).mkdir()
    async with trio.open_nursery() as nursery:
        await nursery.start(operator.serve, cast(Control, control), state_dir)
        yield
        nursery.cancel_scope.cancel()


async def _run(state_dir: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, Any]:
    code = await trio.to_thread.run_sync(main, ["sessions", *words, "--state-dir", str(state_dir)])
    return code, *capsys.readouterr()


async def test_list(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    control = _Control()
    async with _serving(control, state_dir):
        code, out, err = await _run(state_dir, capsys, "list", "--json")
        assert (code, err) == (0, "")
        assert json.loads(out) == [
            {
                "id": "tb_a",
                "address": "10.1.0.2",
                "public_key": "K=",
                "created_at": "2026-05-28T14:02:14Z",
                "bytes_in": 5 << 32,
                "bytes_out": 7,
                "last_handshake": None,
                "old_key": False,
            }
        ]
        _, out, _ = await _run(state_dir, capsys, "list")
        heading, row = out.splitlines()
        assert heading.split()[:2] == ["ID", "ADDRESS"]
        assert row.split() == ["tb_a", "10.1.0.2", "2026-05-28T14:02:14Z", "never", str(5 << 32), "7", "K="]
        control.handshake = _MADE
        _, out, _ = await _run(state_dir, capsys, "list")
        assert "never" not in out


async def test_show(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with _serving(_Control(), state_dir):
        code, out, err = await _run(state_dir, capsys, "show", "tb_a")
        assert (code, err) == (0, "")
        shown = [re.split("  +", line) for line in out.splitlines()]
        assert shown == [
            ["id", "tb_a"],
            ["state", "live"],
            ["created", "2026-05-28T14:02:14Z"],
            ["tier", "paid"],
            ["bytes in", "9"],
            ["bytes out", "7"],
            ["account's bytes", "16 (no limit)"],
            ["account's seconds", "1 of 86400"],
            ["address", "10.1.0.2"],
            ["public key", "K="],
            ["last handshake", "never"],
        ]
        _, out, _ = await _run(state_dir, capsys, "show", "tb_old")
        assert "ended 2026-05-28T14:02:14Z (expired)" in out
        assert "address" not in out
        _, out, _ = await _run(state_dir, capsys, "show", "tb_a", "--json")
        live = json.loads(out)
        assert (live["terminated_at"], live["address"], live["public_key"]) == (None, "10.1.0.2", "K=")
        _, out, _ = await _run(state_dir, capsys, "show", "tb_old", "--json")
        ended = json.loads(out)
        assert list(ended) == list(live)
        assert [ended[name] for name in ("terminated_reason", "address", "last_handshake")] == [
            *("expired", None, None)
        ]
        code, out, err = await _run(state_dir, capsys, "show", "tb_b")
        assert (code, out, err) == (1, "", "sallyport: there is no session tb_b\n")


async def test_end(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    control = _Control()
    async with _serving(control, state_dir):
        words = "session tb_a is ended (admin): 9 bytes in, 7 bytes out\n"
        assert await _run(state_dir, capsys, "end", "tb_a") == (0, words, "")
        code, out, _ = await _run(state_dir, capsys, "end", "tb_a", "--json")
        assert (code, json.loads(out)["terminated_reason"]) == (0, "admin")
        assert control.ended == [(None, "admin")] * 2
        for name in ("tb_b", "", "a\nb"):
            code, out, err = await _run(state_dir, capsys, "end", name)
            assert (code, out) == (1, "")
            assert err.startswith("sallyport: there is no session")
            assert len(err.splitlines()) == 1


def test_without_a_process_and_without_a_state(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions", "list", "--state-dir", str(state_dir)]) == 5
    assert capsys.readouterr().out == ""
    assert not state_dir.exists()


def test_a_state_without_sessions(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["token", "create", "--state-dir", str(state_dir)])
    capsys.readouterr()
    assert main(["sessions", "list", "--json", "--state-dir", str(state_dir)]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["sessions", "end", "tb_x", "--state-dir", str(state_dir)]) == 1
