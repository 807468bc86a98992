"""Which key of the exit's a session was told: from now on there may be two."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, LargeBinary

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("sessions", Column("exit_key", LargeBinary))
