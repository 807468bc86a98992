"""The one door: every request that touches money or state goes through `Control`.

The dialects in `api/`, the operator socket and the timers call it; below it are the store, the counter
slots, the data plane and the host's connection tracking. Each noun has its file here; this one only says
what can be asked, and in which order things start:

    control = Control(...)          # nothing happens yet
    await control.start()           # state loaded, peers installed; or StateError, StorageUnavailable
    nursery.start_soon(control.run) # timers, until cancelled
    ... requests ...
    await control.settle()          # at the very end, before the pump stops and the store is closed

Refusals are the types of `errors.py`, answers the records of `views.py`. What was answered is committed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio

from appliance.control import (
    creating,
    draining,
    ending,
    regions,
    sessions,
    starting,
    ticks,
    tokens,
    upkeep,
    usage,
)
from appliance.control.errors import SessionNotFound
from appliance.control.expiry import Expiry
from appliance.control.idempotency import Idempotency, Once
from appliance.control.patience import Patience
from appliance.control.ports import DataPlane, ExitKeys, Flows, NodeFacts
from appliance.control.quota import Quota
from appliance.control.rotation import Rotation
from appliance.control.state import AccountState, State
from appliance.control.ticks import Ticks
from appliance.control.views import (
    Account,
    CreatedSession,
    Keys,
    NewToken,
    OperatorToken,
    RegionView,
    SessionRow,
    SessionView,
    TokenView,
    UsageView,
)
from appliance.core.leases import Leases
from appliance.slots import SlotFile
from appliance.store.store import Store


class Control:
    """Sessions, tokens and usage of one exit."""

    def __init__(
        self,
        *,
        store: Store,
        slots: SlotFile,
        dataplane: DataPlane,
        flows: Flows,
        facts: NodeFacts,
        wall: Callable[[], float],
        boot: Callable[[], int],
        rearm: Callable[[], None],
        keys: ExitKeys | None,
    ) -> None:
        """`wall` is the wall clock in seconds, `boot` CLOCK_BOOTTIME in ns; `rearm` arms `counted` again.

        `keys` are those of the exit, whose present one `facts` tells; None when it has none yet.
        """
        self._state = State(
            store=store,
            slots=slots,
            dataplane=dataplane,
            flows=flows,
            facts=facts,
            wall=wall,
            boot_ns=boot,
            rearm=rearm,
            leases=Leases(facts.pool),
            keys=keys,
        )
        self._quota = Quota(self._state)
        self._ticks = Ticks(self._state, self._quota)
        self._expiry = Expiry(self._state)
        self._idempotency = Idempotency(self._state)
        self._rotation = Rotation(self._state)
        self._patience = Patience()

    async def start(self, *, serve: bool = True) -> None:
        """Load the state, settle what the last process left and install the live sessions' peers.

        `serve` False is for a command that works on the state while no process runs: no peers, no ends.
        """
        self._state.draining = draining.load(self._state.store.path)
        await starting.start(self._state, serve=serve)
        await self._rotation.retire()

    async def run(self) -> None:
        """The timers, settling and expiry, the ends of spent accounts and of old keys. Never returns."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._patience.run)
            nursery.start_soon(self._quota.run)
            nursery.start_soon(self._ticks.run)
            nursery.start_soon(self._expiry.run)
            nursery.start_soon(self._rotation.run)

    def counted(self) -> None:
        """The data plane counted its first byte since `rearm` was called."""
        self._ticks.counted()

    def purse_shut(self, account_id: str) -> None:
        """The data plane refused a packet that did not fit the account's purse: its sessions end."""
        self._quota.purse_shut(account_id)

    def static_left(self) -> None:
        """A peer that is no session is gone, or knows the exit by its present key now."""
        self._state.old_key_left.set()

    async def settle(self) -> None:
        """Commit all counters as they stand now. Raises `StorageUnavailable`."""
        await ticks.settle(self._state)

    async def check_storage(self) -> None:
        """Return once the database has taken a transaction. Raises `StorageUnavailable`."""
        await upkeep.check(self._state)

    async def backup(self) -> Path:
        """Settle, and make a backup in the state directory. Raises `StorageUnavailable`, `StateError`."""
        return await upkeep.backup(self._state)

    async def keys(self) -> Keys:
        """The exit's public keys, and who still knows it by the old one."""
        return await self._rotation.view()

    async def rotate_key(self) -> Keys:
        """A new key for the exit; those who know the present one keep it. Raises `KeyInUse`, `StateError`."""
        return await self._rotation.rotate()

    async def retire_old_key(self) -> None:
        """Erase the old key if nobody needs it; while `run` runs that happens by itself."""
        await self._rotation.retire()

    async def authenticate(self, token: str) -> Account | None:
        """Whose token this is; None when it is unknown or revoked."""
        account = tokens.authenticate(self._state, token)
        return None if account is None else Account(account.id, account.tier)

    async def create_token(self, prepaid_bytes: int | None = None) -> NewToken:
        """A new account with a token, prepaid when a number of bytes is given.

        Raises `BadAmount`, `StorageUnavailable`.
        """
        return await self._patience.with_(lambda: tokens.create(self._state, prepaid_bytes))

    async def list_tokens(self) -> list[TokenView]:
        """All tokens, oldest first."""
        return tokens.views(self._state)

    async def revoke_token(self, token_id: str) -> None:
        """Revoke a token and end its sessions; idempotent. Raises `TokenNotFound`, `StorageUnavailable`."""
        await self._patience.with_(lambda: tokens.revoke(self._state, token_id))

    async def ensure_operator_token(self, state_dir: Path) -> OperatorToken:
        """The token in `state_dir`/operator.token, made and written there when there is none that works."""
        return await tokens.ensure_operator_token(self._state, state_dir)

    def regions(self) -> list[RegionView]:
        """Regions that can carry a session now."""
        return [] if self._state.draining else regions.view(self._state.facts)

    @property
    def draining(self) -> bool:
        """Whether no new sessions begin."""
        return self._state.draining

    async def drain(self, on: bool) -> None:
        """Let no new session begin, or let them again; lasts over restarts. Raises `StateError`."""
        await draining.set_draining(self._state, on)

    async def create_session(
        self, account: Account, region: str, client_public_key: bytes | None, once: Once | None = None
    ) -> CreatedSession:
        """Make a session. Raises any of `errors.py` about creating; then nothing is left behind.

        With `once` it is the same session for the same key and body, however often it is asked for.
        """
        owner = self._account(account)

        async def make() -> CreatedSession:
            try:
                if once is not None:
                    return await self._idempotency.create(owner, region, client_public_key, once)
                return await creating.create(self._state, owner, region, client_public_key)
            finally:
                self._expiry.session_made()

        return await self._patience.with_(make)

    async def session(self, account: Account | None, session_id: str) -> SessionView:
        """One session of this account; `account` None is the operator. Raises `SessionNotFound`."""
        owner = None if account is None else self._account(account)
        return await sessions.view(self._state, owner, session_id)

    async def end_session(self, account: Account | None, session_id: str, reason: str) -> SessionView:
        """End a session and tell its final state; `account` None is the operator.

        An ended session stays as it is and is told again. Raises `SessionNotFound`, `PeerApplyFailed`,
        `StorageUnavailable`.
        """
        owner = None if account is None else self._account(account)

        async def end() -> SessionView:
            if sessions.owned_live(self._state, owner, session_id):
                await ending.end(self._state, session_id, reason)
            return await sessions.view(self._state, owner, session_id)

        return await self._patience.with_(end)

    async def usage(self, account: Account) -> UsageView:
        """The account's two windows."""
        return usage.view(self._state, self._account(account))

    async def list_sessions(self) -> list[SessionRow]:
        """All live sessions, oldest first."""
        return sessions.rows(self._state)

    def _account(self, account: Account) -> AccountState:
        found = self._state.accounts.get(account.id)
        if found is None:
            raise SessionNotFound
        return found
