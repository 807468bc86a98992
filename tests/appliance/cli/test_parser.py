"""The parser: errors are exceptions of one line, options are not abbreviated."""

from __future__ import annotations

import pytest

from appliance.cli.parser import Parser, build_parser
from appliance.errors import UsageError


def test_every_command_can_be_parsed_and_knows_what_to_run() -> None:
    for words in (
        *("up", "genkey", "version", "token create", "token list", "token revoke x"),
        *("sessions list", "sessions end x"),
    ):
        assert callable(build_parser().parse_args(words.split()).run)


@pytest.mark.parametrize("words", ["", "x", "up x", "up --lis 5", "token", "version --verb"])
def test_errors_are_usage_errors_that_name_the_help(words: str) -> None:
    with pytest.raises(UsageError, match=r"\(see sallyport( \w+)? --help\)$"):
        build_parser().parse_args(words.split())


def test_sub_parsers_are_of_the_same_kind() -> None:
    parser = Parser(prog="p")
    assert type(parser.add_subparsers().add_parser("x")) is Parser
