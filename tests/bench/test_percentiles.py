"""Percentiles by the nearest rank."""

from __future__ import annotations

import random

import pytest

from bench.percentiles import percentile


def test_nearest_rank() -> None:
    samples = [15.0, 20.0, 35.0, 40.0, 50.0]
    assert [percentile(samples, p) for p in (5, 20, 30, 40, 50, 99, 100)] == [15, 15, 20, 20, 35, 50, 50]


def test_any_order_and_one_alone() -> None:
    shuffled = [float(n) for n in range(1, 1001)]
    random.Random(1).shuffle(shuffled)
    assert percentile(shuffled, 99) == 990
    assert percentile(shuffled, 50) == 500
    assert percentile([7.0], 1) == percentile([7.0], 100) == 7


@pytest.mark.parametrize(("samples", "percent"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_no_such_percentile(samples: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(samples, percent)
