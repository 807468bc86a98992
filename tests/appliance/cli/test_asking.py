"""Whom the command line asks: the running process first, the state itself only when none runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from appliance import offline, operator
from appliance.cli import asking
from appliance.cli.asking import age, ask, ask_running, show_table
from appliance.errors import StateError, UserError

OPTIONS = argparse.Namespace(state_dir="/srv/x")


class _Called:
    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *arguments: Any, **named: Any) -> object:
        self.calls.append((*arguments, named))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch, state_dir: Path) -> tuple[_Called, _Called]:
    running, stopped = _Called("from the process"), _Called("from the state")
    monkeypatch.setattr(operator, "call", running)
    monkeypatch.setattr(offline, "call", stopped)
    return running, stopped


def test_a_running_process_is_asked_alone(doors: tuple[_Called, _Called]) -> None:
    assert ask(OPTIONS, "token_revoke", id="x") == "from the process"
    assert doors[0].calls == [(Path("/srv/x"), "token_revoke", {"id": "x"}, {})]
    assert doors[1].calls == []


def test_what_it_refuses_is_final(doors: tuple[_Called, _Called]) -> None:
    doors[0].answer = UserError("there is no token x")
    with pytest.raises(UserError, match="there is no token x"):
        ask(OPTIONS, "token_revoke", id="x")
    assert doors[1].calls == []


def test_without_one_the_state_is_opened(doors: tuple[_Called, _Called]) -> None:
    doors[0].answer = operator.NotRunning("none")
    assert ask(OPTIONS, "token_create", create=True) == "from the state"
    assert doors[1].calls == [(Path("/srv/x"), "token_create", {}, {"create": True})]


def test_a_relative_directory_is_the_same_to_both(
    doors: tuple[_Called, _Called], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    ask(argparse.Namespace(state_dir="x/../y"), "token_list")
    assert doors[0].calls[0][0] == tmp_path / "y"


def test_asking_makes_no_state(state_dir: Path) -> None:
    with pytest.raises(StateError):
        ask(argparse.Namespace(state_dir=str(state_dir)), "token_list")
    assert not state_dir.exists()


def test_tables_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    show_table([("ID", "B"), ("longer", "x"), ("c", "")])
    assert capsys.readouterr().out == "ID      B\nlonger  x\nc\n"


def test_a_process_that_must_run_is_asked_alone(doors: tuple[_Called, _Called]) -> None:
    assert ask_running(OPTIONS, "status") == "from the process"
    doors[0].answer = operator.NotRunning("none")
    with pytest.raises(operator.NotRunning):
        ask_running(OPTIONS, "status")
    assert doors[1].calls == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *[(0, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min")],
        *[(86_399, "23 h 59 min"), (86_400, "1 d 0 h"), (30 * 86_400 + 7200, "30 d 2 h")],
    ],
)
def test_ages(seconds: int, words: str) -> None:
    assert age(seconds) == words


def test_json_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    asking.show_json([{"a": None}])
    assert capsys.readouterr().out == '[\n  {\n    "a": null\n  }\n]\n'
