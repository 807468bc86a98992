"""Charging readings: each byte once, several lives of one session, several sessions of one account."""

from __future__ import annotations

import pytest

from appliance.control.charging import Reading, charge
from appliance.core.accounting import Counts
from appliance.store import accounts, ledger
from tests.appliance.store.rows import add_account, add_session, database


@pytest.fixture
def connection(tmp_path):
    with database(tmp_path) as connection:
        add_account(connection, "ac_1")
        add_account(connection, "ac_2")
        for number in (1, 2, 3):
            add_session(connection, number, account_id="ac_2" if number == 3 else "ac_1")
        yield connection


def read(session: int, generation: int, bytes_in: int, bytes_out: int) -> Reading:
    account = "ac_2" if session == 3 else "ac_1"
    return Reading(account, (f"tb_{session}", generation), Counts(bytes_in, bytes_out))


def used(connection) -> tuple[int, int]:
    return tuple(accounts.windows(connection, account).traffic.used for account in ("ac_1", "ac_2"))


def test_each_byte_once(connection):
    readings = [read(1, 1, 100, 1), read(2, 1, 10, 2), read(3, 1, 7, 7), read(1, 2, 5, 5)]
    charged = charge(connection, readings, now_ns=1000)
    assert used(connection) == (123, 14)
    assert charged.settled["tb_1", 2] == Counts(5, 5)
    assert set(charged.windows) == {"ac_1", "ac_2"}
    again = charge(connection, readings, now_ns=2000)
    assert (again.settled, again.windows) == (charged.settled, {})
    charge(connection, [read(1, 1, 50, 0), read(1, 1, 101, 1), read(1, 1, 101, 1)], now_ns=3000)
    assert used(connection) == (124, 14)
    assert ledger.of_session(connection, "tb_1") == {1: Counts(101, 1), 2: Counts(5, 5)}


def test_nothing_to_charge(connection):
    assert charge(connection, [], now_ns=1).windows == {}
    assert charge(connection, [read(1, 1, 0, 0)], now_ns=1).windows == {}
    assert used(connection) == (0, 0)
