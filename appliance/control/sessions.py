"""What is told about sessions: to their owner one by one, to the operator all live ones.

A live session is told from the counters as they stand; an ended one from its row, which never changes
again, so that asking twice gives the same answer to the last byte.
"""

from __future__ import annotations

import base64

from sqlalchemy import Connection

from appliance.control.errors import SessionNotFound, StorageUnavailable
from appliance.control.state import AccountState, LiveSession, State
from appliance.control.views import SessionRow, SessionView, moment
from appliance.core.accounting import Counts
from appliance.store import ledger, sessions
from appliance.store.sessions import End
from appliance.store.sessions import SessionRow as StoredSession
from appliance.store.writer import StoreFailed


async def view(state: State, account: AccountState | None, session_id: str) -> SessionView:
    """One session; `account` None is the operator, who may see all.

    Raises `SessionNotFound`, deliberately the same for a foreign session and one that never was.
    """
    session = state.live.get(session_id)
    if session is not None:
        _check_owner(account, session.row)
        return _live_view(state, session)
    try:
        found = await state.store.read(lambda connection: _ended(connection, session_id))
    except StoreFailed as error:
        raise StorageUnavailable from error
    if found is None:
        raise SessionNotFound
    row, end, counts = found
    _check_owner(account, row)
    return _ended_view(state, row, end, counts)


def owned_live(state: State, account: AccountState | None, session_id: str) -> bool:
    """Whether this is a live session that `account` may end."""
    session = state.live.get(session_id)
    return session is not None and (account is None or session.row.account_id == account.id)


def rows(state: State) -> list[SessionRow]:
    """All live sessions, oldest first."""
    return [
        _row(state, session) for session in sorted(state.live.values(), key=lambda s: s.row.created_at_ns)
    ]


def _check_owner(account: AccountState | None, row: StoredSession) -> None:
    if account is not None and row.account_id != account.id:
        raise SessionNotFound


def _live_view(state: State, session: LiveSession) -> SessionView:
    account = state.account_of(session)
    counts, used, limits = session.counts(), state.usage(account), account.limits
    return SessionView(
        id=session.row.id,
        created_at=moment(session.row.created_at_ns),
        terminated_at=None,
        terminated_reason=None,
        bytes_in=counts.bytes_in,
        bytes_out=counts.bytes_out,
        tier=session.row.tier,
        quota_bytes_used=used.bytes_used,
        quota_bytes_limit=limits.window_bytes,
        quota_seconds_used=used.seconds_used,
        quota_seconds_limit=limits.window_seconds,
    )


def _ended(connection: Connection, session_id: str) -> tuple[StoredSession, End, Counts] | None:
    found = sessions.ended(connection, session_id)
    if found is None:
        return None
    return *found, sum(ledger.of_session(connection, session_id).values(), Counts())


def _ended_view(state: State, row: StoredSession, end: End, counts: Counts) -> SessionView:
    limits = state.accounts[row.account_id].limits
    return SessionView(
        id=row.id,
        created_at=moment(row.created_at_ns),
        terminated_at=moment(end.at_ns),
        terminated_reason=end.reason,
        bytes_in=counts.bytes_in,
        bytes_out=counts.bytes_out,
        tier=row.tier,
        quota_bytes_used=end.quota_bytes_used,
        quota_bytes_limit=limits.window_bytes,
        quota_seconds_used=end.quota_seconds_used,
        quota_seconds_limit=limits.window_seconds,
    )


def _row(state: State, session: LiveSession) -> SessionRow:
    counts, handshake_ns = session.counts(), session.slot.handshake_ns()
    return SessionRow(
        id=session.row.id,
        address=session.row.address,
        public_key=base64.b64encode(session.row.public_key).decode("ascii"),
        created_at=moment(session.row.created_at_ns),
        bytes_in=counts.bytes_in,
        bytes_out=counts.bytes_out,
        last_handshake=moment(handshake_ns) if handshake_ns else None,
        old_key=state.keys is not None and session.row.exit_key == state.keys.old_public_key,
    )
