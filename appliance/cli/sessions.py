"""`sallyport sessions list|show|end`: sessions, as their operator sees them."""

from __future__ import annotations

import argparse
from typing import Final

from appliance.cli.asking import add_options, ask, show_json, show_table
from appliance.cli.parser import Commands, Parser

_EPILOG: Final = """\
examples:
  sallyport sessions list
  sallyport sessions list --json
  sallyport sessions show tb_a3kf91
  sallyport sessions end tb_a3kf91

They work whether `up` runs or not. Bytes "in" are toward the client.
"""
_HEADING: Final = ("ID", "ADDRESS", "CREATED", "LAST HANDSHAKE", "BYTES IN", "BYTES OUT", "PUBLIC KEY")


def add(commands: Commands[Parser]) -> None:
    parser = commands.add_parser("sessions", help="who is connected", description="Sessions.", epilog=_EPILOG)
    verbs = parser.add_subparsers(metavar="list|show|end", required=True)
    listing = verbs.add_parser(
        "list",
        help="all live sessions",
        description="All live sessions.",
        epilog="example:\n  sallyport sessions list",
    )
    listing.set_defaults(run=run_list)
    show = verbs.add_parser(
        "show",
        help="one session, live or ended",
        description="One session, live or ended, with its counters and what its account has used.",
        epilog="example:\n  sallyport sessions show tb_a3kf91",
    )
    show.add_argument("id", metavar="ID", help="the id as `sessions list` shows it")
    show.set_defaults(run=run_show)
    end = verbs.add_parser(
        "end",
        help="end a session at once",
        description="End a session: its traffic stops at once and its owner reads the reason `admin`.",
        epilog="example:\n  sallyport sessions end tb_a3kf91",
    )
    end.add_argument("id", metavar="ID", help="the id as `sessions list` shows it")
    end.set_defaults(run=run_end)
    for verb in (listing, show, end):
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


def run_show(options: argparse.Namespace) -> int:
    answer = ask(options, "sessions_show", id=options.id)
    if options.json:
        show_json(answer)
        return 0
    live = answer["terminated_at"] is None
    rows = [
        ("id", answer["id"]),
        ("state", "live" if live else f"ended {answer['terminated_at']} ({answer['terminated_reason']})"),
        ("created", answer["created_at"]),
        ("tier", answer["tier"]),
        ("bytes in", str(answer["bytes_in"])),
        ("bytes out", str(answer["bytes_out"])),
        ("account's bytes", _of(answer["quota_bytes_used"], answer["quota_bytes_limit"])),
        ("account's seconds", _of(answer["quota_seconds_used"], answer["quota_seconds_limit"])),
    ]
    if live:
        rows += [
            ("address", answer["address"]),
            ("public key", answer["public_key"]),
            ("last handshake", answer["last_handshake"] or "never"),
        ]
    show_table(rows)
    return 0


def _of(used: int, limit: int) -> str:
    return f"{used} of {limit}" if limit else f"{used} (no limit)"


def run_end(options: argparse.Namespace) -> int:
    answer = ask(options, "sessions_end", id=options.id)
    if options.json:
        show_json(answer)
    else:
        reason, received, sent = answer["terminated_reason"], answer["bytes_in"], answer["bytes_out"]
        print(f"session {answer['id']} is ended ({reason}): {received} bytes in, {sent} bytes out")
    return 0
