"""Make a session: lease, slot, peer, commit, answer; and when anything fails, none of it.

    checks -> turn of the key -> lease -> slot bound -> old peer out -> new peer in -> commit -> answer

Everything up to the commit is undone in reverse order when a later step fails, and there is no row to
undo: it is written last. The slot is bound before the peer is in, so no byte is ever counted elsewhere.

A key that is live already: of another account it is refused; of the same account the new session
supersedes the old one. The two ends meet in one commit; before it, the old session can still be put back, and
is when the new one comes to nothing. When the pool is exhausted the new session inherits the old one's
address, for else a client that lost its session could not come back before somebody else leaves.

The client may hang up in the middle. The steps are shielded, so that a session is whole or nothing; one
whose answer cannot be delivered any more is ended at once, because nobody would know of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

import trio
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import Connection

from appliance.control import ending, names, peers, quota, wg_config
from appliance.control.ending import Ended, Ending
from appliance.control.errors import (
    BadClientKey,
    NoActiveNodes,
    NoNodeInRegion,
    Refused,
    StorageUnavailable,
    SubnetExhausted,
)
from appliance.control.ports import NodeFacts
from appliance.control.state import AccountState, LiveSession, State
from appliance.control.views import CreatedSession, moment
from appliance.core.accounting import SESSION_LIFETIME_NS, Windows
from appliance.core.primitives import is_low_order
from appliance.log import event
from appliance.slots import NoFreeSlot, Slot
from appliance.store import accounts, leases, sessions
from appliance.store.sessions import SessionRow
from appliance.store.writer import StoreFailed

logger = logging.getLogger("sallyport.control")

KEY_BYTES = 32

Note = Callable[[Connection, SessionRow], None]


@dataclass(frozen=True)
class _Made:
    """What the commit of a create wrote."""

    windows: Windows
    superseded: Ended | None


async def create(
    state: State,
    account: AccountState,
    region: str,
    client_public_key: bytes | None,
    note: Note | None = None,
) -> CreatedSession:
    """Make a session. Raises what `errors.py` names; then nothing is left behind.

    `note` writes in the session's own transaction how it can be found again, by a client that hung up too.
    """
    quota.check(state, account)
    facts = state.facts
    if facts.endpoint is None or facts.public_ip is None or state.draining:
        raise NoActiveNodes
    if region != facts.region:
        raise NoNodeInRegion(region, (facts.region,))
    private_key = None
    if client_public_key is None:
        made = X25519PrivateKey.generate()
        private_key, client_public_key = made.private_bytes_raw(), made.public_key().public_bytes_raw()
    _check_key(client_public_key, facts.public_key)  # an old one the tunnel refuses
    with trio.CancelScope(shield=True):
        async with state.turns.of(client_public_key):
            # From now on it is settled which key of the exit's this session knows.
            exit_key = state.facts.public_key
            with state.being_made(exit_key):
                session = await _make(state, account, facts.public_ip, exit_key, client_public_key, note)
        # What happened while we were at it:
        if account.revoked:
            await _end_quietly(state, session, "token_revoked")
        elif account.spent:
            await _end_quietly(state, session, quota.REASON)
            quota.check(state, account)
    if note is None:
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            await _end_quietly(state, session, "client_closed")
            raise
    return answer(facts, session.row, private_key)


def answer(facts: NodeFacts, row: SessionRow, private_key: bytes | None) -> CreatedSession:
    """What the client of a session gets; the exit's key in it is the session's, whatever came later."""
    return CreatedSession(
        id=row.id,
        public_ip=row.public_ip,
        wg_config=wg_config.render(replace(facts, public_key=row.exit_key), row.address, private_key),
        expires_at=moment(row.expires_at_ns),
        tier=row.tier,
    )


def _check_key(key: bytes, own_key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise BadClientKey(f"client_public_key must be {KEY_BYTES} bytes in base64")
    if is_low_order(key):
        raise BadClientKey("client_public_key is all zero or of low order: no tunnel is possible with it")
    if key == own_key:
        raise BadClientKey("client_public_key is the server's own key")


async def _make(
    state: State,
    account: AccountState,
    public_ip: str,
    exit_key: bytes,
    public_key: bytes,
    note: Note | None,
) -> LiveSession:
    old = state.live_by_key.get(public_key)
    if old is not None and old.row.account_id != account.id:
        raise BadClientKey("client_public_key is in use")
    session_id = names.session_id()
    async with AsyncExitStack() as undo:
        address = _lease(state, old, undo)
        slot = _bind(state, session_id, undo)
        if old is not None:
            await peers.remove(state, public_key)
            undo.push_async_callback(peers.put_back, state, old)
        await peers.install(state, account, public_key, address, slot, exit_key)
        undo.push_async_callback(peers.remove_if_there, state, public_key, slot)
        now_ns, boot_ns = state.wall_ns(), state.boot_ns()
        row = SessionRow(
            id=session_id,
            account_id=account.id,
            tier=account.tier,
            region=state.facts.region,
            public_ip=public_ip,
            public_key=public_key,
            address=address,
            created_at_ns=now_ns,
            expires_at_ns=now_ns + SESSION_LIFETIME_NS,
            exit_key=exit_key,
        )
        session = LiveSession(row, slot, began_boot_ns=boot_ns, ends_boot_ns=boot_ns + SESSION_LIFETIME_NS)
        slot.note_life(session.began_boot_ns, session.ends_boot_ns)
        made = await _commit(state, session, old, note)
        undo.pop_all()
    event(logger, logging.INFO, "session created", session=session_id)
    if old is not None and made.superseded is not None:
        inherited = old.row.address == address
        await ending.let_go(state, old, None if inherited else made.superseded.lease_number)
    return session


def _lease(state: State, old: LiveSession | None, undo: AsyncExitStack) -> IPv4Address:
    address = state.leases.take()
    if address is not None:
        undo.callback(state.leases.put_back, address)
        return address
    if old is not None:
        return old.row.address
    raise SubnetExhausted


def _bind(state: State, session_id: str, undo: AsyncExitStack) -> Slot:
    try:
        slot = state.slots.bind(session_id, generation=1)
    except NoFreeSlot:
        raise SubnetExhausted from None
    undo.callback(state.free_slot, slot)
    return slot


async def _commit(state: State, session: LiveSession, old: LiveSession | None, note: Note | None) -> _Made:
    account = state.account_of(session)
    end = None if old is None else ending.read_final(state, old, "superseded")

    def applied(made: _Made) -> None:
        if old is not None and made.superseded is not None:
            ending.apply_end(state, old, made.superseded)
        account.windows = made.windows
        state.add_live(session)

    try:
        return await state.store.write(lambda connection: _write(connection, session.row, end, note), applied)
    except StoreFailed as error:
        raise StorageUnavailable from error


def _write(connection: Connection, row: SessionRow, end: Ending | None, note: Note | None) -> _Made:
    """One transaction: the old session ends, the new one begins (in the store's thread)."""
    superseded = None if end is None else ending.write_end(connection, end)
    live = sessions.any_live(connection, row.account_id)
    windows = accounts.windows(connection, row.account_id).session_began(row.created_at_ns, live=live)
    accounts.set_windows(connection, row.account_id, windows)
    sessions.add(connection, row)
    leases.lease(connection, row.address, row.id)
    if note is not None:
        note(connection, row)
    return _Made(windows, superseded)


async def _end_quietly(state: State, session: LiveSession, reason: str) -> None:
    try:
        await ending.end(state, session.row.id, reason)
    except Refused as error:
        event(logger, logging.ERROR, "a session nobody wants lives on", session=session.row.id, error=error)
