"""The tables in schema.py and what the migrations make are the same, and hold no secret."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, insert
from sqlalchemy.exc import IntegrityError

from appliance.store.schema import accounts, metadata, sessions
from appliance.store.upgrade import migrate


@pytest.fixture
def connection(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/db")
    migrate(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_migrations_lead_to_the_schema(connection):
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    assert compare_metadata(context, metadata) == []
    # Autogenerate does not look at the conditions of indices.
    made = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql > ''")
    conditions = {name: sql.partition(" WHERE ")[2] for name, sql in made}
    assert conditions == {
        "sessions_live_address": "terminated_at_ns IS NULL",
        "sessions_live_key": "terminated_at_ns IS NULL",
        "sessions_live_account": "terminated_at_ns IS NULL",
        "leases_freed_order": "freed_order IS NOT NULL",
        "idempotency_keys_age": "",
    }


def test_no_column_for_what_is_never_kept():
    names = {column.name for table in metadata.tables.values() for column in table.columns}
    assert not {name for name in names if "private" in name or "endpoint" in name or "source" in name}
    assert {name for name in names if "secret" in name} == {"secret_sha256"}


@pytest.mark.parametrize("same", ["address", "public_key"])
def test_two_live_sessions_share_neither_address_nor_key(connection, same):
    values = {"tier": "paid", "created_at_ns": 1}
    connection.execute(insert(accounts).values(id="ac", traffic_used_bytes=0, time_used_seconds=0, **values))
    values |= {"account_id": "ac", "region": "local", "public_ip": "-", "expires_at_ns": 2}
    first = {"id": "one", "address": "10.0.0.2", "public_key": b"1"}
    second = {"id": "two", "address": "10.0.0.3", "public_key": b"2"} | {same: first[same]}
    connection.execute(insert(sessions).values(**values, **first))
    with pytest.raises(IntegrityError):
        connection.execute(insert(sessions).values(**values, **second))
    connection.execute(sessions.update().values(terminated_at_ns=5))
    connection.execute(insert(sessions).values(**values, **second))
