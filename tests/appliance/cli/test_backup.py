"""`backup FILE` with no process running, and through one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from appliance import operator
from appliance.cli import main
from appliance.store.backup import verify
from tests.appliance.control.fakes import Exit, key

Captured = pytest.CaptureFixture[str]


def test_without_a_process(state_dir: Path, tmp_path: Path, capsys: Captured) -> None:
    where = ["--state-dir", str(state_dir)]
    file = tmp_path / "x.backup"
    main(["token", "create", *where])
    capsys.readouterr()
    assert main(["backup", str(file), *where]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (f"backup {file}: {file.stat().st_size} bytes, sallyport.db\n", "")
    assert file.stat().st_mode & 0o777 == 0o600
    verify(file)
    file.write_text("an older one")
    assert main(["backup", str(file), "--json", *where]) == 0
    told = json.loads(capsys.readouterr().out)
    manifest = verify(file)
    assert told == {
        "file": str(file),
        "bytes": file.stat().st_size,
        "made_at": manifest.made_at,
        "program": manifest.program,
        "schema": manifest.schema,
        "contains": ["sallyport.db"],
    }
    assert not list(state_dir.glob("backup-*"))
    assert {path.name for path in tmp_path.iterdir()} == {"state", "x.backup", "test.slots"}


async def test_through_a_running_process(tmp_path: Path, capsys: Captured) -> None:
    state, file = tmp_path / "state", tmp_path / "x.backup"
    async with Exit(tmp_path) as node, trio.open_nursery() as nursery:
        await nursery.start(operator.serve, node.control, state)
        await node.create(await node.account(), key(1))
        node.plane.count(key(1), 1000, 10)
        code = await trio.to_thread.run_sync(main, ["backup", str(file), "--state-dir", str(state)])
        assert code == 0
        nursery.cancel_scope.cancel()
    verify(file)
    assert not list(state.glob("backup-*"))
    state.rename(tmp_path / "lost")
    capsys.readouterr()
    code = await trio.to_thread.run_sync(main, ["restore", str(file), "--json", "--state-dir", str(state)])
    assert (code, json.loads(capsys.readouterr().out)["live_sessions"]) == (0, 1)
    (tmp_path / "test.slots").unlink()  # another host
    async with Exit(tmp_path) as node:
        (row,) = await node.control.list_sessions()
        assert (row.bytes_in, row.bytes_out) == (1000, 10)


def test_places_that_cannot_be_written(state_dir: Path, tmp_path: Path, capsys: Captured) -> None:
    where = ["--state-dir", str(state_dir)]
    assert main(["backup", str(tmp_path / "x"), *where]) == 5
    main(["token", "create", *where])
    capsys.readouterr()
    for place in (tmp_path, tmp_path / "missing" / "x"):
        assert main(["backup", str(place), *where]) == 1
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
    assert not list(state_dir.glob("backup-*"))
