"""What a measurement becomes: rows, their statistics, and the verdict of `--check`.

A row holds the samples of ours, of the peer and of the bare figure, all taken in turns in one run.
`ratio` is the median of ours over the median of the peer; `spread` is (max - min) / median, the worse of
the two.

When is a gate too noisy to judge? When the two ranges overlap, measured against the gate, and one of
them is wide (spread over MAX_SPREAD) or the bare figure itself drifted (over MAX_DRIFT): then another run
might say the opposite. Ranges that do not overlap are a verdict however wide they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from statistics import median
from typing import Any

MAX_SPREAD = 0.30
MAX_DRIFT = 0.50


class Verdict(IntEnum):
    """Exit codes of `--check`."""

    HOLDS = 0
    FAILS = 1
    USAGE = 2
    NOISY = 3


def spread(samples: Sequence[float]) -> float:
    """(max - min) / median; 0 of nothing."""
    if not samples:
        return 0.0
    middle = median(samples)
    return (max(samples) - min(samples)) / middle if middle else float("inf")


@dataclass(frozen=True)
class Row:
    """One line of a bench. `better` is "higher" or "lower"; gate and aim are ratios ours/peer.

    Without samples it stands for something that this machine cannot do: no figures, and no verdict.
    """

    name: str
    unit: str
    better: str
    ours: tuple[float, ...]
    peer: tuple[float, ...]
    limit: tuple[float, ...] = ()
    gate: float | None = None
    aim: float | None = None

    @property
    def measured(self) -> bool:
        return bool(self.ours and self.peer)

    @property
    def ratio(self) -> float:
        under = median(self.peer)
        return median(self.ours) / under if under else float("inf")

    @property
    def spread(self) -> float:
        return max(spread(self.ours), spread(self.peer))

    @property
    def holds(self) -> bool | None:
        """Whether the gate holds; None without one, and for what this machine cannot do."""
        if self.gate is None or not self.measured:
            return None
        return self.ratio >= self.gate if self.better == "higher" else self.ratio <= self.gate

    @property
    def too_noisy(self) -> bool:
        if self.gate is None or not self.measured:
            return False
        mark = [sample * self.gate for sample in self.peer]
        apart = min(self.ours) >= max(mark) or max(self.ours) < min(mark)
        return not apart and (self.spread > MAX_SPREAD or spread(self.limit) > MAX_DRIFT)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "better": self.better,
            "ours": _middle(self.ours),
            "peer": _middle(self.peer),
            "limit": _middle(self.limit),
            "ratio": _rounded(self.ratio) if self.measured else None,
            "spread": _rounded(self.spread) if self.measured else None,
            "gate": self.gate,
            "aim": self.aim,
            "holds": self.holds,
        }


def _middle(samples: Sequence[float]) -> float | None:
    return _rounded(median(samples)) if samples else None


def _rounded(value: float) -> float:
    """Four significant figures: more would be noise."""
    return float(f"{value:.4g}")


def verdict(rows: Sequence[Row]) -> Verdict:
    """All gates hold, one fails, or one cannot be judged; a clear failure outweighs noise elsewhere."""
    if any(row.holds is False and not row.too_noisy for row in rows):
        return Verdict.FAILS
    if any(row.too_noisy for row in rows):
        return Verdict.NOISY
    return Verdict.HOLDS


def report(bench: str, machine: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """The JSON object of a bench."""
    return {"bench": bench, "machine": machine, "rows": [row.as_json() for row in rows]}


def table(rows: Sequence[Row]) -> str:
    """The same for a person."""
    head = ("", "ours", "peer", "limit", "unit", "ratio", "spread", "gate", "aim", "")
    lines = [head]
    for row in rows:
        shown = row.as_json()
        lines.append((
            row.name, _short(shown["ours"]), _short(shown["peer"]), _short(shown["limit"]), row.unit,
            f"{row.ratio:.2f} x" if row.measured else "-",
            f"{100 * row.spread:.0f} %" if row.measured else "-",
            "" if row.gate is None else f"{row.gate:.2f} x", "" if row.aim is None else f"{row.aim:.2f} x",
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


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
