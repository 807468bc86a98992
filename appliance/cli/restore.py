"""`sallyport restore FILE`: put a backup in the place of the state, while no exit runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from appliance.cli.asking import add_options, show_json
from appliance.cli.parser import Commands, Parser
from appliance.config import resolve

_DESCRIPTION: Final = """\
Put a backup in the place of what is in the state directory. No exit may run on it. The file is checked from
end to end before anything is touched; what was there before is kept in a directory before-restore-... in it.
"""


def add(commands: Commands[Parser]) -> None:
    parser = commands.add_parser(
        "restore",
        help="put a backup in the place of the state",
        description=_DESCRIPTION,
        epilog="example:\n  sallyport restore /root/exit.backup",
    )
    parser.add_argument("file", metavar="FILE", help="what `sallyport backup` wrote")
    add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    state_dir = resolve({"state_dir": options.state_dir}, None).state_dir
    from appliance.store.restore import restore

    restored = restore(Path(options.file), state_dir)
    if options.json:
        kept = None if restored.kept is None else str(restored.kept)
        live = restored.live_sessions
        show_json({"made_at": restored.made_at, "live_sessions": live, "kept": kept})
        return 0
    before = "" if restored.kept is None else f"; what was there before is in {restored.kept}"
    print(f"restored the state of {restored.made_at} with {restored.live_sessions} live sessions{before}")
    return 0
