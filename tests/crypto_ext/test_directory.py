"""The hash of public keys: who is in is found, through every growth and every removal from a chain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_ext import Pump


def key(number: int) -> bytes:
    return number.to_bytes(32, "little")


def is_in(pump: Pump, public_key: bytes) -> bool:
    """Whether somebody has that key: a second one is refused."""
    try:
        number = pump.add_peer(public_key)
    except FileExistsError:
        return True
    pump.remove_peer(number)
    return False


def test_a_public_key_is_one_peer() -> None:
    pump = Pump(seed=1)
    number = pump.add_peer(bytes(32))
    with pytest.raises(FileExistsError):
        pump.add_peer(bytes(32))
    pump.remove_peer(number)
    assert pump.add_peer(bytes(32)) != number
    pump.close()


@pytest.mark.parametrize("count", [64, 65, 129, 1000])
def test_all_are_found_after_it_has_grown(count: int) -> None:
    pump = Pump(seed=1)
    numbers = [pump.add_peer(key(n)) for n in range(count)]
    assert all(is_in(pump, key(n)) for n in range(count))
    for n in range(0, count, 2):
        pump.remove_peer(numbers[n])
    assert [is_in(pump, key(n)) for n in range(count)] == [n % 2 == 1 for n in range(count)]
    pump.close()


@given(st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=400))
def test_it_races_a_dict(steps: list[tuple[int, bool]]) -> None:
    pump = Pump(seed=1)
    known: dict[int, int] = {}
    for n, comes in steps:
        if comes and n not in known:
            known[n] = pump.add_peer(key(n))
        elif not comes and n in known:
            pump.remove_peer(known.pop(n))
        assert is_in(pump, key(n)) == (n in known)
    assert [is_in(pump, key(n)) for n in range(201)] == [n in known for n in range(201)]
    pump.close()
