"""Queries about accounts: who pays, and the two windows in which use is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update

from appliance.core.accounting import Window, Windows
from appliance.store.schema import accounts

# Statements of every create and every settling, made once: making them anew costs more than running them.
_ONE: Final = select(accounts).where(accounts.c.id == bindparam("wanted"))
_SET: Final = update(accounts).where(accounts.c.id == bindparam("wanted"))


@dataclass(frozen=True)
class AccountRow:
    id: str
    tier: str
    windows: Windows
    prepaid_bytes: int | None
    spent: bool


def add(
    connection: Connection, account_id: str, tier: str, created_at_ns: int, prepaid_bytes: int | None = None
) -> None:
    """A new account that has used nothing."""
    values = {
        "id": account_id,
        "tier": tier,
        "created_at_ns": created_at_ns,
        "prepaid_bytes": prepaid_bytes,
    }
    connection.execute(insert(accounts).values(**values, **_columns(Windows())))


def windows(connection: Connection, account_id: str) -> Windows:
    """An account's windows as last written."""
    return _windows(connection.execute(_ONE, {"wanted": account_id}).mappings().one())


def set_windows(connection: Connection, account_id: str, new: Windows) -> None:
    connection.execute(_SET, {"wanted": account_id, **_columns(new)})


def set_spent(connection: Connection, account_id: str, now_ns: int) -> None:
    """What was paid for is used up; an account that is spent already keeps its time."""
    connection.execute(
        update(accounts)
        .where(accounts.c.id == account_id, accounts.c.spent_at_ns.is_(None))
        .values(spent_at_ns=now_ns)
    )


def load(connection: Connection) -> list[AccountRow]:
    """All accounts."""
    rows = connection.execute(select(accounts)).mappings()
    return [
        AccountRow(
            row["id"], row["tier"], _windows(row), row["prepaid_bytes"], spent=row["spent_at_ns"] is not None
        )
        for row in rows
    ]


def _windows(row: RowMapping) -> Windows:
    return Windows(
        Window(row["traffic_start_ns"], row["traffic_used_bytes"]),
        Window(row["time_start_ns"], row["time_used_seconds"]),
        resets=row["prepaid_bytes"] is None,
    )


def _columns(value: Windows) -> dict[str, int | None]:
    return {
        "traffic_start_ns": value.traffic.start_ns,
        "traffic_used_bytes": value.traffic.used,
        "time_start_ns": value.time.start_ns,
        "time_used_seconds": value.time.used,
    }
