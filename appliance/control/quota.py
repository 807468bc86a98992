"""Quotas: no session for an account that is spent, and an end for those it has.

The data plane holds each prepaid account's purse and refuses, by itself and to the packet, what does not fit.
What is left to do here takes its time without letting a byte through: the first refused packet is reported
by `purse_shut`, from that moment the account is spent, and all its sessions end, side by side. Their ends
write down that it is (`ending.py`), so that the last few bytes, too few for a packet, make nobody a session
after a restart either. A session whose end cannot be written lives on with a purse that stays empty, and
its end is tried again.

An account that was used up to the last byte shuts its purse only with the next packet; the settle tick
looks for those (`look`).
"""

from __future__ import annotations

import logging
from typing import Final

import trio

from appliance.control import ending, usage
from appliance.control.errors import QuotaExceeded, Refused
from appliance.control.state import AccountState, State
from appliance.log import event

logger = logging.getLogger("sallyport.control")

REASON: Final = "quota_exceeded"

_RETRY_SECONDS: Final = 10.0


def is_spent(state: State, account: AccountState) -> bool:
    """Whether not another packet of the account will be let through; once it is, it stays so."""
    if not account.spent:
        purse = state.purse(account)
        account.spent = purse is not None and purse.left_bytes == 0
    return account.spent


def check(state: State, account: AccountState) -> None:
    """Raises `QuotaExceeded` for an account that is spent."""
    if is_spent(state, account):
        raise QuotaExceeded(usage.view(state, account))


class Quota:
    """Ends the sessions of accounts that are spent."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._reported: set[str] = set()
        self._ending: set[str] = set()
        self._woken = trio.Event()

    def purse_shut(self, account_id: str) -> None:
        """A packet of that account did not fit. May be said any number of times."""
        account = self._state.accounts.get(account_id)
        if account is not None:
            account.spent = True
            self._reported.add(account_id)
            self._woken.set()

    def look(self) -> None:
        """Find the accounts that used the last byte and have sent no packet since."""
        for account_id in {session.row.account_id for session in self._state.live.values()}:
            if is_spent(self._state, self._state.accounts[account_id]):
                self.purse_shut(account_id)

    async def run(self) -> None:
        """End what is to end, for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._woken.wait()
                self._woken = trio.Event()
                fresh = self._reported - self._ending
                self._reported.clear()
                for account_id in fresh:
                    self._ending.add(account_id)
                    nursery.start_soon(self._end_all, self._state.accounts[account_id])

    async def _end_all(self, account: AccountState) -> None:
        """End all sessions of an account, however often that takes."""
        event(logger, logging.INFO, "an account is spent", account=account.id, sessions=len(account.live))
        while account.live:
            failed: list[str] = []
            async with trio.open_nursery() as nursery:
                for session_id in account.live:
                    nursery.start_soon(self._end, session_id, failed)
            if failed:
                await trio.sleep(_RETRY_SECONDS)
        self._ending.discard(account.id)

    async def _end(self, session_id: str, failed: list[str]) -> None:
        try:
            await ending.end(self._state, session_id, REASON)
        except Refused as error:
            message = "a session of a spent account lives on; trying again"
            event(logger, logging.ERROR, message, session=session_id, error=type(error).__name__)
            failed.append(session_id)
