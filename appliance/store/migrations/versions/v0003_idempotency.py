"""Idempotency keys: which session a create with a key made."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, LargeBinary, Text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        Column("account_id", Text, ForeignKey("accounts.id"), primary_key=True),
        Column("key_sha256", LargeBinary, primary_key=True),
        Column("body_sha256", LargeBinary, nullable=False),
        Column("session_id", Text, ForeignKey("sessions.id"), nullable=False),
        Column("wg_config", Text),
        Column("created_at_ns", BigInteger, nullable=False),
    )
    op.create_index("idempotency_keys_age", "idempotency_keys", ["created_at_ns"])
