"""Migrating: new, present, older, newer; and nothing half done."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from appliance.errors import StateError
from appliance.store import upgrade as upgrade_module
from appliance.store.schema import REVISIONS
from appliance.store.store import DATABASE, Store
from appliance.store.upgrade import migrate
from tests.appliance.control.fakes import Exit, key


def sql(tmp_path, statement: str) -> list[tuple]:
    connection = sqlite3.connect(tmp_path / "sallyport.db", isolation_level=None)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_a_new_database_is_of_the_present_schema(tmp_path):
    Store.open(tmp_path).close()
    assert sql(tmp_path, "SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]


def test_the_present_schema_needs_no_alembic(tmp_path, monkeypatch):
    Store.open(tmp_path).close()
    monkeypatch.setattr(upgrade_module, "migrate", None)
    Store.open(tmp_path).close()


def test_a_newer_one_is_refused_untouched(tmp_path):
    Store.open(tmp_path).close()
    sql(tmp_path, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StateError, match="newer sallyport"):
        Store.open(tmp_path)
    assert sql(tmp_path, "SELECT version_num FROM alembic_version") == [("9999",)]
    assert not list(tmp_path.glob("*.schema-*"))


def test_an_older_one_is_migrated_after_a_copy_of_it_was_made(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/sallyport.db")
    migrate(engine, "0001")
    engine.dispose()
    sql(tmp_path, "INSERT INTO accounts VALUES ('ac_1', 'paid', 1, 2, 3, 4, 5)")
    sql(tmp_path, "INSERT INTO tokens VALUES ('tk_1', 'ac_1', x'01', 1, NULL)")
    Store.open(tmp_path).close()
    assert sql(tmp_path, "SELECT * FROM accounts") == [("ac_1", "paid", 1, 2, 3, 4, 5, None, None)]
    assert sql(tmp_path, "SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]
    (copy,) = tmp_path.glob("*.schema-*")
    assert copy.name == "sallyport.db.schema-0001"
    assert copy.stat().st_mode & 0o7777 == 0o600
    connection = sqlite3.connect(copy)
    assert connection.execute("SELECT * FROM accounts").fetchall() == [("ac_1", "paid", 1, 2, 3, 4, 5)]
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
    connection.close()
    # What was migrated is the present schema: the next start makes no copy.
    copy.unlink()
    Store.open(tmp_path).close()
    assert not list(tmp_path.glob("*.schema-*"))


def as_of_the_first_schema(database: Path) -> None:
    """The same rows as the first version would have written them."""
    present = database.rename(database.with_name("present"))
    engine = create_engine(f"sqlite:///{database}")
    migrate(engine, REVISIONS[0])
    engine.dispose()
    with closing(sqlite3.connect(database, isolation_level=None)) as old:
        old.execute("ATTACH ? AS present", (str(present),))
        for table in ("accounts", "tokens", "sessions", "settled", "leases"):
            columns = ", ".join(row[1] for row in old.execute(f"PRAGMA main.table_info({table})"))
            old.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM present.{table}")
    present.unlink()


async def test_a_session_lives_through_a_migration_and_pays_for_the_same_bytes(tmp_path):
    database = tmp_path / "state" / DATABASE
    async with Exit(tmp_path) as node:
        account = await node.account()
        ended, _, _ = await node.create(account, key(1))
        node.plane.count(key(1), 5, 6)
        before_ended = await node.control.end_session(account, ended, "client_closed")
        session, _, address = await node.create(account, key(2))
        node.plane.count(key(2), 100, 10)
        await node.control.settle()
        before = await node.control.session(account, session)
        assert (before.bytes_in, before.bytes_out, before.quota_bytes_used) == (100, 10, 121)
    as_of_the_first_schema(database)
    async with node.again() as node:
        copy = database.with_name(f"{DATABASE}.schema-{REVISIONS[0]}")
        with closing(sqlite3.connect(copy)) as kept:
            assert kept.execute("SELECT id FROM sessions WHERE terminated_at_ns IS NULL").fetchall() == [
                (session,)
            ]
            assert kept.execute("SELECT bytes_in, bytes_out FROM settled ORDER BY 1").fetchall() == [
                (5, 6),
                (100, 10),
            ]
        after = await node.control.session(account, session)
        assert (after.bytes_in, after.bytes_out, after.quota_bytes_used) == (100, 10, 121)
        assert after.terminated_at is None
        assert node.plane.peers[key(2)][0] == address
        assert await node.control.session(account, ended) == before_ended
        # And it goes on: the next byte is charged once, on top of those before.
        node.plane.count(key(2), 1, 2)
        last = await node.control.end_session(account, session, "client_closed")
        assert (last.bytes_in, last.bytes_out) == (101, 12)
        assert (await node.control.usage(account)).bytes_used == 124


def test_a_step_that_fails_leaves_nothing(tmp_path, monkeypatch):
    from alembic import op

    def broken(*args, **kwargs):
        raise RuntimeError("power went out")

    monkeypatch.setattr(op, "create_index", broken)
    with pytest.raises(RuntimeError):
        Store.open(tmp_path)
    assert sql(tmp_path, "SELECT name FROM sqlite_master") == []
    monkeypatch.undo()
    Store.open(tmp_path).close()
