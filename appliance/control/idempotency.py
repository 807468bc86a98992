"""Creates that can be repeated: the same key and body give the same answer, not a second session.

For 24 hours. The key is written in the transaction that makes the session, so that no crash can come between
the two. From then on the database decides. The answer is made again from its rows, but for a private key of
our making: that is nowhere on disk, so such an answer is kept in memory, and gone with the process.

A repetition that comes while the first is under way waits for it. A refused create leaves no key: it can be
repeated until it succeeds. A client with a key may hang up and ask again, so its session stays although the
answer had no reader. 24 hours are by the wall clock, as the database knows no other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from appliance.control import creating
from appliance.control.errors import (
    AnswerGone,
    KeyReused,
    QuotaExceeded,
    StorageUnavailable,
    TooManyKeys,
)
from appliance.control.state import AccountState, State
from appliance.control.views import CreatedSession, moment
from appliance.store import idempotency as keys
from appliance.store import sessions
from appliance.store.idempotency import KeyRow
from appliance.store.sessions import SessionRow
from appliance.store.writer import StoreFailed

KEPT_NS: Final = 24 * 3600 * 1_000_000_000
KEYS_PER_ACCOUNT: Final = 4096


@dataclass(frozen=True)
class Once:
    """What a client says to be recognised: its key, and the body that goes with it."""

    key: str
    body: bytes

    @property
    def key_sha256(self) -> bytes:
        return hashlib.sha256(self.key.encode()).digest()

    @property
    def body_sha256(self) -> bytes:
        return hashlib.sha256(self.body).digest()


class Idempotency:
    """Creates with a key, over one state."""

    def __init__(self, state: State) -> None:
        self._state = state
        # Answers that hold a private key, by session, in the order of their age: (when in ns of the boot
        # clock, answer).
        self._answers: dict[str, tuple[int, CreatedSession]] = {}

    async def create(
        self, account: AccountState, region: str, client_public_key: bytes | None, once: Once
    ) -> CreatedSession:
        """`creating.create`, once. Raises `KeyReused`, `AnswerGone`, `TooManyKeys` and what that raises."""
        state, key_sha256 = self._state, once.key_sha256
        self._forget_old_answers()
        async with state.turns.of(account.id.encode() + b" " + key_sha256):
            since_ns = state.wall_ns() - KEPT_NS
            known = await self._known(account, key_sha256, since_ns)
            if isinstance(known, tuple):
                return self._again(*known, once)

            def note(connection: Connection, row: SessionRow) -> None:
                config = creating.answer(state.facts, row, None).wg_config if client_public_key else None
                used = KeyRow(account.id, key_sha256, once.body_sha256, row.id, config, row.created_at_ns)
                keys.add(connection, used, since_ns)

            try:
                made = await creating.create(state, account, region, client_public_key, note)
            except QuotaExceeded:
                # The session was there for a moment, and the key with it.
                await self._forget(account, key_sha256)
                raise
            if client_public_key is None:
                self._answers[made.id] = state.boot_ns(), made
            return made

    async def _known(
        self, account: AccountState, key_sha256: bytes, since_ns: int
    ) -> tuple[KeyRow, SessionRow] | None:
        """The key's row and its session's; None when the key is new. Raises `TooManyKeys`."""

        def look(connection: Connection) -> tuple[KeyRow, SessionRow] | int:
            row = keys.find(connection, account.id, key_sha256, since_ns)
            if row is None:
                return keys.count(connection, account.id, since_ns)
            return row, sessions.made(connection, row.session_id)

        try:
            found = await self._state.store.read(look)
        except StoreFailed as error:
            raise StorageUnavailable from error
        if isinstance(found, int):
            if found >= KEYS_PER_ACCOUNT:
                raise TooManyKeys
            return None
        return found

    def _again(self, used: KeyRow, session: SessionRow, once: Once) -> CreatedSession:
        if used.body_sha256 != once.body_sha256:
            raise KeyReused
        if used.wg_config is None:
            if session.id not in self._answers:
                raise AnswerGone
            return self._answers[session.id][1]
        return CreatedSession(
            id=session.id,
            public_ip=session.public_ip,
            wg_config=used.wg_config,
            expires_at=moment(session.expires_at_ns),
            tier=session.tier,
        )

    def _forget_old_answers(self) -> None:
        before_ns = self._state.boot_ns() - KEPT_NS
        for session_id, (at_ns, _) in list(self._answers.items()):
            if at_ns > before_ns:
                break
            del self._answers[session_id]

    async def _forget(self, account: AccountState, key_sha256: bytes) -> None:
        try:
            await self._state.store.write(lambda connection: keys.forget(connection, account.id, key_sha256))
        except StoreFailed as error:
            raise StorageUnavailable from error
