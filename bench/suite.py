"""`bench all`: every bench that there is, with its defaults, as one report.

Each row carries the name of its bench. A bench that cannot be measured does not stop the others: it leaves
one row that says why and that fails.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

from bench.process import LabError
from bench.registry import Bench, Say
from bench.rows import Row


def defaults(bench: Bench, options: argparse.Namespace) -> argparse.Namespace:
    """The options of a bench when all run: its own defaults, and what all share as it was given."""
    own = argparse.ArgumentParser()
    bench.add_options(own)
    return argparse.Namespace(**{**vars(own.parse_args([])), **vars(options)})


def measure(benches: Sequence[Bench], options: argparse.Namespace, say: Say) -> list[Row]:
    rows: list[Row] = []
    begin = time.monotonic()
    for number, bench in enumerate(benches, 1):
        place = f"{number}/{len(benches)} {bench.name}"
        say(f"{place} ({(time.monotonic() - begin) / 60:.1f} min so far)")

        def say_where(line: str, place: str = place) -> None:
            say(f"{place}: {line}")

        try:
            found = bench.run(defaults(bench, options), say_where)
        except LabError as error:
            words = " ".join(str(error).split())  # a row's name is one line
            say_where(words)
            found = [Row(f"not measured: {words}", "", "higher", (), failed=True)]
        rows += [replace(row, bench=bench.name) for row in found]
    say(f"done in {(time.monotonic() - begin) / 60:.1f} min")
    return rows


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--page", action="store_true", help="make docs/performance.md of this checkout anew from the run"
    )


def of(benches: Sequence[Bench]) -> Bench:
    """The bench that runs all these."""
    return Bench(
        name="all",
        help="every bench with its defaults, one report",
        run=lambda options, say: measure(benches, options, say),
        add_options=_add_options,
        needs_root=any(bench.needs_root for bench in benches),
        programs=tuple(sorted({program for bench in benches for program in bench.programs})),
        compares=True,
    )
