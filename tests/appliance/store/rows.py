"""A migrated database and rows in it, for tests of queries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from sqlalchemy import Connection

from appliance.store import accounts, sessions
from appliance.store.sessions import SessionRow
from appliance.store.store import DATABASE, _engine
from appliance.store.upgrade import upgrade


@contextmanager
def database(directory: Path) -> Iterator[Connection]:
    """A connection in a transaction, to a new database with our settings."""
    engine = _engine(directory / DATABASE)
    try:
        upgrade(engine, directory / DATABASE)
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def add_account(connection: Connection, account_id: str) -> None:
    accounts.add(connection, account_id, "paid", 1)


def add_session(connection: Connection, number: int, account_id: str = "ac_1") -> SessionRow:
    row = SessionRow(
        id=f"tb_{number}",
        account_id=account_id,
        tier="paid",
        region="local",
        public_ip="198.51.100.7",
        public_key=bytes([number]) * 32,
        address=IPv4Address("10.101.0.0") + number,
        created_at_ns=1000 * number,
        expires_at_ns=2**62,
        exit_key=b"x" * 32,
    )
    sessions.add(connection, row)
    return row
