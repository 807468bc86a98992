"""End a session: remove the peer, read the final counters, commit, and only then let go and answer.

The order is the rule: after the removal no packet passes, so what is read is final; after the commit it is
charged, so the slot may be used again; and the address goes to the tail of the queue when the host has
forgotten its connections. A commit that fails puts the peer back: the session lives on as before.

Reasons: client_closed, admin, superseded, expired, token_revoked, quota_exceeded; and at start
node_drained (the pool no longer holds the address) and node_lost (the tunnel does not take the peer).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import trio
from sqlalchemy import Connection

from appliance.control import peers
from appliance.control.charging import Reading, charge
from appliance.control.errors import StorageUnavailable
from appliance.control.state import LiveSession, State
from appliance.core.accounting import NS_PER_SECOND, Counts, Windows
from appliance.log import event
from appliance.store import accounts, leases, sessions
from appliance.store.sessions import End, SessionRow
from appliance.store.writer import StoreFailed

logger = logging.getLogger("sallyport.control")


@dataclass(frozen=True)
class Ending:
    """All that the commit of an end needs, read after the peer was removed."""

    row: SessionRow
    reading: Reading
    age_ns: int
    end: End
    now_ns: int
    spent: bool


@dataclass(frozen=True)
class Ended:
    """What the commit of an end wrote."""

    windows: Windows
    settled: Counts
    lease_number: int


async def end(state: State, session_id: str, reason: str) -> None:
    """End a live session. When it is not live (any more) there is nothing to do.

    Raises `PeerApplyFailed` or `StorageUnavailable`; then the session is still live.
    """
    with trio.CancelScope(shield=True):
        session = state.live.get(session_id)
        if session is None:
            return
        async with state.turns.of(session.row.public_key):
            if session_id in state.live:
                await _end(state, session, reason)


async def end_unserved(state: State, session: LiveSession, reason: str) -> None:
    """End a live session whose peer is not installed (at start)."""
    await _commit(state, session, reason)


async def _end(state: State, session: LiveSession, reason: str) -> None:
    row = session.row
    await peers.remove(state, row.public_key)
    try:
        await _commit(state, session, reason)
    except StorageUnavailable:
        await peers.put_back(state, session)
        raise


async def _commit(state: State, session: LiveSession, reason: str) -> None:
    ending = read_final(state, session, reason)
    try:
        ended = await state.store.write(
            lambda connection: write_end(connection, ending),
            lambda ended: apply_end(state, session, ended),
        )
    except StoreFailed as error:
        raise StorageUnavailable from error
    await let_go(state, session, ended.lease_number)


def read_final(state: State, session: LiveSession, reason: str) -> Ending:
    """Read what the end is to record; the peer is removed already."""
    account = state.account_of(session)
    used = state.usage(account)
    age_ns = max(0, state.boot_ns() - session.began_boot_ns)
    now_ns = state.wall_ns()
    return Ending(
        row=session.row,
        reading=Reading(
            session.row.account_id, (session.row.id, session.slot.generation), session.slot.counts()
        ),
        age_ns=age_ns,
        end=End(
            at_ns=max(now_ns, session.row.created_at_ns),
            reason=reason,
            lasted_seconds=age_ns // NS_PER_SECOND,
            quota_bytes_used=used.bytes_used,
            quota_seconds_used=used.seconds_used,
        ),
        now_ns=now_ns,
        spent=account.spent,
    )


def write_end(connection: Connection, ending: Ending) -> Ended:
    """Charge the rest, close the row and free the lease (in the store's thread)."""
    row = ending.row
    charged = charge(connection, [ending.reading], ending.now_ns)
    windows = accounts.windows(connection, row.account_id).session_ended(ending.age_ns, ending.now_ns)
    accounts.set_windows(connection, row.account_id, windows)
    if ending.spent:
        accounts.set_spent(connection, row.account_id, ending.now_ns)
    sessions.end(connection, row.id, ending.end)
    number = leases.free(connection, row.address)
    return Ended(windows, charged.settled[ending.reading.life], number)


def apply_end(state: State, session: LiveSession, ended: Ended) -> None:
    session.settled = ended.settled
    state.account_of(session).windows = ended.windows
    state.drop_live(session)


async def let_go(state: State, session: LiveSession, lease_number: int | None) -> None:
    """After the commit: the slot is free, the address too unless it was handed on (lease_number None)."""
    state.slots.free(session.slot)
    await peers.forget_flows(state, session.row.address)
    if lease_number is not None and state.leases.holds(session.row.address):
        state.leases.free(session.row.address, lease_number)
    event(logger, logging.INFO, "session ended", session=session.row.id)
