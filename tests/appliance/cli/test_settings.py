"""The settings as options: every key that may be one, and what was said by key."""

from __future__ import annotations

from pathlib import Path

from appliance.cli.parser import Parser
from appliance.cli.settings import add_settings, given
from appliance.config import KEYS


def parsed(*words: str) -> tuple[dict[str, object], Path | None]:
    parser = Parser(prog="x")
    add_settings(parser)
    return given(parser.parse_args(words))


def test_nothing_said() -> None:
    assert parsed() == ({}, None)


def test_what_was_said_and_nothing_else() -> None:
    words = parsed("--region", "007", "--listen-port", "007", "--config", "x.toml")
    assert words == ({"region": "007", "listen_port": 7}, Path("x.toml"))
    assert parsed("--listen-port", "no number") == ({"listen_port": "no number"}, None)


def test_every_key_that_may_be_an_option() -> None:
    for key in KEYS:
        if key.option:
            said, _ = parsed(f"--{key.name.replace('_', '-')}", "x")
            assert said == {key.name: "x"}
