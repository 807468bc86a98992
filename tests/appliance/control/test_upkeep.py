"""Asking whether the storage works, and for a backup of it."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import text

from appliance.control.errors import StorageUnavailable
from appliance.store.backup import unpack
from tests.appliance.control.fakes import Exit, key
from tests.appliance.control.test_creating import execute


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


async def test_a_backup_holds_what_was_counted_to_the_last_byte(tmp_path):
    async with Exit(tmp_path) as node:
        await node.create(await node.account(), key(1))
        node.plane.count(key(1), 1000, 10)
        made = await node.control.backup()
        unpack(made, tmp_path)
    database = sqlite3.connect(tmp_path / "sallyport.db")
    assert database.execute("SELECT bytes_in, bytes_out FROM settled").fetchall() == [(1000, 10)]
    database.close()


async def test_no_backup_of_what_could_not_be_settled(tmp_path):
    async with Exit(tmp_path) as node:
        await node.create(await node.account(), key(1))
        node.plane.count(key(1), 1000, 10)
        execute(node, "CREATE TRIGGER full BEFORE INSERT ON settled BEGIN SELECT RAISE(ABORT, 'full'); END")
        with pytest.raises(StorageUnavailable):
            await node.control.backup()
        assert not list((tmp_path / "state").glob("backup-*"))
