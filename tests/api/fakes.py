"""A door without a house: `Control`'s methods with sessions in a dict, for the tests of the dialects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from appliance.control.errors import NoNodeInRegion, Refused, SessionNotFound
from appliance.control.idempotency import Once
from appliance.control.views import Account, CreatedSession, RegionView, SessionView, UsageView

TOKEN = "tb-secret-of-alice"
OTHER_TOKEN = "tb-secret-of-bob"
START = datetime(2026, 5, 28, 14, 2, 14, tzinfo=UTC)


class FakeControl:
    """Two accounts, one region. `refuse` is raised by the next create; `before_create` runs in it."""

    def __init__(self, region: str = "ash") -> None:
        self.region = region
        self.accounts = {TOKEN: Account("alice", "paid"), OTHER_TOKEN: Account("bob", "paid")}
        self.sessions: dict[str, tuple[str, SessionView]] = {}
        self.keys: list[bytes | None] = []
        self.refuse: Exception | None = None
        self.once: Once | None = None
        self.before_create: Callable[[], Awaitable[object]] | None = None

    async def authenticate(self, token: str) -> Account | None:
        token.encode("ascii")  # the real one hashes it
        return self.accounts.get(token)

    def regions(self) -> list[RegionView]:
        return [RegionView(self.region, 1)]

    async def create_session(
        self, account: Account, region: str, client_public_key: bytes | None, once: Once | None = None
    ) -> CreatedSession:
        self.once = once
        if self.before_create is not None:
            await self.before_create()
        if self.refuse is not None:
            raise self.refuse
        if region != self.region:
            raise NoNodeInRegion(region, (self.region,))
        self.keys.append(client_public_key)
        session_id = f"tb_{len(self.sessions):06d}"
        view = SessionView(
            id=session_id,
            created_at=START,
            terminated_at=None,
            terminated_reason=None,
            bytes_in=5 << 32,
            bytes_out=7,
            tier="paid",
            quota_bytes_used=(5 << 32) + 7,
            quota_bytes_limit=0,
            quota_seconds_used=840,
            quota_seconds_limit=0,
        )
        self.sessions[session_id] = (account.id, view)
        config = "[Interface]\nAddress = 10.101.0.7/24\n[Peer]\n"
        return CreatedSession(session_id, "51.34.65.83", config, START + timedelta(days=30), "paid")

    async def session(self, account: Account, session_id: str) -> SessionView:
        owner, view = self.sessions.get(session_id, ("", None))
        if owner != account.id or view is None:
            raise SessionNotFound(session_id)
        return view

    async def end_session(self, account: Account | None, session_id: str, reason: str) -> SessionView:
        assert account is not None
        view = await self.session(account, session_id)
        if view.terminated_at is None:
            ended = {"terminated_at": START + timedelta(minutes=30), "terminated_reason": reason}
            view = SessionView(**{**vars(view), **ended})
            self.sessions[session_id] = (account.id, view)
        return view

    async def usage(self, account: Account) -> UsageView:
        return UsageView(
            tier="paid",
            bytes_used=(5 << 32) + 7,
            bytes_limit=0,
            session_seconds=840,
            session_seconds_limit=0,
            max_session_seconds=0,
            bytes_window_resets_at=START + timedelta(days=7),
            seconds_window_resets_at=START + timedelta(days=1),
        )


class UnknownRefusal(Refused):
    """A refusal that no dialect has words for."""
