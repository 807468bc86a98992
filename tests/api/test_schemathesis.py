"""Schemathesis asks a live API whatever its own document allows, and much that it does not.

The door is the real one, over a store on disk and a data plane that takes every peer. It finds no 5xx, no
status and no answer that is not documented, and no way around the token. Two of its checks do not fit: an
ended session can still be read, on purpose, and a good request gets 422 when its idempotency key is used. A
region that is not here is a 503 by contract, every region is here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path
from typing import cast

import pytest
import trio

from api.app import create_app
from api.listener import bind, serve, url
from appliance.control.door import Control
from appliance.control.idempotency import Once
from appliance.control.views import Account, CreatedSession, UsageView
from tests.api.fakes import TOKEN, FakeControl
from tests.api.served import served
from tests.appliance.control.fakes import Exit

_OPTIONS = [
    *["--checks", "all", "--exclude-checks", "use_after_free,positive_data_acceptance"],
    *["--max-examples", "15", "--seed", "1", "--no-color", "--request-timeout", "20"],
]


class _EveryRegion:
    """The door of an exit that is in every region."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def __getattr__(self, name: str) -> object:
        return getattr(self._control, name)

    async def create_session(
        self, account: Account, region: str, client_public_key: bytes | None, once: Once | None = None
    ) -> CreatedSession:
        return await self._control.create_session(account, "local", client_public_key, once)


async def _run(base: str, token: str, directory: Path, *options: str) -> tuple[int, str]:
    program = Path(sys.executable).with_name("schemathesis")
    words = [program, "run", f"{base}/v1/openapi.json", "-H", f"Authorization: Bearer {token}", *options]
    done = await trio.run_process(
        words, cwd=directory, env={**os.environ, "COLUMNS": "160"}, check=False, capture_stdout=True
    )
    made = cast(subprocess.CompletedProcess[bytes], done)
    return made.returncode, bytes(made.stdout).decode()


@pytest.mark.timeout(300)
async def test_nothing_undocumented_and_no_failure(tmp_path: Path) -> None:
    node = Exit(tmp_path, pool=IPv4Network("10.64.0.0/18"))
    node.slot_count = 4096
    async with node, trio.open_nursery() as nursery:
        token = (await node.control.create_token()).token
        sockets, shutdown = bind("127.0.0.1", 0), trio.Event()
        app = create_app(cast(Control, _EveryRegion(node.control)))
        await nursery.start(serve, app, sockets, shutdown)
        code, said = await _run(url(sockets), token, tmp_path, *_OPTIONS)
        shutdown.set()
    assert code == 0, said
    assert "Selected: 5/5" in said
    assert "Tested: 5" in said
    made = [key for what, key in node.plane.log if what == "add"]
    assert len(made) >= 10, "it made no sessions"


async def test_it_finds_what_is_wrong(tmp_path: Path) -> None:
    class Flawed(FakeControl):
        async def usage(self, account: Account) -> UsageView:
            raise RuntimeError("a bug")

    options = ["--include-path", "/v1/usage", "--phases", "fuzzing", "--max-examples", "1", "--no-color"]
    async with served(Flawed()) as base:
        code, said = await _run(base, TOKEN, tmp_path, *options)
    assert code == 1, said
    assert "Server error" in said
