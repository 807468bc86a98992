"""Asking whether the storage works."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import text

from appliance.control.errors import StorageUnavailable
from tests.appliance.control.fakes import Exit


async def test_a_database_that_takes_transactions_is_well_and_one_that_does_not_is_not(tmp_path):
    async with Exit(tmp_path) as node:
        await node.control.check_storage()
        # Somebody else holds the database for writing: a transaction cannot begin.
        await node.store.read(lambda c: c.execute(text("PRAGMA busy_timeout=50")) and None)
        other = sqlite3.connect(tmp_path / "state" / "sallyport.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable):
            await node.control.check_storage()
        other.execute("ROLLBACK")
        other.close()
        await node.control.check_storage()
