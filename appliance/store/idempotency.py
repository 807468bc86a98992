"""Queries about idempotency keys: which session a create with a key made, and what was asked with it.

Only hashes of the key and of the body are kept. `wg_config` is there when the answer held no private key.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from appliance.store.schema import idempotency_keys as keys


@dataclass(frozen=True)
class KeyRow:
    """One key of one account."""

    account_id: str
    key_sha256: bytes
    body_sha256: bytes
    session_id: str
    wg_config: str | None
    created_at_ns: int


def find(connection: Connection, account_id: str, key_sha256: bytes, since_ns: int) -> KeyRow | None:
    """The account's key, None when it was not used since then."""
    query = select(keys).where(
        keys.c.account_id == account_id, keys.c.key_sha256 == key_sha256, keys.c.created_at_ns > since_ns
    )
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else KeyRow(**row)


def count(connection: Connection, account_id: str, since_ns: int) -> int:
    """How many keys the account has used since then."""
    query = select(func.count()).where(keys.c.account_id == account_id, keys.c.created_at_ns > since_ns)
    return connection.execute(query).scalar_one()


def add(connection: Connection, row: KeyRow, since_ns: int) -> None:
    """Remember a key, and forget everybody's that were used before `since_ns`."""
    connection.execute(delete(keys).where(keys.c.created_at_ns <= since_ns))
    connection.execute(insert(keys).values(**vars(row)))


def forget(connection: Connection, account_id: str, key_sha256: bytes) -> None:
    connection.execute(delete(keys).where(keys.c.account_id == account_id, keys.c.key_sha256 == key_sha256))
