"""aead_order.c: every job exactly once, by length; as many together as an engine likes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext import engines

MOST, WINDOW = 16, 256
LENGTH = st.one_of(
    st.integers(0, 200), st.integers(0, 70_000), st.sampled_from([0, 15, 16, 63, 64, 65, 1420, 2**32 - 1])
)


def ordered(lengths: list[int], least: int) -> list[int]:
    """Indices in the order that sp_order gives."""
    ffi, lib = engines.load()
    jobs = ffi.new("struct sp_aead_job[]", max(len(lengths), 1))
    for job, length in zip(jobs, lengths, strict=False):
        job.len = length
    pointers = ffi.new("struct sp_aead_job *[]", WINDOW)
    count = lib.sp_order(pointers, jobs, len(lengths), least)
    return [pointers[i] - jobs for i in range(count)]


@given(lengths=st.lists(LENGTH, max_size=300), least=st.sampled_from([0, 16]))
def test_each_job_once_by_length(lengths, least):
    order = ordered(lengths, least)
    assert sorted(order) == [i for i, length in enumerate(lengths[:WINDOW]) if length >= least]
    bins = [min(lengths[i] // 64, 47) for i in order]
    assert bins == sorted(bins)


def test_jobs_alike_stay_in_order():
    assert ordered([1420] * 300, 0) == list(range(WINDOW))
    assert ordered([100, 64, 100, 65, 3], 16) == [0, 1, 2, 3]
    assert ordered([200, 100, 200, 101], 0) == [1, 3, 0, 2]


@given(
    lengths=st.lists(st.integers(0, 3000), min_size=1, max_size=40),
    step=st.sampled_from([1, 8]),
    limit=st.integers(0, 20_000),
)
def test_how_many_go_together(lengths, step, limit):
    ffi, lib = engines.load()
    jobs = ffi.new("struct sp_aead_job[]", len(lengths))
    for job, length in zip(jobs, lengths, strict=True):
        job.len = length
    pointers = ffi.new("struct sp_aead_job *[]", [jobs + i for i in range(len(lengths))])
    most = min(MOST, len(lengths))
    count = lib.sp_together(pointers, len(lengths), step, limit)
    assert count == most or (0 < count < most and count % step == 0)
    assert count <= step or sum(lengths[:count]) <= limit
    more = min(count + step, most)
    assert count == most or sum(lengths[:more]) > limit, "the next ones would have been too many"
