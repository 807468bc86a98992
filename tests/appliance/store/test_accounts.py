"""Accounts: what is set is what is read, large numbers and idle windows included."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.core.accounting import MOST_PREPAID_BYTES, Window, Windows
from appliance.store import accounts
from appliance.store.accounts import AccountRow
from tests.appliance.store.rows import add_account, database

FULL = Windows(Window(1_780_000_000 * 10**9, 2**62), Window(None, 0))


def test_windows(tmp_path):
    with database(tmp_path) as connection:
        add_account(connection, "ac_1")
        add_account(connection, "ac_2")
        assert accounts.windows(connection, "ac_1") == Windows()
        accounts.set_windows(connection, "ac_1", FULL)
        assert accounts.windows(connection, "ac_1") == FULL
        rows = sorted(accounts.load(connection), key=lambda row: row.id)
        assert rows == [
            AccountRow("ac_1", "paid", FULL, None, spent=False),
            AccountRow("ac_2", "paid", Windows(), None, spent=False),
        ]


def test_a_prepaid_account(tmp_path):
    with database(tmp_path) as connection:
        add_account(connection, "ac_1")
        accounts.add(connection, "ac_2", "free", 1, MOST_PREPAID_BYTES)
        assert accounts.windows(connection, "ac_2") == Windows(resets=False)
        accounts.set_windows(connection, "ac_2", replace(FULL, resets=False))
        full = AccountRow("ac_2", "free", replace(FULL, resets=False), MOST_PREPAID_BYTES, spent=False)
        assert accounts.load(connection)[1] == full
        accounts.set_spent(connection, "ac_2", 77)
        accounts.set_spent(connection, "ac_2", 88)
        assert [row.spent for row in accounts.load(connection)] == [False, True]
        assert connection.exec_driver_sql("SELECT spent_at_ns FROM accounts").all() == [(None,), (77,)]


def test_an_unknown_account_is_an_error(tmp_path):
    with database(tmp_path) as connection, pytest.raises(Exception, match="No row"):
        accounts.windows(connection, "ac_none")
