"""`sallyport sessions list|end`: the live sessions, as their operator sees them."""

from __future__ import annotations

import argparse
from typing import Final

from appliance.cli.asking import add_options, ask, show_json, show_table
from appliance.cli.parser import Commands, Parser

_EPILOG: Final = """\
examples:
  sallyport sessions list
  sallyport sessions list --json
  sallyport sessions end tb_a3kf91

They work whether `up` runs or not. Bytes "in" are toward the client.
"""
_HEADING: Final = ("ID", "ADDRESS", "CREATED", "LAST HANDSHAKE", "BYTES IN", "BYTES OUT", "PUBLIC KEY")


def add(commands: Commands[Parser]) -> None:
    parser = commands.add_parser(
        "sessions", help="live sessions", description="Live sessions.", epilog=_EPILOG
    )
    verbs = parser.add_subparsers(metavar="list|end", required=True)
    listing = verbs.add_parser(
        "list",
        help="all live sessions",
        description="All live sessions.",
        epilog="example:\n  sallyport sessions list",
    )
    listing.set_defaults(run=run_list)
    end = verbs.add_parser(
        "end",
        help="end a session at once",
        description="End a session: its traffic stops at once and its owner reads the reason `admin`.",
        epilog="example:\n  sallyport sessions end tb_a3kf91",
    )
    end.add_argument("id", metavar="ID", help="the id as `sessions list` shows it")
    end.set_defaults(run=run_end)
    for verb in (listing, end):
        add_options(verb)


def run_list(options: argparse.Namespace) -> int:
    answer = ask(options, "sessions_list")
    if options.json:
        show_json(answer)
        return 0
    rows = [
        (
            session["id"],
            session["address"],
            session["created_at"],
            session["last_handshake"] or "never",
            str(session["bytes_in"]),
            str(session["bytes_out"]),
            session["public_key"],
        )
        for session in answer
    ]
    show_table([_HEADING, *rows])
    return 0


def run_end(options: argparse.Namespace) -> int:
    answer = ask(options, "sessions_end", id=options.id)
    if options.json:
        show_json(answer)
    else:
        reason, received, sent = answer["terminated_reason"], answer["bytes_in"], answer["bytes_out"]
        print(f"session {answer['id']} is ended ({reason}): {received} bytes in, {sent} bytes out")
    return 0
