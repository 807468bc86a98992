"""The first step makes exactly the tables that its time knew."""

from __future__ import annotations

from sqlalchemy import create_engine, inspect

from appliance.store.upgrade import migrate


def test_tables(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/db")
    try:
        migrate(engine, "0001")
        tables = set(inspect(engine).get_table_names())
    finally:
        engine.dispose()
    assert tables == {"accounts", "tokens", "sessions", "settled", "leases", "alembic_version"}
