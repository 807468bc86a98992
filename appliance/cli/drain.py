"""`sallyport drain [on|off]`: no new session begins, the old ones live on; and how many are left."""

from __future__ import annotations

import argparse
from typing import Final

from appliance.cli.asking import add_options, ask, show_json
from appliance.cli.parser import Commands, Parser

_DESCRIPTION: Final = """\
With `on`, no new session begins: creating one is answered 503 `no active nodes` and no region is listed, so
that clients go elsewhere. Sessions that live go on until they end by themselves. It lasts, also over
restarts, until `off`. Without a word: tell whether the exit drains and how many sessions live.
"""
_EPILOG: Final = """\
examples:
  sallyport drain on
  sallyport drain
  sallyport drain off

It works whether `up` runs or not.
"""


def add(commands: Commands[Parser]) -> None:
    parser = commands.add_parser(
        "drain", help="no new sessions, old ones live", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument("word", metavar="on|off", nargs="?", choices=("on", "off"), help="begin, or end")
    add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    words = {} if options.word is None else {"on": options.word == "on"}
    answer = ask(options, "drain", **words)
    if options.json:
        show_json(answer)
    else:
        left = answer["sessions"]
        how = "draining: no new sessions" if answer["draining"] else "not draining"
        print(f"{how}; {left} {'session lives' if left == 1 else 'sessions live'}")
    return 0
