"""Migrating: new, present, older, newer; and nothing half done."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import text

from appliance.errors import StateError
from appliance.store import upgrade as upgrade_module
from appliance.store.schema import REVISIONS
from appliance.store.store import Store


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


def test_an_older_one_is_copied_first(tmp_path, monkeypatch):
    Store.open(tmp_path).close()
    sql(tmp_path, "INSERT INTO accounts VALUES ('ac_1', 'paid', 1, NULL, 0, NULL, 0)")
    monkeypatch.setattr(upgrade_module, "REVISIONS", (*REVISIONS, "next"))
    steps = []

    def migrate(engine) -> None:
        with engine.begin() as connection:
            steps.append(connection.execute(text("SELECT count(*) FROM accounts")).scalar_one())

    monkeypatch.setattr(upgrade_module, "migrate", migrate)
    Store.open(tmp_path).close()
    assert steps == [1]
    (copy,) = tmp_path.glob("*.schema-*")
    assert copy.name == f"sallyport.db.schema-{REVISIONS[-1]}"
    assert copy.stat().st_mode & 0o7777 == 0o600
    connection = sqlite3.connect(copy)
    assert connection.execute("SELECT id FROM accounts").fetchall() == [("ac_1",)]
    connection.close()


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
