"""The one door: every request that touches money or state goes through `Control`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.control.ports import DataPlane, Flows, NodeFacts
from appliance.control.views import (
    Account,
    CreatedSession,
    NewToken,
    OperatorToken,
    RegionView,
    SessionRow,
    SessionView,
    TokenView,
    UsageView,
)


class Control:
    def __init__(
        self,
        *,
        store: Any,
        slots: Any,
        dataplane: DataPlane,
        flows: Flows,
        facts: NodeFacts,
        wall: Callable[[], float],
        boot: Callable[[], int],
        rearm: Callable[[], None],
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        raise NotImplementedError

    async def run(self) -> None:
        raise NotImplementedError

    def counted(self) -> None:
        raise NotImplementedError

    async def settle(self) -> None:
        raise NotImplementedError

    async def authenticate(self, token: str) -> Account | None:
        raise NotImplementedError

    async def create_token(self) -> NewToken:
        raise NotImplementedError

    async def list_tokens(self) -> list[TokenView]:
        raise NotImplementedError

    async def revoke_token(self, token_id: str) -> None:
        raise NotImplementedError

    async def ensure_operator_token(self, state_dir: Path) -> OperatorToken:
        raise NotImplementedError

    def regions(self) -> list[RegionView]:
        raise NotImplementedError

    async def create_session(
        self, account: Account, region: str, client_public_key: bytes | None
    ) -> CreatedSession:
        raise NotImplementedError

    async def session(self, account: Account, session_id: str) -> SessionView:
        raise NotImplementedError

    async def end_session(self, account: Account | None, session_id: str, reason: str) -> SessionView:
        raise NotImplementedError

    async def usage(self, account: Account) -> UsageView:
        raise NotImplementedError

    async def list_sessions(self) -> list[SessionRow]:
        raise NotImplementedError
