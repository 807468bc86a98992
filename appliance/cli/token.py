"""`sallyport token create|list|revoke`: bearer tokens of the session API."""

from __future__ import annotations

import argparse
import re
from typing import Final

from appliance.cli.asking import add_options, ask, show_json, show_table
from appliance.cli.parser import Commands, Parser
from appliance.core.accounting import MOST_PREPAID_BYTES

_EPILOG: Final = """\
examples:
  sallyport token create
  sallyport token create --bytes 5368709120
  sallyport token list --json
  sallyport token revoke tk_3kf91a

They work whether `up` runs or not. A token is shown once, when it is made; only its hash is kept.
"""


def add(commands: Commands[Parser]) -> None:
    parser = commands.add_parser(
        "token", help="tokens of the session API", description="Tokens of the session API.", epilog=_EPILOG
    )
    verbs = parser.add_subparsers(metavar="create|list|revoke", required=True)
    create = verbs.add_parser(
        "create",
        help="make a token and show it",
        description="Make a token, an account of its own, and show it this once.",
        epilog="examples:\n  sallyport token create --json\n  sallyport token create --bytes 5368709120",
    )
    create.add_argument(
        "--bytes",
        metavar="N",
        type=_prepaid_bytes,
        help="a prepaid token: its sessions may carry N bytes together, and never more (default: no limit)",
    )
    create.set_defaults(run=run_create)
    listing = verbs.add_parser(
        "list",
        help="all tokens, without their secrets",
        description="All tokens, without their secrets.",
        epilog="example:\n  sallyport token list",
    )
    listing.set_defaults(run=run_list)
    revoke = verbs.add_parser(
        "revoke",
        help="make a token useless and end its sessions",
        description="Make a token useless from now on and end its sessions.",
        epilog="example:\n  sallyport token revoke tk_3kf91a",
    )
    revoke.add_argument("id", metavar="ID", help="the id as `token list` shows it")
    revoke.set_defaults(run=run_revoke)
    for verb in (create, listing, revoke):
        add_options(verb)


def run_create(options: argparse.Namespace) -> int:
    prepaid = {} if options.bytes is None else {"bytes": options.bytes}
    answer = ask(options, "token_create", create=True, **prepaid)
    if options.json:
        show_json(answer)
    else:
        show_table([("id", answer["id"]), ("token", answer["token"])])
    return 0


def _prepaid_bytes(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text) or not 1 <= int(text) <= MOST_PREPAID_BYTES:
        message = f"must be a whole number from 1 to {MOST_PREPAID_BYTES}, not {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def run_list(options: argparse.Namespace) -> int:
    answer = ask(options, "token_list")
    if options.json:
        show_json(answer)
    else:
        rows = [(token["id"], token["created_at"], "yes" if token["revoked"] else "no") for token in answer]
        show_table([("ID", "CREATED", "REVOKED"), *rows])
    return 0


def run_revoke(options: argparse.Namespace) -> int:
    answer = ask(options, "token_revoke", id=options.id)
    if options.json:
        show_json(answer)
    else:
        print(f"token {answer['id']} is revoked")
    return 0
