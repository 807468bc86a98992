"""Leases against a model that keeps lists."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.leases import Leases

POOL = IPv4Network("10.101.0.0/28")  # 14 hosts: the exit and 13 clients


class Dumb:
    """Two lists: never used in ascending order, then freed in the order of their numbers."""

    def __init__(self) -> None:
        self.never = [a for a in POOL.hosts() if a != IPv4Address("10.101.0.1")]
        self.freed: list[tuple[int, IPv4Address]] = []
        self.leased: dict[IPv4Address, int | None] = {}

    def take(self) -> IPv4Address | None:
        if self.never:
            address, number = self.never.pop(0), None
        elif self.freed:
            number, address = self.freed.pop(0)
        else:
            return None
        self.leased[address] = number
        return address

    def put_back(self, address: IPv4Address) -> None:
        number = self.leased.pop(address)
        if number is None:
            self.never = sorted([*self.never, address])
        else:
            self.freed = sorted([*self.freed, (number, address)])

    def free(self, address: IPv4Address, number: int) -> None:
        del self.leased[address]
        self.freed = sorted([*self.freed, (number, address)])


@given(st.lists(st.tuples(st.sampled_from(["take", "take", "free", "back", "restart"]), st.integers(0, 99))))
def test_against_the_dumb_model(steps):
    dumb, leases, number = Dumb(), Leases(POOL), 0
    for what, which in steps:
        if what == "take":
            assert leases.take() == dumb.take()
        elif what == "restart":
            # An address that was put back never used is unknown to the rows, and so never used again.
            leases = Leases(POOL, dumb.leased, dumb.freed)
            dumb.leased = dict.fromkeys(dumb.leased)
        elif dumb.leased:
            address = sorted(dumb.leased)[which % len(dumb.leased)]
            if what == "free":
                number += 1
                dumb.free(address, number)
                leases.free(address, number)
            else:
                dumb.put_back(address)
                leases.put_back(address)


@pytest.mark.parametrize(("pool", "size"), [("/24", 253), ("/22", 1021), ("/30", 1), ("/31", 0), ("/32", 0)])
def test_how_many_a_pool_serves(pool, size):
    leases = Leases(IPv4Network("10.0.0.0" + pool))
    taken = [leases.take() for _ in range(size)]
    assert len(set(taken)) == size
    assert None not in taken
    assert leases.own not in taken
    assert leases.take() is None


def test_order():
    leases = Leases(IPv4Network("10.0.0.0/29"))
    assert leases.own == IPv4Address("10.0.0.1")
    first = [leases.take() for _ in range(5)]
    assert first == [IPv4Address("10.0.0.2") + n for n in range(5)]
    for number, index in enumerate((3, 0, 4), start=1):
        leases.free(first[index], number)
    assert [leases.take() for _ in range(4)] == [first[3], first[0], first[4], None]


def test_a_freed_address_waits_until_all_others_were_used():
    leases = Leases(IPv4Network("10.0.0.0/29"))
    first = leases.take()
    leases.free(first, 1)
    assert [leases.take() for _ in range(5)][-1] == first


def test_rows_from_another_pool_are_left_out():
    foreign = IPv4Address("10.9.9.9")
    leases = Leases(POOL, [foreign, leases_own()], [(1, foreign + 1)])
    assert not leases.holds(foreign)
    assert not leases.holds(leases.own)
    assert not leases.holds(POOL.broadcast_address)
    assert leases.take() == IPv4Address("10.101.0.2")


def leases_own() -> IPv4Address:
    return Leases(POOL).own


def test_a_huge_pool_costs_nothing():
    assert Leases(IPv4Network("10.0.0.0/8")).take() == IPv4Address("10.0.0.2")
