import itertools
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.indices import IndexTable


def words(size: int, values: Iterable[int]) -> bytes:
    """So many bytes, from numbers of four."""
    return b"".join(value.to_bytes(4, "little") for value in itertools.islice(values, size // 4))


def table(seed: int = 1, in_use=lambda index: False) -> IndexTable[str]:
    return IndexTable(random.Random(seed).randbytes, in_use)


def test_an_index_belongs_to_its_owner_until_released():
    indices = table()
    one, two = indices.reserve("alice"), indices.reserve("bob")
    assert (indices.find(one), indices.find(two), len(indices)) == ("alice", "bob", 2)
    indices.release(one)
    assert (indices.find(one), indices.find(two), len(indices)) == (None, "bob", 1)
    with pytest.raises(KeyError):
        indices.release(one)


def test_taken_used_and_zero_are_never_given():
    draws = itertools.cycle([0, 7, 7, 8, 9])
    indices: IndexTable[str] = IndexTable(lambda size: words(size, draws), in_use=lambda index: index == 8)
    assert indices.reserve("alice") == 7
    assert indices.reserve("alice") == 9


def test_indices_are_the_random_bytes_and_fill_32_bits():
    indices = table()
    given_out = [indices.reserve("alice") for _ in range(2000)]
    assert len(set(given_out)) == 2000
    for bit in range(32):
        ones = sum(index >> bit & 1 for index in given_out)
        assert 850 < ones < 1150
    rng = random.Random(1)
    drawn = rng.randbytes(64)
    assert given_out[:16] == [int.from_bytes(drawn[at : at + 4], "little") for at in range(0, 64, 4)]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 15))), st.randoms(use_true_random=False))
def test_against_a_plain_dict(steps, rng):
    """Four-bit randomness, so that collisions are the rule."""
    indices: IndexTable[int] = IndexTable(
        lambda size: words(size, iter(lambda: rng.randrange(16), None)), in_use=lambda index: index == 3
    )
    mirror: dict[int, int] = {}
    for number, (reserve, index) in enumerate(steps):
        if reserve and len(mirror) < 14:
            fresh = indices.reserve(number)
            assert fresh not in mirror
            assert fresh not in (0, 3)
            mirror[fresh] = number
        elif index in mirror:
            indices.release(index)
            del mirror[index]
        for value in range(16):
            assert indices.find(value) == mirror.get(value)
        assert len(indices) == len(mirror)
