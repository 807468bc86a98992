"""Queries about the ledger: what has been charged for each (session, generation), cumulative."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from sqlalchemy import Connection, select, tuple_

from appliance.core.accounting import Counts
from appliance.store.schema import sessions, settled

Life = tuple[str, int]  # a session id and a generation of its counters

_LIVES_PER_QUERY: Final = 500  # SQLite limits the variables of a statement

# Through the driver, not through SQLAlchemy's expressions: the tick writes thousands of these.
_UPSERT: Final = (
    "INSERT INTO settled (session_id, generation, bytes_in, bytes_out) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (session_id, generation) "
    "DO UPDATE SET bytes_in = excluded.bytes_in, bytes_out = excluded.bytes_out"
)


def read(connection: Connection, lives: Iterable[Life]) -> dict[Life, Counts]:
    """What was charged for these; nothing is said about those that were never charged."""
    found: dict[Life, Counts] = {}
    for some in _chunks(lives):
        query = select(settled).where(tuple_(settled.c.session_id, settled.c.generation).in_(some))
        for row in connection.execute(query):
            found[row.session_id, row.generation] = Counts(row.bytes_in, row.bytes_out)
    return found


def write(connection: Connection, values: Mapping[Life, Counts]) -> None:
    """Set what was charged for these."""
    rows = [(*life, counts.bytes_in, counts.bytes_out) for life, counts in values.items()]
    if rows:
        connection.exec_driver_sql(_UPSERT, rows)


def of_session(connection: Connection, session_id: str) -> dict[int, Counts]:
    """All generations of one session."""
    query = select(settled).where(settled.c.session_id == session_id)
    return {row.generation: Counts(row.bytes_in, row.bytes_out) for row in connection.execute(query)}


def of_live_sessions(connection: Connection) -> dict[str, dict[int, Counts]]:
    """All generations of all live sessions."""
    query = select(settled).join(sessions).where(sessions.c.terminated_at_ns.is_(None))
    found: dict[str, dict[int, Counts]] = {}
    for row in connection.execute(query):
        found.setdefault(row.session_id, {})[row.generation] = Counts(row.bytes_in, row.bytes_out)
    return found


def _chunks(lives: Iterable[Life]) -> Iterator[Sequence[Life]]:
    rest = iter(lives)
    while some := list(islice(rest, _LIVES_PER_QUERY)):
        yield some
