"""`token` on a state directory that no process serves: made, listed, revoked."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import main


@pytest.fixture
def sallyport(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["token", *words, "--state-dir", str(state_dir)])
        return code, *capsys.readouterr()

    return run


def test_a_life_in_json(sallyport: Any) -> None:
    code, out, err = sallyport("create", "--json")
    assert (code, err) == (0, "")
    made = json.loads(out)
    assert list(made) == ["id", "token"]
    _, out, _ = sallyport("list", "--json")
    [listed] = json.loads(out)
    assert list(listed) == ["id", "created_at", "revoked"]
    assert (listed["id"], listed["revoked"]) == (made["id"], False)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", listed["created_at"])
    assert made["token"] not in out
    code, out, _ = sallyport("revoke", made["id"], "--json")
    assert (code, json.loads(out)) == (0, {"id": made["id"], "revoked": True})
    assert json.loads(sallyport("list", "--json")[1])[0]["revoked"] is True


def test_a_life_in_words(sallyport: Any) -> None:
    code, out, err = sallyport("create")
    assert (code, err) == (0, "")
    made = re.fullmatch(r"id +(\S+)\ntoken +(\S+)\n", out)
    assert made
    assert re.fullmatch(rf"ID +CREATED +REVOKED\n{made[1]}  \S+Z  no\n", sallyport("list")[1])
    assert sallyport("revoke", made[1]) == (0, f"token {made[1]} is revoked\n", "")
    assert sallyport("list")[1].endswith("  yes\n")


def test_a_prepaid_one(sallyport: Any, state_dir: Path) -> None:
    code, out, err = sallyport("create", "--bytes", "9223372036854775807", "--json")
    assert (code, err, list(json.loads(out))) == (0, "", ["id", "token"])
    sallyport("create")
    database = sqlite3.connect(state_dir / "sallyport.db")
    rows = database.execute("SELECT tier, prepaid_bytes FROM accounts ORDER BY prepaid_bytes").fetchall()
    database.close()
    assert rows == [("paid", None), ("free", 9223372036854775807)]


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e9", "5G", "", " 5", "9223372036854775808", "\u0663"])
def test_amounts_that_cannot_be(sallyport: Any, state_dir: Path, text: str) -> None:
    code, out, err = sallyport("create", f"--bytes={text}")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "from 1 to 9223372036854775807" in err
    assert not state_dir.exists()


def test_an_unknown_id(sallyport: Any) -> None:
    sallyport("create")
    for name in ("tk_none", "", "a\nb"):
        code, out, err = sallyport("revoke", name)
        assert (code, out) == (1, "")
        assert err.startswith("sallyport: there is no token")
        assert len(err.splitlines()) == 1


def test_nothing_to_list_makes_nothing(sallyport: Any, state_dir: Path) -> None:
    code, out, err = sallyport("list")
    assert (code, out) == (5, "")
    assert len(err.splitlines()) == 1
    assert not state_dir.exists()
