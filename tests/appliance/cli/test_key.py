"""`key rotate` with no process running, and its words; test_operator.py has it over the socket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance import operator
from appliance.cli import main
from appliance.cli.key import key_rows
from appliance.keys import Keyring, to_text


def test_without_a_running_exit(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--state-dir", str(state_dir)]
    assert main(["key", "rotate", *where]) == 5  # a question makes no state
    assert not state_dir.exists()
    main(["token", "create", *where])
    capsys.readouterr()
    assert main(["key", "rotate", *where]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "no key to rotate yet" in err
    before = Keyring.open(state_dir).public_key
    assert main(["key", "rotate", *where]) == 0
    (after,) = Keyring.open(state_dir).public_keys  # nobody needed the old one
    assert after != before
    assert capsys.readouterr() == (f"public key  {to_text(after)}\n", "")
    assert main(["key", "rotate", "--json", *where]) == 0
    (last,) = Keyring.open(state_dir).public_keys
    assert json.loads(capsys.readouterr().out) == {"public_key": to_text(last), "old_key": None}


def test_the_old_key_and_who_uses_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = {"public_key": "O=", "sessions": 3, "static_peers": 0, "until": "2026-05-28T14:02:14Z"}
    monkeypatch.setattr(operator, "call", lambda *_: {"public_key": "K=", "old_key": old})
    assert main(["key", "rotate"]) == 0
    assert capsys.readouterr().out == (
        "public key  K=\nold key     O=, used by 3 sessions, the last until 2026-05-28T14:02:14Z\n"
    )
    for change, words in (
        (
            {"static_peers": 1},
            "O=, used by 3 sessions, the last until 2026-05-28T14:02:14Z and 1 static peers",
        ),
        ({"sessions": 0, "until": None, "static_peers": 2}, "O=, used by 2 static peers"),
        ({"sessions": 0, "until": None}, "O=, used by nobody any more"),
    ):
        assert key_rows({"public_key": "K=", "old_key": old | change})[1] == ("old key", words)


def test_words_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key"]) == 2
    assert main(["key", "turn"]) == 2
    assert capsys.readouterr().out == ""
