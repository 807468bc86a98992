"""The tables, as the present program sees them.

Times are wall-clock nanoseconds since 1970, bytes and seconds whole numbers, addresses dotted text.
No table holds a secret (a token is kept as its SHA-256, a client's private key not at all) or the address
that a client comes from.

`REVISIONS` lists every schema this program knows, oldest first; the last is the one below, and
migrations/versions/ holds the step to each. Change the tables here and add a step together: a test
compares the two.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, MetaData, Table, Text, text

REVISIONS: Final = ("0001", "0002", "0003", "0004")

metadata = MetaData()

# Who pays. The two windows are `core.accounting.Windows`; a start of NULL is a window that waits for use.
# With prepaid_bytes they never end, and spent_at_ns says since when not another packet fits.
accounts = Table(
    "accounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tier", Text, nullable=False),
    Column("created_at_ns", BigInteger, nullable=False),
    Column("traffic_start_ns", BigInteger),
    Column("traffic_used_bytes", BigInteger, nullable=False),
    Column("time_start_ns", BigInteger),
    Column("time_used_seconds", BigInteger, nullable=False),
    Column("prepaid_bytes", BigInteger),
    Column("spent_at_ns", BigInteger),
)

# Creates that can be repeated: what was asked with a key, and the session that it made. Hashes only.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("account_id", Text, ForeignKey("accounts.id"), primary_key=True),
    Column("key_sha256", LargeBinary, primary_key=True),
    Column("body_sha256", LargeBinary, nullable=False),
    Column("session_id", Text, ForeignKey("sessions.id"), nullable=False),
    Column("wg_config", Text),
    Column("created_at_ns", BigInteger, nullable=False),
)
Index("idempotency_keys_age", idempotency_keys.c.created_at_ns)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False, unique=True),
    Column("created_at_ns", BigInteger, nullable=False),
    Column("revoked_at_ns", BigInteger),
)

# Live while terminated_at_ns is NULL; that and the next four columns are written once, by the end.
# exit_key is the exit's public key in the session's configuration, NULL in a row from before that was noted.
sessions = Table(
    "sessions",
    metadata,
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
    Column("exit_key", LargeBinary),
)
_live = sessions.c.terminated_at_ns.is_(None)
Index("sessions_live_address", sessions.c.address, unique=True, sqlite_where=_live, postgresql_where=_live)
Index("sessions_live_key", sessions.c.public_key, unique=True, sqlite_where=_live, postgresql_where=_live)
Index("sessions_live_account", sessions.c.account_id, sqlite_where=_live, postgresql_where=_live)

# The ledger: the cumulative bytes already charged for each life of a session's counters.
settled = Table(
    "settled",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.id"), primary_key=True),
    Column("generation", BigInteger, primary_key=True),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
)

# Every address that was ever leased. session_id while leased, freed_order (ascending) while it queues.
leases = Table(
    "leases",
    metadata,
    Column("address", Text, primary_key=True),
    Column("session_id", Text, ForeignKey("sessions.id")),
    Column("freed_order", BigInteger),
)
Index(
    "leases_freed_order",
    leases.c.freed_order,
    unique=True,
    sqlite_where=text("freed_order IS NOT NULL"),
    postgresql_where=text("freed_order IS NOT NULL"),
)
