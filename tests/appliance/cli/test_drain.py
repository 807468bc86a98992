"""`drain` with no process running; test_operator.py has it over the socket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.cli import main


def test_on_off_and_neither(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--state-dir", str(state_dir)]
    main(["token", "create", *where])
    capsys.readouterr()
    for words, line in (
        ([], "not draining; 0 sessions live\n"),
        (["on"], "draining: no new sessions; 0 sessions live\n"),
        ([], "draining: no new sessions; 0 sessions live\n"),
        (["off"], "not draining; 0 sessions live\n"),
    ):
        assert main(["drain", *words, *where]) == 0
        assert capsys.readouterr() == (line, "")
    assert main(["drain", "on", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out) == {"draining": True, "sessions": 0}


def test_other_words(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drain", "maybe"]) == 2
    assert main(["drain", "on", "--state-dir", str(state_dir)]) == 5
    assert capsys.readouterr().out == ""
    assert not state_dir.exists()
