"""Drain: no new session begins, those that live go on; so that an exit can be taken down gently.

Whether we drain is a file in the state directory, there or not: it must survive a restart in the middle of
the wait, and be readable when the database is not. While it is there, creating answers as an exit
without an address does (no active nodes) and no region is listed. A create that was on its way when draining
began may still come to its end.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import trio

from appliance.control.state import State
from appliance.errors import StateError
from appliance.store.state_dir import write_secret

DRAINING: Final = "draining"


def load(state_dir: Path) -> bool:
    """Whether the last word was to drain. Raises `StateError`."""
    try:
        return DRAINING in os.listdir(state_dir)
    except OSError as error:
        raise StateError(f"the state directory {state_dir} cannot be read: {error.strerror}") from error


async def set_draining(state: State, on: bool) -> None:
    """Begin or end to drain; idempotent. Raises `StateError`, then it is as before."""
    path = state.store.path / DRAINING

    def write() -> None:
        if on:
            write_secret(path, b"sallyport drain off\n")
        else:
            path.unlink(missing_ok=True)

    with trio.CancelScope(shield=True):  # file and memory say the same
        try:
            await trio.to_thread.run_sync(write)
        except OSError as error:
            raise StateError(f"{path} cannot be written: {error.strerror}") from error
        state.draining = on
