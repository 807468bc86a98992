"""A restore is whole or not at all, keeps what was there, and is refused before anything is touched."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from appliance.errors import InUseError, StateError, UserError
from appliance.store import backup
from appliance.store import restore as module
from appliance.store.restore import restore
from appliance.store.store import Store
from tests.appliance.control.fakes import Exit, key

KEY = "y8x2rAYhGhmjg8JHGCo2QJ0yV1vJY0Vb3kgy0Jg1lXo="


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A backup of an exit with one live session and an ended one."""

    async def run() -> Path:
        place = tmp_path / "first"
        place.mkdir()
        async with Exit(place) as node:
            (place / "state" / "private.key").write_text(KEY + "\n")
            (place / "state" / "pool").write_text("10.101.0.0/24\n")
            account = await node.account()
            await node.create(account, key(1))
            node.plane.count(key(1), 1000, 10)
            ended, _, _ = await node.create(account, key(2))
            await node.control.end_session(account, ended, "client_closed")
            return (await node.control.backup()).rename(tmp_path / "x.backup")

    return trio.run(run)


def listing(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def live(state: Path) -> list[str]:
    database = sqlite3.connect(state / "sallyport.db")
    try:
        query = "SELECT public_key FROM sessions WHERE terminated_at_ns IS NULL"
        return [row[0] for row in database.execute(query)]
    finally:
        database.close()


def test_into_an_empty_place(tmp_path, file):
    state = tmp_path / "second" / "state"
    done = restore(file, state)
    assert (done.live_sessions, done.kept) == (1, None)
    assert {path.name for path in state.iterdir()} == {"lock", "sallyport.db", "private.key", "pool"}
    assert {path.stat().st_mode & 0o777 for path in state.iterdir()} == {0o600}
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "private.key").read_text() == KEY + "\n"

    async def run() -> None:
        async with Exit(tmp_path / "second") as node:
            assert list(node.plane.peers) == [key(1)]
            (row,) = await node.control.list_sessions()
            assert (row.bytes_in, row.bytes_out) == (1000, 10)

    trio.run(run)


def test_over_another_state_which_is_kept(tmp_path, file):
    async def run() -> None:
        async with Exit(tmp_path / "first") as node:
            await node.create(await node.account(), key(3))
            (tmp_path / "first" / "state" / "operator.token").write_text("sp_old\n")
            (tmp_path / "first" / "state" / "private.key").write_text("other\n")
            (tmp_path / "first" / "state" / "private.key.old").write_text("older\n")

    trio.run(run)
    state = tmp_path / "first" / "state"
    (state / "network.json").write_text("{}")
    done = restore(file, state)
    assert done.kept is not None
    assert done.kept.parent == state
    assert live(state) == [key(1)]
    assert set(live(done.kept)) == {key(1), key(3)}
    assert (done.kept / "operator.token").read_text() == "sp_old\n"
    assert (done.kept / "private.key").read_text() == "other\n"
    assert (done.kept / "private.key.old").read_text() == "older\n"
    assert not (state / "operator.token").exists()  # it is not the restored exit's
    assert not (state / "private.key.old").exists()
    assert (state / "network.json").read_text() == "{}"
    assert not list(state.glob("*.part"))
    assert not (state / "restoring").exists()
    again = restore(file, state)
    assert again.kept not in (None, done.kept)


def test_no_file_of_the_old_database_is_read_into_the_new(tmp_path, file):
    """A write-ahead log that stayed would be replayed into whatever database it finds."""
    state = tmp_path / "first" / "state"
    script = (
        "import os, pathlib, sys, trio\n"
        "from sqlalchemy import text; from appliance.store.store import Store\n"
        "store = Store.open(pathlib.Path(sys.argv[1]))\n"
        "trio.run(store.write, lambda c: c.execute(text('CREATE TABLE left_over (n)')) and None)\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, state], check=True)
    assert (state / "sallyport.db-wal").stat().st_size > 0
    done = restore(file, state)
    assert done.kept is not None
    assert (done.kept / "sallyport.db-wal").exists()
    assert not (state / "sallyport.db-wal").exists()
    tables = "SELECT count(*) FROM sqlite_master WHERE name = 'left_over'"
    for place, count in ((state, 0), (done.kept, 1)):
        database = sqlite3.connect(place / "sallyport.db")
        assert database.execute(tables).fetchone() == (count,)
        database.close()


def test_a_running_process_is_left_alone(tmp_path, file):
    state = tmp_path / "first" / "state"
    store = Store.open(state)
    before = listing(state)
    with pytest.raises(InUseError):
        restore(file, state)
    assert listing(state) == before
    store.close()


def rebuilt(file: Path, tmp_path: Path, change) -> Path:
    """The same backup after a change to its files, with checksums that fit."""
    parts = tmp_path / "parts"
    parts.mkdir()
    schema = change(parts, backup.unpack(file, parts)) or backup.verify(file).schema
    others = {name: (parts / name).read_bytes() for name in backup.OTHERS if (parts / name).exists()}
    with (tmp_path / "bad.backup").open("wb") as bad:
        backup._write(bad, schema, backup.Snapshot(parts / backup.DATABASE, others))
    return tmp_path / "bad.backup"


def bad_key(parts: Path, _) -> None:
    (parts / "private.key").write_text("short\n")


def bad_old_key(parts: Path, _) -> None:
    (parts / "private.key.old").write_text("short\n")


def bad_pool(parts: Path, _) -> None:
    (parts / "pool").write_text("10.0.0.1/24\n")


def bad_database(parts: Path, _) -> None:
    (parts / "sallyport.db").write_bytes(os.urandom(8192))


def broken_page(parts: Path, _) -> None:
    content = bytearray((parts / "sallyport.db").read_bytes())
    content[4096:8192] = bytes(4096)
    (parts / "sallyport.db").write_bytes(content)


def other_schema(parts: Path, _) -> None:
    database = sqlite3.connect(parts / "sallyport.db")
    database.execute("UPDATE alembic_version SET version_num = '0000'")
    database.commit()
    database.close()


def newer(_parts: Path, _) -> str:
    return "9999"


@pytest.mark.parametrize("change", [bad_key, bad_pool, bad_database, broken_page, other_schema, newer])
def test_what_cannot_be_used_is_refused_and_nothing_is_touched(tmp_path, file, change):
    bad = rebuilt(file, tmp_path, change)
    backup.verify(bad)
    state = tmp_path / "first" / "state"
    before = listing(state)
    with pytest.raises(UserError, match=str(bad)) as refused:
        restore(bad, state)
    assert "\n" not in str(refused.value)
    assert listing(state) == before
    assert sorted(path.name for path in state.iterdir()) == sorted(before)


def test_a_move_that_fails_is_undone(tmp_path, file, monkeypatch):
    state = tmp_path / "first" / "state"
    before = listing(state)
    real, moves = os.rename, []

    def rename(source, target) -> None:
        moves.append(target)
        if len(moves) == 5:
            raise OSError(28, "No space left on device", str(target))
        real(source, target)

    monkeypatch.setattr(module.os, "rename", rename)
    with pytest.raises(StateError, match="nothing was changed"):
        restore(file, state)
    assert len(moves) > 5
    assert listing(state) == before
    Store.open(state).close()


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6])
def test_a_kill_between_two_moves_is_noticed_and_can_be_repeated(tmp_path, file, number):
    state = tmp_path / "first" / "state"
    script = f"""
import os, pathlib, sys
from appliance.store import restore
real, moves = os.rename, []
def rename(source, target):
    moves.append(target)
    if len(moves) == {number}:
        os._exit(9)
    real(source, target)
restore.os.rename = rename
restore.restore(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
"""
    done = subprocess.run([sys.executable, "-c", script, file, state], check=False)
    assert done.returncode == 9
    with pytest.raises(StateError, match="cut short"):
        Store.open(state)
    restore(file, state)
    assert live(state) == [key(1)]
    assert (state / "private.key").read_text() == KEY + "\n"
    Store.open(state).close()
    assert not list(state.glob("*.part"))
