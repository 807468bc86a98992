"""What a measurement becomes: rows, their statistics, and the verdict of `--check`.

A row holds the samples of ours, of the peer and of the bare figure, all taken in turns in one run.
`ratio` is the median of ours over the median of the peer; `spread` is (max - min) / median, the worse of
the two. What has no peer ("bytes lost") is held against a `bound` instead.

When is a gate too noisy to judge? When the two ranges overlap, measured against the gate, and one of
them is wide (spread over MAX_SPREAD) or the bare figure itself drifted (over MAX_DRIFT): then another run
might say the opposite. A bound is too noisy to judge when samples of a wide range lie on both sides of it.

But a wide range may only mean that the whole machine was faster at one time than at another, and the two
programs of a round ran within seconds of each other. So where there are MIN_ROUNDS rounds, and all of them
but one at most say by themselves what the medians say, that is a verdict. Of 7 rounds so many are on one
given side by chance, with the truth on the gate itself, in 6 % of all runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import isinf
from statistics import median
from typing import Any

MAX_SPREAD = 0.30
MAX_DRIFT = 0.50
MIN_ROUNDS = 7  # for a verdict; `--check` and `--page` ask for as many runs
SAMPLE_DIGITS = 6  # significant ones, in a record


class Verdict(IntEnum):
    """Exit codes of `--check`."""

    HOLDS = 0
    FAILS = 1
    USAGE = 2
    NOISY = 3


def spread(samples: Sequence[float]) -> float:
    """(max - min) / median; 0 of nothing."""
    if not samples or max(samples) == min(samples):
        return 0.0
    middle = median(samples)
    return (max(samples) - min(samples)) / middle if middle else float("inf")


@dataclass(frozen=True)
class Row:
    """One line of a bench. `better` is "higher" or "lower".

    The gate is either a ratio ours/peer (`gate`, then `aim` is one, too) or, where there is nothing to
    compare with, a figure in the row's unit (`bound`, then `aim` is one, too). `worst`: not the median of
    ours is held against the bound but its worst sample.

    Without samples a row stands for something that this machine cannot do: no figures, and no verdict;
    or, with `failed`, for what should have been measured and was not: that is a gate that fails.
    """

    name: str
    unit: str
    better: str
    ours: tuple[float, ...]
    peer: tuple[float, ...] = ()
    limit: tuple[float, ...] = ()
    gate: float | None = None
    aim: float | None = None
    bound: float | None = None
    worst: bool = False
    failed: bool = False
    bench: str = ""  # which bench it is of, where a report holds several

    def __post_init__(self) -> None:
        if self.gate is not None and self.bound is not None:
            raise ValueError(f"{self.name}: a gate or a bound, not both")

    @property
    def title(self) -> str:
        return f"{self.bench}: {self.name}" if self.bench else self.name

    @property
    def measured(self) -> bool:
        return bool(self.ours and (self.peer or self.bound is not None))

    @property
    def ratio(self) -> float | None:
        if not (self.ours and self.peer):
            return None
        under = median(self.peer)
        return median(self.ours) / under if under else float("inf")

    @property
    def spread(self) -> float:
        return max(spread(self.ours), spread(self.peer))

    @property
    def figure(self) -> float:
        """What is held against a bound."""
        if not self.worst:
            return median(self.ours)
        return min(self.ours) if self.better == "higher" else max(self.ours)

    @property
    def holds(self) -> bool | None:
        """Whether the gate holds; None without one, and for what this machine cannot do."""
        if self.failed:
            return False
        if not self.measured:
            return None
        if self.bound is not None:
            return self._reaches(self.figure, self.bound)
        if self.gate is None or self.ratio is None:
            return None
        return self._reaches(self.ratio, self.gate)

    def _reaches(self, value: float, mark: float) -> bool:
        return value >= mark if self.better == "higher" else value <= mark

    @property
    def too_noisy(self) -> bool:
        if not self.measured or self.worst:  # one sample on the wrong side of a bound is no noise
            return False
        if self.bound is not None:
            rounds = [self._reaches(sample, self.bound) for sample in self.ours]
            apart = len(set(rounds)) == 1
            return not (apart or self._agreed(rounds)) and self.spread > MAX_SPREAD
        if self.gate is None:
            return False
        marks = [sample * self.gate for sample in self.peer]
        apart = min(self.ours) >= max(marks) or max(self.ours) < min(marks)
        if apart or (
            len(self.ours) == len(marks)
            and self._agreed([self._reaches(*pair) for pair in zip(self.ours, marks, strict=True)])
        ):
            return False
        return self.spread > MAX_SPREAD or spread(self.limit) > MAX_DRIFT

    def _agreed(self, rounds: Sequence[bool]) -> bool:
        """Whether nearly all rounds, each for itself, say what the medians say."""
        return len(rounds) >= MIN_ROUNDS and rounds.count(bool(self.holds)) >= len(rounds) - 1

    def as_json(self) -> dict[str, Any]:
        of = {"bench": self.bench} if self.bench else {}
        return {
            **of,
            "name": self.name,
            "unit": self.unit,
            "better": self.better,
            "ours": _rounded(self.figure, self.bound) if self.ours else None,
            "peer": _middle(self.peer),
            "limit": _middle(self.limit),
            "ratio": _rounded(self.ratio, self.gate),
            "spread": _rounded(self.spread) if self.ours else None,
            "gate": self.gate,
            "bound": self.bound,
            "aim": self.aim,
            "holds": None if self.too_noisy else self.holds,
        }


def _middle(samples: Sequence[float]) -> float | None:
    return _rounded(median(samples)) if samples else None


def _rounded(value: float | None, mark: float | None = None, digits: int = 4) -> float | None:
    """Four significant figures: more would be noise. JSON knows no infinity."""
    if value is None or isinf(value):
        return None
    return float(beside(value, mark, digits, "g").replace(",", ""))


def beside(value: float, mark: float | None, digits: int, kind: str = "f") -> str:
    """`value` with so many digits, and with more where it would look like `mark` and is not."""
    while True:
        text = f"{value:,.{digits}{kind}}"
        if value == mark or float(text.replace(",", "")) != mark:
            return text
        digits += 1


def verdict(rows: Sequence[Row]) -> Verdict:
    """All gates hold, one fails, or one cannot be judged; a clear failure outweighs noise elsewhere."""
    if any(row.holds is False and not row.too_noisy for row in rows):
        return Verdict.FAILS
    if any(row.too_noisy for row in rows):
        return Verdict.NOISY
    return Verdict.HOLDS


def complaints(rows: Sequence[Row]) -> list[str]:
    """One line for each gate that does not hold or cannot be judged, and for what was not measured."""
    words = "too noisy to judge", "the gate does not hold"
    return [
        row.title if row.failed else f"{row.title}: {words[0 if row.too_noisy else 1]}"
        for row in rows
        if row.too_noisy or row.holds is False
    ]


def report(bench: str, machine: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """The JSON object of a bench."""
    return {"bench": bench, "machine": machine, "rows": [row.as_json() for row in rows]}


def samples(rows: Sequence[Row]) -> dict[str, dict[str, list[float | None]]]:
    """What the figures were made of, round by round, by the row's title: what a record keeps besides."""
    return {
        row.title: {
            side: [_rounded(sample, digits=SAMPLE_DIGITS) for sample in taken]
            for side, taken in (("ours", row.ours), ("peer", row.peer), ("limit", row.limit))
        }
        for row in rows
    }


def table(rows: Sequence[Row]) -> str:
    """The same for a person."""
    head = ("", "ours", "peer", "limit", "unit", "ratio", "spread", "gate", "aim", "")
    lines = [head]
    for row in rows:
        shown = row.as_json()
        absolute = row.bound is not None
        lines.append((
            row.title,
            _short(shown["ours"], row.bound), _short(shown["peer"]), _short(shown["limit"]), row.unit,
            "-" if shown["ratio"] is None else f"{beside(shown['ratio'], row.gate, 2)} x",
            "-" if shown["spread"] is None else f"{100 * shown['spread']:.0f} %",
            _mark(row.bound if absolute else row.gate, absolute), _mark(row.aim, absolute),
            "" if row.holds is None else "too noisy" if row.too_noisy else "holds" if row.holds else "FAILS",
        ))  # fmt: skip
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, 4, 9) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _short(value: float | None, mark: float | None = None) -> str:
    return "-" if value is None else beside(value, mark, 0 if value >= 1000 else 2)


def _mark(value: float | None, absolute: bool) -> str:
    if value is None:
        return ""
    return f"{value:,.9g}" if absolute else f"{value:.2f} x"
