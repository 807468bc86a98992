"""Queries about bearer tokens. Only the SHA-256 of a token's secret is ever here."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from appliance.store.schema import tokens


@dataclass(frozen=True)
class TokenRow:
    id: str
    account_id: str
    secret_sha256: bytes
    created_at_ns: int
    revoked_at_ns: int | None


def add(connection: Connection, row: TokenRow) -> None:
    connection.execute(
        insert(tokens).values(
            id=row.id,
            account_id=row.account_id,
            secret_sha256=row.secret_sha256,
            created_at_ns=row.created_at_ns,
            revoked_at_ns=row.revoked_at_ns,
        )
    )


def revoke(connection: Connection, token_id: str, now_ns: int) -> None:
    """Revoke a token; one that is revoked already keeps its time."""
    connection.execute(
        update(tokens)
        .where(tokens.c.id == token_id, tokens.c.revoked_at_ns.is_(None))
        .values(revoked_at_ns=now_ns)
    )


def load(connection: Connection) -> list[TokenRow]:
    """All tokens, oldest first."""
    query = select(tokens).order_by(tokens.c.created_at_ns, tokens.c.id)
    return [
        TokenRow(row.id, row.account_id, bytes(row.secret_sha256), row.created_at_ns, row.revoked_at_ns)
        for row in connection.execute(query)
    ]
