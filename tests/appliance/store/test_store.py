"""Opening a state directory: made, held, refused; and what was written is there afterwards."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from appliance.errors import InUseError, StateError
from appliance.store.store import Store

ROOT = Path(__file__).parents[3]


def test_a_new_directory(tmp_path):
    state_dir = tmp_path / "deep" / "state"
    old = os.umask(0)
    try:
        store = Store.open(state_dir)
        try:
            assert store.path == state_dir
            assert state_dir.stat().st_mode & 0o7777 == 0o700
            names = {path.name for path in state_dir.iterdir()}
            assert {"lock", "sallyport.db"} <= names
            for path in state_dir.iterdir():
                assert path.stat().st_mode & 0o7777 == 0o600, path
        finally:
            store.close()
    finally:
        os.umask(old)


def test_a_database_that_was_emptied_is_not_taken_for_a_new_one(tmp_path):
    state_dir = tmp_path / "state"
    Store.open(state_dir).close()
    database = state_dir / "sallyport.db"
    assert database.stat().st_size > 0, "from the first moment on"
    os.truncate(database, 0)
    Store.open(state_dir).close()  # a first start that was cut short left nothing else
    for name in ("private.key", "pool", "operator.token"):
        os.truncate(database, 0)
        (state_dir / name).write_text("")
        with pytest.raises(StateError, match=f"damaged: it is empty, and {name}"):
            Store.open(state_dir)
        assert database.stat().st_size == 0, "untouched"
        (state_dir / name).unlink()


def test_a_second_one_is_refused_and_harms_nobody(tmp_path):
    store = Store.open(tmp_path / "state")
    with pytest.raises(InUseError, match=str(tmp_path / "state")):
        Store.open(tmp_path / "state")
    store.close()
    store.close()
    Store.open(tmp_path / "state").close()


def test_the_lock_of_a_killed_process_is_gone(tmp_path):
    script = """
import pathlib, sys, time
from appliance.store.store import Store
store = Store.open(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "state")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(InUseError):
            Store.open(tmp_path / "state")
        child.kill()
    Store.open(tmp_path / "state").close()


async def test_what_was_written_is_there(tmp_path):
    store = Store.open(tmp_path / "state")
    await store.write(lambda c: c.execute(text("CREATE TABLE t (n)")) and None)
    await store.write(lambda c: c.execute(text("INSERT INTO t VALUES (7)")) and None)
    pragmas = ("journal_mode", "synchronous", "foreign_keys")
    values = [await store.read(lambda c, p=p: c.execute(text(f"PRAGMA {p}")).scalar_one()) for p in pragmas]
    assert values == ["wal", 2, 1]
    store.close()
    store = Store.open(tmp_path / "state")
    assert await store.read(lambda c: c.execute(text("SELECT n FROM t")).scalar_one()) == 7
    store.close()


def test_not_made_when_nobody_asked(tmp_path):
    with pytest.raises(StateError, match="no state directory"):
        Store.open(tmp_path / "state", create=False)
    assert list(tmp_path.iterdir()) == []
    Store.open(tmp_path / "state").close()
    Store.open(tmp_path / "state", create=False).close()


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_database(tmp_path, content):
    (tmp_path / "sallyport.db").write_bytes(content)
    with pytest.raises(StateError, match=str(tmp_path)):
        Store.open(tmp_path)
    assert (tmp_path / "sallyport.db").read_bytes() == content
    (tmp_path / "sallyport.db").unlink()
    Store.open(tmp_path).close()  # and the lock was let go


def test_a_page_that_went_bad(tmp_path):
    Store.open(tmp_path).close()
    path = tmp_path / "sallyport.db"
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\x5a" * 4096
    path.write_bytes(content)
    with pytest.raises(StateError, match="database"):
        Store.open(tmp_path)


def test_a_database_of_somebody_else(tmp_path):
    connection = sqlite3.connect(tmp_path / "sallyport.db")
    connection.execute("CREATE TABLE bookmarks (url)")
    connection.commit()
    connection.close()
    with pytest.raises(StateError, match="not one of sallyport"):
        Store.open(tmp_path)


def test_places_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StateError, match="state directory"):
            Store.open(place)
    (tmp_path / "state" / "sallyport.db").mkdir(parents=True)
    with pytest.raises(StateError, match="cannot be used"):
        Store.open(tmp_path / "state")


def test_a_name_that_a_url_would_misread(tmp_path):
    state_dir = tmp_path / "50% ?mode=ro#x"
    Store.open(state_dir).close()
    assert (state_dir / "sallyport.db").exists()
