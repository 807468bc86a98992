"""What a bench is to the command line: a name, what it needs, and a function that gives rows.

Every bench module has one `BENCH = Bench(...)`, and cli.py holds the tuple of all of them, so that a new
bench is an import and an entry there. cli.py adds the options that all share (`--runs --json --check`, and
`--peer --ours` where programs are compared) and sees to root and missing programs before `run` is called.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from bench.process import LabError
from bench.rows import Row

Say = Callable[[str], None]  # one line of progress


def no_options(parser: argparse.ArgumentParser) -> None:
    """For a bench that has none of its own."""


@dataclass(frozen=True)
class Bench:
    """One sub-command. `run` raises LabError when it cannot be measured."""

    name: str
    help: str
    run: Callable[[argparse.Namespace, Say], list[Row]]
    add_options: Callable[[argparse.ArgumentParser], None] = no_options  # its own, all with defaults
    needs_root: bool = True
    programs: tuple[str, ...] = ()  # looked for before anything is built
    compares: bool = False  # takes --peer and --ours: in the options they are the programs' paths
    sides: tuple[str, str] = ("sallyport", "-")  # what ours and peer are where no programs are compared

    def look_for_programs(self) -> None:
        """LabError that names those which are not on PATH."""
        missing = [program for program in self.programs if shutil.which(program) is None]
        if missing:
            raise LabError(f"missing programs: {' '.join(missing)}")


def whole_number(low: int) -> Callable[[str], int]:
    """For `type=`: a whole number from `low` up."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"needs a whole number from {low} up, not {text!r}")
        return value

    return parse
