"""The command line: one file per command, one line on stderr for whatever goes wrong.

`main` is what `sallyport` and `python -m appliance` run. Every failure that a person can do something about
is a `UserError` and becomes `sallyport: LINE` and its exit code; nothing is on stdout then. Each command
imports only what it needs when it runs, so that the small ones start at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from appliance.cli.parser import build_parser
from appliance.errors import UserError
from appliance.log import one_line

_FAILED = 1
_INTERRUPTED = 130  # as shells count it: 128 + SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except UserError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        # Whoever read our output may have had enough: no reason for words.
        if not isinstance(error, BrokenPipeError):
            _say(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error))
        _drop_output()
        return _FAILED
    except Exception as error:
        if os.environ.get("SALLYPORT_TRACEBACK"):
            raise
        _say(f"unexpected {type(error).__name__}: {error} (SALLYPORT_TRACEBACK=1 shows where)")
        return _FAILED


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = build_parser().parse_args(arguments)
    except SystemExit:  # --help and --version, printed
        return 0
    code: int = options.run(options)
    return code


def _say(line: str) -> None:
    """Exactly one line, whatever the message quotes."""
    if sys.stderr is not None:
        print(f"sallyport: {one_line(line)}", file=sys.stderr)


def _drop_output() -> None:
    """What could not be written must not be tried, and told, once more when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
