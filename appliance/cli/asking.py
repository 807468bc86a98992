"""What commands that ask about an exit share: where the state is, whom to ask, and how to show the answer.

The command line never writes behind a running process: it asks it through the operator socket, and only
when none runs it opens the state itself, under the same lock that `up` takes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from appliance.cli.parser import Parser
from appliance.config import DEFAULT_STATE_DIR, resolve


def add_options(parser: Parser) -> None:
    """`--state-dir` and `--json`."""
    parser.add_argument(
        "--state-dir",
        metavar="PATH",
        default=DEFAULT_STATE_DIR,
        help=f"the state directory that up was given (default: {DEFAULT_STATE_DIR})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def ask(options: argparse.Namespace, verb: str, *, create: bool = False, **arguments: object) -> Any:
    """The answer to an operator's verb. With `create` a state that is not there yet is made."""
    state_dir = resolve({"state_dir": options.state_dir}, None).state_dir
    from appliance import operator

    try:
        return operator.call(state_dir, verb, arguments)
    except operator.NotRunning:
        pass
    from appliance import log, offline

    log.setup("error")
    return offline.call(state_dir, verb, arguments, create=create)


def ask_running(options: argparse.Namespace, verb: str, **arguments: object) -> Any:
    """The answer of the running process alone: what is asked about does not exist without one."""
    from appliance import operator

    return operator.call(resolve({"state_dir": options.state_dir}, None).state_dir, verb, arguments)


def age(seconds: int) -> str:
    """A span as people say it: 45 s, 3 min 20 s, 5 h 7 min, 12 d 4 h."""
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    if seconds < 86_400:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3600} h"


def show_json(answer: object) -> None:
    print(json.dumps(answer, indent=2))


def show_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
