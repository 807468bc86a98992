"""`sallyport config check|show|defaults`: is this file good, what would `up` use, what can be set."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from appliance import __version__
from appliance.cli.asking import show_json, show_table
from appliance.cli.parser import Commands, Parser
from appliance.cli.settings import add_settings, given
from appliance.config import KEYS, HostPort, Key, judge_file, read_file, resolve
from appliance.errors import UsageError
from appliance.log import one_line

_EPILOG: Final = """\
examples:
  sallyport config defaults > sallyport.toml
  sallyport config check sallyport.toml
  sallyport config show --config sallyport.toml

They need neither root nor a running exit.
"""
_HEAD: Final = f"""\
# Settings of `sallyport up --config FILE`, as sallyport {__version__} knows them.
# All are at their defaults: remove the # before a key and write your value.
"""


def add(commands: Commands[Parser]) -> None:
    parser = commands.add_parser(
        "config", help="check and explain settings", description="Check and explain settings.", epilog=_EPILOG
    )
    verbs = parser.add_subparsers(metavar="check|show|defaults", required=True)
    check = verbs.add_parser(
        "check",
        help="is this file good?",
        description="Check a configuration file: one line per problem, and exit code 2 when there is one.",
        epilog="example:\n  sallyport config check sallyport.toml",
    )
    check.add_argument("file", metavar="FILE", help="a TOML file for `up --config`")
    check.set_defaults(run=run_check)
    show = verbs.add_parser(
        "show",
        help="what up would use, and where each value is from",
        description="Show the value of every setting that `up` with these options would use, and its source.",
        epilog="example:\n  sallyport config show --config sallyport.toml --region fsn",
    )
    add_settings(show)
    show.set_defaults(run=run_show)
    defaults = verbs.add_parser(
        "defaults",
        help="a file with every setting, to begin with",
        description="Print a configuration file with every setting explained, at its default, commented out.",
        epilog="example:\n  sallyport config defaults > sallyport.toml",
    )
    defaults.set_defaults(run=run_defaults)
    for verb in (check, show, defaults):
        verb.add_argument("--json", action="store_true", help="print JSON")


def run_check(options: argparse.Namespace) -> int:
    problems = _problems(Path(options.file))
    if options.json:
        show_json({"file": options.file, "problems": problems})
    else:
        for problem in problems:
            print(f"sallyport: {one_line(problem)}", file=sys.stderr)
        if not problems:
            print(f"{options.file} is good")
    return UsageError.exit_code if problems else 0


def run_show(options: argparse.Namespace) -> int:
    words, file = given(options)
    config = resolve(words, file)
    in_file = read_file(file) if file is not None else {}
    rows = []
    for key in KEYS:
        source = "option" if key.name in words else "file" if key.name in in_file else "default"
        rows.append((key, getattr(config, key.name), source))
    if options.json:
        show_json({key.name: {"value": _plain(value), "source": source} for key, value, source in rows})
        return 0
    show_table(
        [("KEY", "VALUE", "SOURCE"), *((key.name, _words(key, value), source) for key, value, source in rows)]
    )
    return 0


def run_defaults(options: argparse.Namespace) -> int:
    if options.json:
        show_json({key.name: _plain(key.default) for key in KEYS})
        return 0
    print(_HEAD)
    for key in KEYS:
        if key.default is None:
            print(f'# {key.doc}\n# ({key.form}; default: {key.default_words})\n#{key.name} = "{key.form}"\n')
        else:
            print(f"# {key.doc}\n# ({key.form})\n#{key.name} = {_toml(_plain(key.default))}\n")
    return 0


def _problems(file: Path) -> list[str]:
    """Everything that keeps `up` from using the file; keys that are good alone may not go together."""
    try:
        _, problems = judge_file(file)
        if not problems:
            resolve({}, file)
    except UsageError as problem:
        return [str(problem)]
    return problems


def _words(key: Key, value: object) -> str:
    plain = _plain(value)
    if plain is None or plain == []:
        return f"({key.default_words})"
    return one_line(", ".join(plain) if isinstance(plain, list) else str(plain))


def _plain(value: object) -> str | int | list[str] | None:
    """A value as a file would have it."""
    if value is None or isinstance(value, int | str):
        return value
    if isinstance(value, tuple) and not isinstance(value, HostPort):
        return [str(item) for item in value]
    return str(value)


def _toml(value: object) -> str:
    """A default as TOML writes it; of numbers, plain strings and lists of them JSON and TOML agree."""
    return json.dumps(value)
