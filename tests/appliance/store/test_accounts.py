"""Accounts: what is set is what is read, large numbers and idle windows included."""

from __future__ import annotations

import pytest

from appliance.core.accounting import Window, Windows
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
        assert rows == [AccountRow("ac_1", "paid", FULL), AccountRow("ac_2", "paid", Windows())]


def test_an_unknown_account_is_an_error(tmp_path):
    with database(tmp_path) as connection, pytest.raises(Exception, match="No row"):
        accounts.windows(connection, "ac_none")
