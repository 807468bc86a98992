"""`sallyport peers`: every peer of the interface, as `wg show` has them, with the session it belongs to."""

from __future__ import annotations

import argparse
from typing import Final

from appliance.cli.asking import add_options, age, ask_running, show_json, show_table
from appliance.cli.parser import Commands, Parser

_DESCRIPTION: Final = """\
All peers of the running exit's interface: those of sessions, and static ones that were added with wg.
Where clients come from is not shown; ENDPOINT says whether the exit knows.
"""
_HEADING: Final = ("PUBLIC KEY", "SESSION", "ENDPOINT", "LAST HANDSHAKE", "RECEIVED", "SENT")


def add(commands: Commands[Parser]) -> None:
    parser = commands.add_parser(
        "peers",
        help="the peers of the interface",
        description=_DESCRIPTION,
        epilog="examples:\n  sallyport peers\n  sallyport peers --json",
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    answer = ask_running(options, "peers")
    if options.json:
        show_json(answer)
        return 0
    rows = [
        (
            peer["public_key"],
            peer["session"] or "static",
            "yes" if peer["has_endpoint"] else "no",
            "never" if peer["last_handshake"] is None else f"{age(peer['handshake_age_seconds'])} ago",
            str(peer["received_bytes"]),
            str(peer["sent_bytes"]),
        )
        for peer in answer
    ]
    show_table([_HEADING, *rows])
    return 0
