"""Percentiles of many samples, by the nearest rank: a value that was really measured, none between two."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that at least `percent` per cent of all do not exceed; ValueError for none."""
    if not samples or not 0 < percent <= 100:
        raise ValueError(f"no {percent:g}th percentile of {len(samples)} samples")
    ordered = sorted(samples)
    return ordered[ceil(len(ordered) * percent / 100) - 1]
