"""Bearer tokens: made, listed, revoked, and asked about with every request.

Every token is its own account: of tier `paid` without limits, or, made for so many bytes that were paid in
advance, of tier `free` with that limit and no other. A token's secret is shown once and kept as a hash;
looking one up compares hashes of 256 random bits, so how long it takes tells nobody anything.

The operator token is an ordinary one that the first start makes, kept for the operator in the state
directory. The file is written before the row: a start that dies in between leaves a file with a token
that does not work, and the next start replaces it, instead of a token that works and nobody knows.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

import trio
from sqlalchemy import Connection

from appliance.control import ending, names
from appliance.control.errors import BadAmount, Refused, StorageUnavailable, TokenNotFound
from appliance.control.state import AccountState, State, secret_hash
from appliance.control.views import NewToken, OperatorToken, TokenView, moment
from appliance.core.accounting import MOST_PREPAID_BYTES, Windows
from appliance.errors import StateError
from appliance.log import event
from appliance.store import accounts, tokens
from appliance.store.state_dir import write_secret
from appliance.store.tokens import TokenRow
from appliance.store.writer import StoreFailed

logger = logging.getLogger("sallyport.control")

TIER: Final = "paid"
PREPAID_TIER: Final = "free"
OPERATOR_TOKEN: Final = "operator.token"


def authenticate(state: State, secret: str) -> AccountState | None:
    """Whose token this is; None when it is unknown or revoked (deliberately the same)."""
    row = state.tokens_by_hash.get(secret_hash(secret))
    return None if row is None or row.revoked_at_ns is not None else state.accounts[row.account_id]


async def create(state: State, prepaid_bytes: int | None = None) -> NewToken:
    """A new account with a token. Raises `BadAmount`. Whoever has left never saw it: then it is revoked."""
    if prepaid_bytes is not None and not 1 <= prepaid_bytes <= MOST_PREPAID_BYTES:
        raise BadAmount(f"bytes must be a whole number from 1 to {MOST_PREPAID_BYTES}")
    new = NewToken(names.token_id(), names.token_secret())
    await _record(state, new, prepaid_bytes)
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
    except trio.Cancelled:
        with trio.CancelScope(shield=True):
            await _revoke_quietly(state, new.id)
        raise
    return new


def views(state: State) -> list[TokenView]:
    """All tokens, oldest first."""
    rows = sorted(state.tokens.values(), key=lambda row: (row.created_at_ns, row.id))
    return [TokenView(row.id, moment(row.created_at_ns), row.revoked_at_ns is not None) for row in rows]


async def revoke(state: State, token_id: str) -> None:
    """Revoke a token and end its sessions; idempotent. Raises `TokenNotFound`."""
    row = state.tokens.get(token_id)
    if row is None:
        raise TokenNotFound
    if row.revoked_at_ns is None:
        revoked = replace(row, revoked_at_ns=state.wall_ns())

        def write(connection: Connection) -> None:
            tokens.revoke(connection, token_id, revoked.revoked_at_ns or 0)

        try:
            await state.store.write(write, lambda _: state.set_token(revoked))
        except StoreFailed as error:
            raise StorageUnavailable from error
    for session_id in list(state.accounts[row.account_id].live):
        await ending.end(state, session_id, "token_revoked")


async def ensure_operator_token(state: State, state_dir: Path) -> OperatorToken:
    """Keep the operator token in the state directory; make one when there is none that works."""
    path = state_dir / OPERATOR_TOKEN
    try:
        secret = path.read_text(encoding="ascii").strip() if path.exists() else ""
        if secret and authenticate(state, secret) is not None:
            path.chmod(0o600)
            return OperatorToken(created=False, path=str(path), token=secret)
        new = NewToken(names.token_id(), names.token_secret())
        write_secret(path, new.token.encode("ascii") + b"\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(f"the operator token {path} cannot be read or written: {error}") from error
    await _record(state, new)
    return OperatorToken(created=True, path=str(path), token=new.token)


async def _revoke_quietly(state: State, token_id: str) -> None:
    try:
        await revoke(state, token_id)
    except Refused as error:
        event(logger, logging.ERROR, "a token nobody has stays valid", token=token_id, error=error)


async def _record(state: State, new: NewToken, prepaid_bytes: int | None = None) -> None:
    now_ns = state.wall_ns()
    prepaid = prepaid_bytes is not None
    account = AccountState(
        names.account_id(), PREPAID_TIER if prepaid else TIER, Windows(resets=not prepaid), prepaid_bytes
    )
    row = TokenRow(new.id, account.id, secret_hash(new.token), now_ns, revoked_at_ns=None)

    def write(connection: Connection) -> None:
        accounts.add(connection, account.id, account.tier, now_ns, prepaid_bytes)
        tokens.add(connection, row)

    def applied(_: None) -> None:
        state.accounts[account.id] = account
        state.set_token(row)

    try:
        await state.store.write(write, applied)
    except StoreFailed as error:
        raise StorageUnavailable from error
