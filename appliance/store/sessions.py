"""Queries about sessions: live ones have no end yet; ended ones never change again."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, bindparam, exists, insert, select, update

from appliance.store.schema import sessions

# Statements of every create, made once: making them anew costs more than running them.
_ADD: Final = insert(sessions)
_ANY_LIVE: Final = select(
    exists().where((sessions.c.account_id == bindparam("wanted")) & sessions.c.terminated_at_ns.is_(None))
)


@dataclass(frozen=True)
class SessionRow:
    """What is written when a session is made.

    `exit_key` is the exit's public key in its configuration; empty in a row from before that was noted.
    """

    id: str
    account_id: str
    tier: str
    region: str
    public_ip: str
    public_key: bytes
    address: IPv4Address
    created_at_ns: int
    expires_at_ns: int
    exit_key: bytes


@dataclass(frozen=True)
class End:
    """What is written when it ends; the two quota values stay as they were told at that moment."""

    at_ns: int
    reason: str
    lasted_seconds: int
    quota_bytes_used: int
    quota_seconds_used: int


def add(connection: Connection, row: SessionRow) -> None:
    values: dict[str, Any] = {**vars(row), "address": str(row.address)}
    connection.execute(_ADD, values)


def end(connection: Connection, session_id: str, its: End) -> None:
    connection.execute(
        update(sessions)
        .where(sessions.c.id == session_id)
        .values(
            terminated_at_ns=its.at_ns,
            terminated_reason=its.reason,
            lasted_seconds=its.lasted_seconds,
            quota_bytes_used=its.quota_bytes_used,
            quota_seconds_used=its.quota_seconds_used,
        )
    )


def note_exit_key(connection: Connection, exit_key: bytes) -> None:
    """Write down for live sessions of before there was a second key which one they were told."""
    unknown = sessions.c.terminated_at_ns.is_(None) & sessions.c.exit_key.is_(None)
    connection.execute(update(sessions).where(unknown).values(exit_key=exit_key))


def any_live(connection: Connection, account_id: str) -> bool:
    """Whether the account has a live session."""
    return bool(connection.execute(_ANY_LIVE, {"wanted": account_id}).scalar_one())


def ended(connection: Connection, session_id: str) -> tuple[SessionRow, End] | None:
    """An ended session; None when there is none of that id."""
    query = select(sessions).where(sessions.c.id == session_id, sessions.c.terminated_at_ns.is_not(None))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else (_made(row), _end(row))


def made(connection: Connection, session_id: str) -> SessionRow:
    """What was written when this session, live or ended, was made."""
    query = select(sessions).where(sessions.c.id == session_id)
    return _made(connection.execute(query).mappings().one())


def account_of(connection: Connection, session_id: str) -> str | None:
    """Whose session this is, live or ended; None when there is none of that id."""
    query = select(sessions.c.account_id).where(sessions.c.id == session_id)
    return connection.execute(query).scalar_one_or_none()


def load_live(connection: Connection) -> list[SessionRow]:
    """All live sessions, oldest first."""
    query = (
        select(sessions)
        .where(sessions.c.terminated_at_ns.is_(None))
        .order_by(sessions.c.created_at_ns, sessions.c.id)
    )
    return [_made(row) for row in connection.execute(query).mappings()]


def _made(row: RowMapping) -> SessionRow:
    return SessionRow(
        id=row["id"],
        account_id=row["account_id"],
        tier=row["tier"],
        region=row["region"],
        public_ip=row["public_ip"],
        public_key=bytes(row["public_key"]),
        address=IPv4Address(row["address"]),
        created_at_ns=row["created_at_ns"],
        expires_at_ns=row["expires_at_ns"],
        exit_key=bytes(row["exit_key"] or b""),
    )


def _end(row: RowMapping) -> End:
    return End(
        at_ns=row["terminated_at_ns"],
        reason=row["terminated_reason"],
        lasted_seconds=row["lasted_seconds"],
        quota_bytes_used=row["quota_bytes_used"],
        quota_seconds_used=row["quota_seconds_used"],
    )
