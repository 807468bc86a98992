"""The tree of commands, and a parser that tells errors in one line instead of a page.

Each command module adds its parser with `add` and sets `run`, a function from the parsed options to the
exit code. Module level imports of commands are light; what is heavy, `run` imports.
"""

from __future__ import annotations

import argparse
from typing import Final, NoReturn

from appliance import __version__
from appliance.errors import UsageError

_DESCRIPTION: Final = "A userspace WireGuard exit with a session API."
_EPILOG: Final = """\
examples:
  sallyport up                            bring up an exit, in the foreground
  sallyport token create --json           a token for the session API
  sallyport sessions list                 who is connected
  sallyport status                        how the running exit is

exit codes: 0 done, 1 failed, 2 usage or configuration, 3 missing privilege or device,
4 something is in use, 5 state unusable
"""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser without abbreviations, whose errors are `UsageError`s."""

    def __init__(self, **settings: object) -> None:
        super().__init__(
            **{  # type: ignore[arg-type]  # argparse's own keywords, handed through by add_parser
                "allow_abbrev": False,
                "formatter_class": argparse.RawDescriptionHelpFormatter,
                **settings,
            }
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


Commands = argparse._SubParsersAction


def build_parser() -> Parser:
    """The parser of the whole command line."""
    from appliance.cli import (
        backup,
        config,
        drain,
        genkey,
        key,
        peers,
        restore,
        sessions,
        status,
        token,
        up,
        version,
    )

    parser = Parser(prog="sallyport", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"sallyport {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (up, status, sessions, peers, drain, token, config, key, backup, restore, genkey, version):
        command.add(commands)
    return parser
