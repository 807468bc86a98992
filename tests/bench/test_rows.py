"""Statistics, gates and verdicts of a bench, without measuring anything."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rows import Row, Verdict, complaints, report, samples, spread, table, verdict

KEYS = ["name", "unit", "better", "ours", "peer", "limit", "ratio", "spread", "gate", "bound", "aim", "holds"]


def row(ours, peer, *, gate=1.0, better="higher", limit=()):
    return Row("a row", "Gb/s", better, tuple(ours), tuple(peer), tuple(limit), gate, 3.5)


def test_json_has_exactly_the_published_keys_in_order():
    said = report("tunnel", {"cpu": "x"}, [row([2.0], [1.0])])
    assert list(said) == ["bench", "machine", "rows"]
    assert list(said["rows"][0]) == KEYS
    assert json.loads(json.dumps(said)) == said


def test_figures_are_medians_and_the_ratio_is_theirs():
    said = row([1, 9, 3], [2, 2, 50], limit=[10, 20, 30]).as_json()
    assert (said["ours"], said["peer"], said["limit"], said["ratio"]) == (3, 2, 20, 1.5)


def test_a_ratio_that_misses_never_looks_like_its_gate():
    near = row([1.599996], [1.0], gate=1.6)
    assert near.as_json()["ratio"] == 1.599996
    assert "1.599996 x     0 %  1.60 x  3.50 x  FAILS" in table([near])
    assert row([1.601], [1.0], gate=1.6).as_json()["ratio"] == 1.601
    assert "1.60 x     0 %  1.50 x" in table([row([1.599996], [1.0], gate=1.5)])


def test_a_figure_that_misses_never_looks_like_its_bound():
    for figure, bound, shown in ((50.0004, 50, "50.0004"), (1_000_000.25, 1_000_000, "1,000,000.2")):
        it = Row("a figure", "ms", "lower", (figure,), bound=bound)
        assert it.as_json()["ours"] > bound
        assert shown in table([it])


def test_samples_are_kept_by_the_title_of_their_row():
    it = Row("a", "ms", "lower", (1.0, 2.123456789), (3.0,), gate=1.0, bench="idle")
    assert samples([it]) == {"idle: a": {"ours": [1.0, 2.12346], "peer": [3.0], "limit": []}}


def test_limit_is_null_without_samples_and_holds_is_null_without_gate():
    said = row([1], [1], gate=None).as_json()
    assert said["limit"] is None
    assert said["holds"] is None
    assert said["gate"] is None


def test_spread_is_the_worse_of_the_two():
    assert spread([1.0, 2.0, 3.0]) == 1.0
    assert row([10, 10, 10], [1, 2, 3]).spread == 1.0
    assert row([1, 2, 3], [10, 10, 10]).spread == 1.0


@pytest.mark.parametrize(
    ("better", "ours", "holds"),
    [("higher", 1.0, True), ("higher", 0.99, False), ("lower", 1.0, True), ("lower", 1.01, False)],
)
def test_gate_is_inclusive_in_both_directions(better, ours, holds):
    assert row([ours], [1.0], better=better).holds is holds


def test_verdict_holds_fails_and_noisy():
    good, bad = row([2, 2.1], [1, 1.1]), row([1, 1.1], [2, 2.1])
    noisy = row([1.0, 2.0], [1.0, 2.0])
    assert verdict([good]) is Verdict.HOLDS
    assert verdict([good, bad]) is Verdict.FAILS
    assert verdict([good, noisy]) is Verdict.NOISY
    assert verdict([noisy, bad]) is Verdict.FAILS
    assert verdict([row([1], [2], gate=None)]) is Verdict.HOLDS


def test_wide_ranges_that_do_not_overlap_are_a_verdict():
    wide = row([5.0, 9.0], [1.0, 3.0])
    assert wide.spread > 0.3
    assert not wide.too_noisy
    assert wide.holds


def test_the_gate_scales_the_range_that_must_not_overlap():
    it = row([5.0, 9.0], [1.0, 3.0], gate=2.0)
    assert it.too_noisy
    assert it.as_json()["holds"] is None


def rounds(ratios, speeds=(1.0, 2.0, 0.6, 1.4, 0.9, 1.7, 0.7)):
    """As many rounds as ratios, on a machine whose speed is another one in each of them."""
    return row([ratio * speed for ratio, speed in zip(ratios, speeds, strict=True)], list(speeds), gate=2.0)


@pytest.mark.parametrize(
    ("ratios", "holds"),
    [
        ([2.1, 2.2, 2.1, 2.3, 2.2, 2.1, 2.2], True),
        ([2.1, 2.2, 2.1, 1.9, 2.2, 2.1, 2.2], True),  # one round may say the opposite
        ([1.9, 1.8, 1.9, 1.8, 1.7, 1.9, 1.8], False),
        ([1.9, 1.8, 2.1, 1.8, 1.7, 1.9, 1.8], False),
    ],
)
def test_rounds_that_agree_are_a_verdict_on_a_machine_whose_speed_changes(ratios, holds):
    it = rounds(ratios)
    assert it.spread > 0.3
    assert not it.too_noisy
    assert it.holds is holds
    assert it.as_json()["holds"] is holds


def test_rounds_that_do_not_agree_or_are_few_are_none():
    assert rounds([2.1, 2.2, 2.1, 1.9, 1.9, 2.1, 2.2]).too_noisy
    few = rounds([2.1, 2.2, 2.1, 2.2, 2.1, 2.2], (1.0, 2.0, 0.6, 1.4, 0.9, 1.7))
    assert few.holds
    assert few.too_noisy


def test_rounds_that_contradict_the_medians_are_none():
    # Six rounds of seven reach the gate, and the ratio of the medians does not.
    it = row([4.0, 4.1, 4.2, 3.9, 30.0, 31.0, 32.0], [2.0, 2.0, 2.0, 2.5, 2.6, 2.6, 2.6], gate=2.0)
    assert it.holds is False
    assert it.too_noisy


def test_rounds_count_only_where_each_has_a_peer():
    it = row([2.1, 4.4, 1.26, 3.2, 2.0, 3.6, 1.5], [1.0, 2.0, 0.6], gate=2.0)
    assert it.too_noisy


def test_a_bound_is_judged_by_rounds_too():
    assert not bounded([4, 5, 4, 3, 2, 4, 8], 5).too_noisy
    assert bounded([4, 5, 4, 3, 2, 7, 8], 5).too_noisy


def test_a_drifting_bare_figure_makes_a_near_verdict_noisy():
    assert not row([1.0, 1.1], [1.0, 1.1], limit=[10, 10, 10]).too_noisy
    assert row([1.0, 1.1], [1.0, 1.1], limit=[10, 10, 16]).too_noisy


@given(
    st.lists(st.floats(0.1, 1e6), min_size=1), st.lists(st.floats(0.1, 1e6), min_size=1), st.floats(0.5, 4)
)
def test_a_judged_gate_never_contradicts_its_samples(ours, peer, gate):
    it = row(ours, peer, gate=gate)
    if min(ours) >= max(peer) * gate:
        assert it.holds or it.ratio == pytest.approx(gate)
    if max(ours) < min(peer) * gate:
        assert it.holds is False or it.ratio == pytest.approx(gate)


def test_table_shows_each_row_once_with_its_verdict():
    text = table([row([2000.0], [1000.0], limit=[5.0]), row([0.5], [1.0])])
    head, first, second = text.splitlines()
    assert head.split() == ["ours", "peer", "limit", "unit", "ratio", "spread", "gate", "aim"]
    assert "2,000" in first
    assert first.endswith("holds")
    assert second.endswith("FAILS")


def test_a_row_without_samples_has_no_figures_no_verdict_and_troubles_nobody():
    row = Row("not here", "MB/s", "higher", (), (), (), 3.5, 4.5)
    assert row.holds is None
    assert not row.too_noisy
    assert [row.as_json()[key] for key in ("ours", "peer", "limit", "ratio", "spread", "holds")] == [None] * 6
    assert verdict([row]) is Verdict.HOLDS
    assert "not here" in table([row])


def bounded(ours, bound, *, better="lower", worst=False):
    return Row("a figure", "ms", better, tuple(ours), bound=bound, aim=0.5, worst=worst)


@pytest.mark.parametrize(
    ("better", "ours", "holds"),
    [("lower", 5.0, True), ("lower", 5.1, False), ("higher", 5.0, True), ("higher", 4.9, False)],
)
def test_a_bound_needs_no_peer_and_is_inclusive(better, ours, holds):
    it = bounded([ours], 5.0, better=better)
    assert it.measured
    assert it.holds is holds
    assert [it.as_json()[key] for key in ("ours", "peer", "ratio", "gate", "bound")] == [
        ours, None, None, None, 5.0,
    ]  # fmt: skip


def test_worst_holds_the_worst_sample_against_the_bound_and_shows_it():
    assert bounded([0, 0, 7], 0).too_noisy
    worst = bounded([0, 0, 7], 0, worst=True)
    assert (worst.holds, worst.too_noisy, worst.as_json()["ours"]) == (False, False, 7)
    assert bounded([9, 9, 3], 5, better="higher", worst=True).holds is False
    assert verdict([worst]) is Verdict.FAILS


def test_a_bound_is_noisy_only_with_a_wide_range_on_both_sides():
    assert bounded([4, 5, 8], 5).too_noisy
    assert not bounded([4.9, 5.0, 5.1], 5).too_noisy
    assert not bounded([1, 2, 5], 5).too_noisy
    assert not bounded([0, 0, 0], 0).too_noisy


def test_a_row_has_a_gate_or_a_bound_never_both():
    with pytest.raises(ValueError, match="not both"):
        Row("x", "ms", "lower", (1.0,), (1.0,), gate=1.0, bound=2.0)


def test_what_could_not_be_measured_fails():
    it = Row("not measured: no such thing", "", "higher", (), failed=True)
    assert it.holds is False
    assert verdict([it]) is Verdict.FAILS
    assert "FAILS" in table([it])


def test_json_has_no_infinity():
    said = report("x", {}, [row([1.0], [0.0]), bounded([0, 0, 1], 2)])
    assert json.dumps(said, allow_nan=False)
    assert said["rows"][0]["ratio"] is None


def test_rows_of_several_benches_name_theirs_first():
    it = Row("a", "ms", "lower", (1.0,), bench="idle")
    assert next(iter(it.as_json())) == "bench"
    assert "idle: a" in table([it])


def test_each_gate_that_does_not_hold_or_cannot_be_judged_is_named():
    bad, noisy = row([1.0, 1.1], [2.0, 2.1]), row([1.0, 2.0], [1.0, 2.0])
    gone = Row("not measured: no wire", "", "higher", (), failed=True, bench="api")
    assert complaints([row([2.0], [1.0]), gone, replace(bad, bench="tunnel"), noisy]) == [
        "api: not measured: no wire",
        "tunnel: a row: the gate does not hold",
        "a row: too noisy to judge",
    ]
