"""The settings of an exit as options: what `up` is started with, and what `config show` explains."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from appliance.cli.parser import Parser
from appliance.config import KEYS


def add_settings(parser: Parser) -> None:
    """`--config`, and an option for every key that may be one."""
    parser.add_argument("--config", metavar="FILE", help="a TOML file with any of these settings")
    for key in KEYS:
        if key.option:
            parser.add_argument(
                f"--{key.name.replace('_', '-')}",
                metavar=key.form.upper(),
                help=f"{key.doc} (default: {key.default_words})",
            )


def given(options: argparse.Namespace) -> tuple[dict[str, object], Path | None]:
    """What the command line says, by key, and the configuration file: the arguments of `config.resolve`."""
    words: dict[str, object] = {}
    for key in KEYS:
        text = getattr(options, key.name) if key.option else None
        if text is not None:
            words[key.name] = _number(text) if isinstance(key.default, int) else text
    return words, None if options.config is None else Path(options.config)


def _number(text: str) -> str | int:
    """A file's numbers are numbers already; on the command line everything is text."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) else text
