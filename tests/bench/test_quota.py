"""The rows of `bench quota`; the staging is tested by tests/netns/test_quota.py, here one real account."""

from __future__ import annotations

import pytest

from bench import quota
from bench.quota import Samples, billed_bytes


def test_what_the_api_shows_is_added_up():
    assert billed_bytes([{"bytes_in": 1, "bytes_out": 20}, {"bytes_in": 300, "bytes_out": 4000}]) == 4321


@pytest.mark.parametrize(
    ("past", "unused", "seconds", "holds"),
    [
        (0, 0, 0.2, [True, True, True]),
        (0, 1419, 1.0, [True, True, True]),
        (1, 0, 0.2, [False, True, True]),
        (0, 1420, 0.2, [True, False, True]),
        (0, 0, 1.1, [True, True, False]),
    ],
)
def test_the_worst_run_counts(past, unused, seconds, holds):
    samples = Samples([0, 0, past], [5, 5, unused], [0.1, 0.1, seconds])
    assert [row.holds for row in samples.rows()] == holds


@pytest.mark.netns
@pytest.mark.timeout(300)
def test_an_account_ends_where_it_should():
    rows = {row.name: row for row in quota.measure(runs=1, limit_bytes=10_000_000, say=print)}
    assert rows["bytes past the purse"].ours == (0,)
    assert rows["bytes left unused"].holds
    assert len(rows["until quota_exceeded is visible"].ours) == 1
