"""The first schema: accounts, tokens, sessions, the ledger and the leases."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, LargeBinary, Text, text

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        Column("id", Text, primary_key=True),
        Column("tier", Text, nullable=False),
        Column("created_at_ns", BigInteger, nullable=False),
        Column("traffic_start_ns", BigInteger),
        Column("traffic_used_bytes", BigInteger, nullable=False),
        Column("time_start_ns", BigInteger),
        Column("time_used_seconds", BigInteger, nullable=False),
    )
    op.create_table(
        "tokens",
        Column("id", Text, primary_key=True),
        Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
        Column("secret_sha256", LargeBinary, nullable=False, unique=True),
        Column("created_at_ns", BigInteger, nullable=False),
        Column("revoked_at_ns", BigInteger),
    )
    op.create_table(
        "sessions",
        Column("id", Text, primary_key=True),
        Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
        Column("tier", Text, nullable=False),
        Column("region", Text, nullable=False),
        Column("public_ip", Text, nullable=False),
        Column("public_key", LargeBinary, nullable=False),
        Column("address", Text, nullable=False),
        Column("created_at_ns", BigInteger, nullable=False),
        Column("expires_at_ns", BigInteger, nullable=False),
        Column("terminated_at_ns", BigInteger),
        Column("terminated_reason", Text),
        Column("lasted_seconds", BigInteger),
        Column("quota_bytes_used", BigInteger),
        Column("quota_seconds_used", BigInteger),
    )
    live = text("terminated_at_ns IS NULL")
    for name, column, unique in (
        ("sessions_live_address", "address", True),
        ("sessions_live_key", "public_key", True),
        ("sessions_live_account", "account_id", False),
    ):
        op.create_index(name, "sessions", [column], unique=unique, sqlite_where=live, postgresql_where=live)
    op.create_table(
        "settled",
        Column("session_id", Text, ForeignKey("sessions.id"), primary_key=True),
        Column("generation", BigInteger, primary_key=True),
        Column("bytes_in", BigInteger, nullable=False),
        Column("bytes_out", BigInteger, nullable=False),
    )
    op.create_table(
        "leases",
        Column("address", Text, primary_key=True),
        Column("session_id", Text, ForeignKey("sessions.id")),
        Column("freed_order", BigInteger),
    )
    queued = text("freed_order IS NOT NULL")
    op.create_index(
        "leases_freed_order",
        "leases",
        ["freed_order"],
        unique=True,
        sqlite_where=queued,
        postgresql_where=queued,
    )
