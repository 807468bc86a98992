"""`bench all`: every bench that there is, with its defaults, as one report.

Each row carries the name of its bench. A bench that fails, in whatever way, does not stop the others: it
leaves one row that says why and that fails. Who interrupts keeps what is finished; the rest fails. So `all`
looks at the start only for programs that several benches need; one that a single bench needs is told at
the start, too, but costs no more than that bench's rows.
"""

from __future__ import annotations

import argparse
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from bench.process import LabError
from bench.registry import Bench, Say
from bench.rows import Row
from bench.tunnel import TOPOLOGIES


def defaults(bench: Bench, options: argparse.Namespace) -> argparse.Namespace:
    """The options of a bench when all run: its own defaults, and what all share as it was given."""
    own = argparse.ArgumentParser()
    bench.add_options(own)
    return argparse.Namespace(**{**vars(own.parse_args([])), **vars(options)})


def measure(benches: Sequence[Bench], options: argparse.Namespace, say: Say) -> list[Row]:
    rows: list[Row] = []
    begin = time.monotonic()
    for bench in benches:
        try:
            bench.look_for_programs()
        except LabError as error:
            say(f"{bench.name} cannot be measured: {error}")
    for number, bench in enumerate(benches, 1):
        place = f"{number}/{len(benches)} {bench.name}"
        say(f"{place} ({(time.monotonic() - begin) / 60:.1f} min so far)")

        def say_where(line: str, place: str = place) -> None:
            say(f"{place}: {line}")

        try:
            bench.look_for_programs()
            found = bench.run(defaults(bench, options), say_where)
        except LabError as error:
            found = [_not_measured(str(error), say_where)]
        except KeyboardInterrupt:
            return rows + [
                replace(_not_measured("interrupted", say), bench=left.name) for left in benches[number - 1 :]
            ]
        except Exception as error:  # a mistake in one bench must not cost half an hour of the others
            for line in traceback.format_exc().splitlines():
                say_where(line)
            found = [_not_measured(f"{type(error).__name__}: {error}", say_where)]
        rows += [replace(row, bench=bench.name) for row in found]
    say(f"done in {(time.monotonic() - begin) / 60:.1f} min")
    return rows


def _not_measured(why: str, say: Say) -> Row:
    words = " ".join(why.split())  # a row's name is one line
    say(words)
    return Row(f"not measured: {words}", "", "higher", (), failed=True)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--page", action="store_true", help="make docs/performance.md of this checkout anew from the run"
    )
    parser.add_argument(
        "--topology", choices=tuple(TOPOLOGIES), help="of tunnel: pair or exit (default: both)"
    )


def of(benches: Sequence[Bench]) -> Bench:
    """The bench that runs all these."""
    wanted = Counter(program for bench in benches for program in bench.programs)
    return Bench(
        name="all",
        help="every bench with its defaults, one report",
        run=lambda options, say: measure(benches, options, say),
        add_options=_add_options,
        needs_root=any(bench.needs_root for bench in benches),
        programs=tuple(sorted(program for program, count in wanted.items() if count > 1)),
        compares=True,
    )
