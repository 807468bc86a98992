"""`sallyport key rotate`: a new static key for the exit; sessions that know the old one live on."""

from __future__ import annotations

import argparse
from typing import Any, Final

from appliance.cli.asking import add_options, ask, show_json, show_table
from appliance.cli.parser import Commands, Parser

_ROTATE: Final = """\
Make a new WireGuard key for the exit. From now on new sessions get it, and `wg show` shows it. Sessions that
live know the old one and keep it until they end; when the last of them has ended, the old key is erased.
Peers that were added with `wg` keep it, too, until they are removed, use the new key, or the exit
is started again. While an old key is in use there can be no second rotation.
"""
_EPILOG: Final = """\
example:
  sallyport key rotate

It works whether `up` runs or not.
"""


def add(commands: Commands[Parser]) -> None:
    parser = commands.add_parser(
        "key", help="the exit's own key", description="The exit's own WireGuard key.", epilog=_EPILOG
    )
    verbs = parser.add_subparsers(metavar="rotate", required=True)
    rotate = verbs.add_parser(
        "rotate", help="a new key; old sessions keep theirs", description=_ROTATE, epilog=_EPILOG
    )
    add_options(rotate)
    rotate.set_defaults(run=run_rotate)


def run_rotate(options: argparse.Namespace) -> int:
    answer = ask(options, "key_rotate")
    if options.json:
        show_json(answer)
    else:
        show_table(key_rows(answer))
    return 0


def key_rows(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """The exit's key and, while somebody needs it, the one before."""
    rows, old = [("public key", answer["public_key"])], answer["old_key"]
    if old is not None:
        users = [f"{old['sessions']} sessions, the last until {old['until']}"] if old["sessions"] else []
        users += [f"{old['static_peers']} static peers"] if old["static_peers"] else []
        rows.append(("old key", f"{old['public_key']}, used by {' and '.join(users) or 'nobody any more'}"))
    return rows
