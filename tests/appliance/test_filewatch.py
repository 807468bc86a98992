"""Waiting for a file's removal: deleted, replaced, already gone."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.filewatch import wait_removed


@pytest.mark.parametrize("how", ["unlink", "rename away", "replace"])
async def test_returns_when_the_name_no_longer_means_the_file(
    tmp_path: Path, nursery: trio.Nursery, how: str
) -> None:
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        done = trio.Event()

        async def watch() -> None:
            await wait_removed(str(path))
            done.set()

        nursery.start_soon(watch)
        await trio.testing.wait_all_tasks_blocked()
        assert not done.is_set()
        if how == "unlink":
            path.unlink()
        elif how == "rename away":
            path.rename(tmp_path / "y.sock")
        else:
            other = tmp_path / "other"
            other.touch()
            other.rename(path)
        with trio.fail_after(10):
            await done.wait()


async def test_a_missing_file_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nothing"):
        await wait_removed(str(tmp_path / "nothing"))
