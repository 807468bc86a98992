"""`status` on one screen, as JSON, and with nothing to tell about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance import operator
from appliance.cli import main
from appliance.errors import UserError

ANSWER: dict[str, Any] = {
    "version": "0.1.0",
    "interface": "sally0",
    "endpoint": "198.51.100.7:51820",
    "public_key": "K=",
    "old_key": None,
    "api": "http://127.0.0.1:8080",
    "uptime_seconds": 3700,
    "health": {"well": True, "pump": "ok", "database": "ok"},
    "draining": False,
    "sessions": {"live": 2, "addresses_free": 251, "static_peers": 0},
    "rates": {
        "over_seconds": 1.0,
        "to_clients_bytes_per_second": 12_500_000,
        "from_clients_bytes_per_second": 40,
        "to_clients_packets_per_second": 9000,
        "from_clients_packets_per_second": 1,
    },
    "drops": {"replay": 3, "purse": 12},
    "refused": {"too_many_flows": 9, "host": 1},
    "ipv6": "translated",
    "warnings": [{"count": 2, "line": "first"}, {"count": 1, "line": "second"}],
}


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    told = json.loads(json.dumps(ANSWER))
    monkeypatch.setattr(operator, "call", lambda *_: told)
    assert isinstance(told, dict)
    return told


def test_one_screen(answer: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out == (
        "sallyport     0.1.0 on sally0, up 1 h 1 min\n"
        "health        well: pump ok, database ok\n"
        "sessions      2 live, 251 addresses free\n"
        "to clients    100.0 Mbit/s, 9000 packets/s\n"
        "from clients  320.0 bit/s, 1 packets/s\n"
        "drops         replay 3, purse 12\n"
        "refused       too_many_flows 9, host 1\n"
        "ipv6          translated\n"
        "endpoint      198.51.100.7:51820\n"
        "public key    K=\n"
        "api           http://127.0.0.1:8080\n"
        "warnings      2 x first\n"
        "              1 x second\n"
    )


def test_what_is_not_well_stands_out(answer: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    answer["health"].update(well=False, pump="no answer")
    answer["sessions"]["static_peers"] = 1
    answer["draining"] = True
    answer["drops"].clear()
    answer["refused"] = None
    answer["warnings"].clear()
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert "NOT WELL: pump no answer, database ok\n" in out
    assert "251 addresses free, 1 static peers, DRAINING: no new ones\n" in out
    assert "drops         none\n" in out
    assert "refused       no answer\n" in out
    assert out.endswith("warnings      none\n")


def test_json(answer: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answer


@pytest.mark.parametrize("command", ["status", "peers"])
def test_nobody_runs(command: str, state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--state-dir", str(state_dir)]) == 1
    assert capsys.readouterr() == ("", f"sallyport: no sallyport runs on {state_dir}\n")
    assert not state_dir.exists()


def test_what_the_process_says_is_final(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise UserError("unknown verb or arguments: status")

    monkeypatch.setattr(operator, "call", refuse)
    assert main(["status"]) == 1
    assert capsys.readouterr() == ("", "sallyport: unknown verb or arguments: status\n")
