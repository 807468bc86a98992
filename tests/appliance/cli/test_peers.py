"""`peers` as a table and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance import operator
from appliance.cli import main

PEERS: list[dict[str, Any]] = [
    {
        "public_key": "A=",
        "session": "tb_a",
        "has_endpoint": True,
        "last_handshake": "2026-05-28T14:02:14Z",
        "handshake_age_seconds": 75,
        "received_bytes": 5,
        "sent_bytes": 7 << 32,
        "allowed_ips": ["10.101.0.2/32"],
    },
    {
        "public_key": "B=",
        "session": None,
        "has_endpoint": False,
        "last_handshake": None,
        "handshake_age_seconds": None,
        "received_bytes": 0,
        "sent_bytes": 0,
        "allowed_ips": [],
    },
]


def test_peers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(operator, "call", lambda *_: PEERS)
    assert main(["peers"]) == 0
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split("  ")[0] == "PUBLIC KEY"
    assert first.split() == ["A=", "tb_a", "yes", "1", "min", "15", "s", "ago", "5", str(7 << 32)]
    assert second.split() == ["B=", "static", "no", "never", "0", "0"]
    assert main(["peers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == PEERS


def test_no_peers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(operator, "call", lambda *_: [])
    assert main(["peers"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
