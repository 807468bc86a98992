"""`sallyport up`: options over the configuration file over defaults, then the exit itself.

Everything that can be said about the words alone is said here, before anything heavy is imported. A Ctrl-C or
SIGTERM that comes before the exit listens for them ends it like one that comes later: code 0.
"""

from __future__ import annotations

import argparse
import os
import signal
from types import FrameType
from typing import Final

from appliance.cli.parser import Commands, Parser
from appliance.cli.settings import add_settings, given
from appliance.config import resolve

_DESCRIPTION: Final = """\
Bring up an exit and serve it in the foreground until Ctrl-C or SIGTERM. Needs root.
When clients can come it prints one line on stdout: sallyport ready interface=... endpoint=...
public_key=... api=...
"""
_EPILOG: Final = """\
examples:
  sallyport up
  sallyport up --public-ip 203.0.113.7 --region fsn
  sallyport up --config /etc/sallyport.toml --api '[::1]:8080'

The configuration file is TOML; its keys are the options with _ for -, and dns and log_level.
An option wins over the file.
"""


def add(commands: Commands[Parser]) -> None:
    parser = commands.add_parser(
        "up", help="bring up an exit, in the foreground", description=_DESCRIPTION, epilog=_EPILOG
    )
    add_settings(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    config = resolve(*given(options))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    from appliance.main import up

    return up(config)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """Until the exit hears signals itself there is nothing to put back, so an end in the middle of an import
    is as good as any. (An exception is not: what `python -m` runs would end as if killed.)"""
    os._exit(0)
