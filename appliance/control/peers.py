"""Ask the data plane, with a time limit, and put its failures into our words.

Callers are shielded from cancellation: what these functions leave behind must be known.
"""

from __future__ import annotations

import logging
from ipaddress import IPv4Address
from typing import Final

import trio

from appliance.control.errors import BadClientKey, PeerApplyFailed
from appliance.control.state import AccountState, LiveSession, State
from appliance.log import event
from appliance.slots import Slot

logger = logging.getLogger("sallyport.control")

# Local calls that take microseconds. Callers are shielded, and even one whose peer must be taken out again
# is to end within the 5 seconds that a stop may take.
APPLY_SECONDS: Final = 2.0
FORGET_SECONDS: Final = 1.0


async def install(
    state: State, account: AccountState, public_key: bytes, address: IPv4Address, slot: Slot, own_key: bytes
) -> None:
    """Install a peer that knows `own_key` of the exit.

    Raises `BadClientKey` or `PeerApplyFailed`, and then none is installed.
    """
    try:
        with trio.fail_after(APPLY_SECONDS):
            purse = state.purse(account)
            await state.dataplane.add_session(public_key, address, slot.words, purse, own_key=own_key)
    except ValueError as error:
        # The key is a peer's that is not ours to remove.
        raise BadClientKey("this client_public_key cannot be used here") from error
    except Exception as error:
        event(logger, logging.ERROR, "the data plane did not take a peer", error=_kind(error))
        await remove_if_there(state, public_key, slot)
        raise PeerApplyFailed from error


async def remove(state: State, public_key: bytes) -> None:
    """Remove a peer: its counters are final. Raises `PeerApplyFailed`."""
    try:
        with trio.fail_after(APPLY_SECONDS):
            await state.dataplane.remove_session(public_key)
    except Exception as error:
        event(logger, logging.ERROR, "the data plane did not remove a peer", error=_kind(error))
        raise PeerApplyFailed from error


async def remove_if_there(state: State, public_key: bytes, slot: Slot) -> None:
    """Undo an install that may have happened. When even that fails, the slot may still be counted in."""
    try:
        await remove(state, public_key)
    except PeerApplyFailed:
        state.haunted_slots.add(slot)


async def put_back(state: State, session: LiveSession) -> None:
    """Undo a removal: the same peer counts on in the same slot."""
    row = session.row
    try:
        account = state.account_of(session)
        await install(state, account, row.public_key, row.address, session.slot, row.exit_key)
    except (BadClientKey, PeerApplyFailed):
        message = "a session has lost its peer until the next start"
        event(logger, logging.ERROR, message, session=row.id)


async def forget_flows(state: State, address: IPv4Address) -> None:
    """Forget the connections of an address. A failure is the next user's nuisance, not this caller's."""
    try:
        with trio.fail_after(FORGET_SECONDS):
            await state.flows.forget(address)
    except Exception as error:
        message = "connections of a freed address were not forgotten"
        event(logger, logging.WARNING, message, error=_kind(error))


def _kind(error: Exception) -> str:
    """What went wrong, without the words of the error: they may name a key or an address."""
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
