"""Migrating: new, present, older, newer; and nothing half done."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import create_engine

from appliance.errors import StateError
from appliance.store import upgrade as upgrade_module
from appliance.store.schema import REVISIONS
from appliance.store.store import Store
from appliance.store.upgrade import migrate


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
