"""Prepaid accounts: how many bytes were paid for, and since when they are spent."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("accounts", Column("prepaid_bytes", BigInteger))
    op.add_column("accounts", Column("spent_at_ns", BigInteger))
