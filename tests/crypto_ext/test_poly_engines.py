"""poly_avx512.c, poly_avx512_one.c and poly_mulx.c at the edges that no random packet reaches."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext import engines, leaf, poly_twin

each_engine = engines.each_engine


def grouped(jobs: list[tuple[bytes, bytes]], noise: random.Random) -> Iterator[list[tuple[bytes, bytes]]]:
    """Queues of every length: some engines compute one packet otherwise than several."""
    sizes = [1, 2, 3, 5, 7, 8, 9, 16]
    while jobs:
        size = noise.choice(sizes)
        yield jobs[:size]
        jobs = jobs[size:]


def check(path: str, jobs: list[tuple[bytes, bytes]]) -> None:
    for group in grouped(jobs, random.Random(3)):
        for compiler in leaf.COMPILERS:
            got = engines.macs(path, group, compiler)
            assert got == [poly_twin.tag(key, text) for key, text in group], compiler


@each_engine
def test_extreme_keys_and_blocks(path):
    check(path, list(poly_twin.extremes(random.Random(4))))


@each_engine
def test_accumulators_that_end_next_to_0_and_to_p(path):
    noise = random.Random(5)
    jobs = [poly_twin.near(wanted, noise) for wanted in poly_twin.NEAR for _ in range(16)]
    for (key, text), wanted in zip(jobs, (w for w in poly_twin.NEAR for _ in range(16)), strict=True):
        s = int.from_bytes(key[16:], "little")
        assert poly_twin.tag(key, text) == ((wanted + s) % 2**128).to_bytes(16, "little"), (
            "they end where they should"
        )
    check(path, jobs)
    check(path, [job for job in jobs for _ in range(8)])  # all lanes alike


@each_engine
@given(
    lengths=st.lists(st.one_of(st.integers(0, 300), st.integers(0, 3000)), min_size=1, max_size=20),
    seed=st.integers(0, 2**32),
)
def test_queues_of_unequal_texts(path, lengths, seed):
    noise = random.Random(seed)
    jobs = [(noise.randbytes(32), noise.randbytes(length)) for length in lengths]
    assert engines.macs(path, jobs) == [poly_twin.tag(key, text) for key, text in jobs]


@each_engine
def test_an_empty_queue(path):
    assert engines.macs(path, []) == []
