"""Take up where the last process stopped, or was killed.

What is true after a kill at any instant: the rows say which sessions live; the counter file says what
was counted, for bound slots. So, in this order:

1. every bound slot of a known session is settled, live or ended (what is settled already costs nothing);
2. a live session goes on counting in its slot, unless the slot is gone, is of an older generation, shows less
   than the ledger, or is from another boot (power loss): then it gets a new slot and a new generation;
3. all other bound slots are freed: their session ended, or was never committed;
4. live sessions whose time is over, whose address the pool no longer holds, whose token is revoked or whose
   account is spent end;
5. the others' peers are installed.

Ages and ends live on the boot clock and do not follow the steps of the wall clock: within one boot the slots
remember them; after a reboot they are put there anew, from the wall clock.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from ipaddress import IPv4Address

from sqlalchemy import Connection

from appliance.control import ending, peers, quota
from appliance.control.charging import Reading, charge
from appliance.control.errors import BadClientKey
from appliance.control.state import AccountState, LiveSession, State
from appliance.core.accounting import Counts
from appliance.core.leases import Leases
from appliance.errors import StateError
from appliance.log import event
from appliance.slots import NoFreeSlot, Slot
from appliance.store import accounts, leases, ledger, sessions, tokens
from appliance.store.accounts import AccountRow
from appliance.store.sessions import SessionRow
from appliance.store.tokens import TokenRow

logger = logging.getLogger("sallyport.control")


@dataclass(frozen=True)
class _Rows:
    """What the database knows once the slots are settled."""

    accounts: list[AccountRow]
    tokens: list[TokenRow]
    live: list[SessionRow]
    settled: dict[str, dict[int, Counts]]
    freed: list[tuple[int, IPv4Address]]


async def start(state: State, *, serve: bool) -> None:
    """Load the state and, with `serve`, let the sessions go on."""
    slots = state.slots.bound()
    now_ns = state.wall_ns()
    key = None if state.keys is None else state.keys.public_key
    rows = await state.store.write(lambda connection: _settle_and_load(connection, slots, now_ns, key))
    for account in rows.accounts:
        state.accounts[account.id] = AccountState(
            account.id, account.tier, account.windows, account.prepaid_bytes, account.spent
        )
    for token in rows.tokens:
        state.set_token(token)
    state.leases = Leases(state.facts.pool, (row.address for row in rows.live), rows.freed)
    for row in rows.live:
        state.add_live(_take_up(state, row, rows.settled.get(row.id, {}), slots, serve=serve))
    taken = {session.slot.index for session in state.live.values()}
    for slot in slots:
        if slot.index not in taken:
            state.slots.free(slot)
    if serve:
        for session in list(state.live.values()):
            await _serve(state, session)
    state.slots.note_boot()  # last: a start that dies before this leaves it to the next one to see the reboot


def _settle_and_load(connection: Connection, slots: list[Slot], now_ns: int, key: bytes | None) -> _Rows:
    if key is not None:
        # A session that does not know which key it was told is older than the first rotation.
        sessions.note_exit_key(connection, key)
    readings = []
    for slot in slots:
        account_id = sessions.account_of(connection, slot.session_id)
        if account_id is not None:
            readings.append(Reading(account_id, (slot.session_id, slot.generation), slot.counts()))
    charge(connection, readings, now_ns)
    return _Rows(
        accounts.load(connection),
        tokens.load(connection),
        sessions.load_live(connection),
        ledger.of_live_sessions(connection),
        leases.load_freed(connection),
    )


def _take_up(
    state: State, row: SessionRow, settled: dict[int, Counts], slots: list[Slot], *, serve: bool
) -> LiveSession:
    latest = max(settled, default=0)
    mine = max(
        (slot for slot in slots if slot.session_id == row.id), key=lambda slot: slot.generation, default=None
    )
    life = mine.life_ns() if mine is not None and state.slots.same_boot else None
    if mine is None or not _good(state, mine, latest, settled):
        generation = max(latest, mine.generation if mine is not None else 0) + 1
        mine = _new_slot(state, row.id, generation) if serve else Slot.detached(row.id, generation)
    if life is None:
        boot_ns, wall_ns = state.boot_ns(), state.wall_ns()
        life = boot_ns - max(0, wall_ns - row.created_at_ns), boot_ns + row.expires_at_ns - wall_ns
    mine.note_life(*life)
    return LiveSession(
        row,
        mine,
        began_boot_ns=life[0],
        ends_boot_ns=life[1],
        earlier=sum((counts for number, counts in settled.items() if number != mine.generation), Counts()),
        settled=settled.get(mine.generation, Counts()),
    )


def _good(state: State, slot: Slot, latest: int, settled: dict[int, Counts]) -> bool:
    """Whether a session may go on counting in this slot."""
    return (
        state.slots.same_boot
        and slot.generation >= latest
        and slot.counts().covers(settled.get(slot.generation, Counts()))
    )


def _new_slot(state: State, session_id: str, generation: int) -> Slot:
    try:
        return state.slots.bind(session_id, generation)
    except NoFreeSlot:
        raise StateError(f"the counter file {state.slots.path} is too small for the live sessions") from None


async def _serve(state: State, session: LiveSession) -> None:
    """Install a live session's peer, or end the session when it cannot go on."""
    account, reason = state.account_of(session), None
    if session.ends_boot_ns <= state.boot_ns():
        reason = "expired"
    elif not state.leases.holds(session.row.address):
        reason = "node_drained"
    elif account.revoked:
        reason = "token_revoked"
    elif quota.is_spent(state, account):
        reason = quota.REASON
    else:
        try:
            row = session.row
            await peers.install(state, account, row.public_key, row.address, session.slot, row.exit_key)
        except BadClientKey:
            reason = "node_lost"
    if reason is not None:
        event(logger, logging.WARNING, "a session cannot go on", session=session.row.id, reason=reason)
        await ending.end_unserved(state, session, reason)
