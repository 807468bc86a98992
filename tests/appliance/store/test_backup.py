"""A backup holds what was committed, for its owner alone, and says so when anything about it is wrong."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
import trio
from sqlalchemy import text

from appliance import __version__
from appliance.control.tokens import OPERATOR_TOKEN
from appliance.errors import StateError, UserError
from appliance.keys import OLD_PRIVATE_KEY, PRIVATE_KEY
from appliance.startup import _POOL_FILE
from appliance.store import backup
from appliance.store.backup import CHECKSUM, DATABASE, MANIFEST, OTHERS, unpack, verify
from appliance.store.schema import REVISIONS
from appliance.store.store import Store


def make(tmp_path: Path, **files: str) -> Path:
    """A backup of a new state with these files."""
    state = tmp_path / "state"
    store = Store.open(state)
    try:
        for name, content in files.items():
            (state / name.replace("_", ".")).write_text(content)
        return trio.run(store.backup)
    finally:
        store.close()


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}


def write(path: Path, content: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = (
                (0, kind)
                if kind != tarfile.REGTYPE and name == DATABASE
                else (
                    len(data),
                    tarfile.REGTYPE,
                )
            )
            archive.addfile(entry, io.BytesIO(data))
    return path


def sealed(words: dict) -> dict[str, bytes]:
    manifest = json.dumps(words).encode()
    return {MANIFEST: manifest, CHECKSUM: backup._checksum(manifest)}


def test_what_is_in_it(tmp_path):
    path = make(tmp_path, private_key="K=\n", pool="10.1.0.0/24\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent == tmp_path / "state"
    assert [left.name for left in path.parent.glob("*.part")] == [path.name]
    content = members(path)
    assert list(content) == [MANIFEST, CHECKSUM, DATABASE, "private.key", "pool"]
    assert content["private.key"] == b"K=\n"
    manifest = verify(path)
    assert (manifest.program, manifest.schema) == (__version__, REVISIONS[-1])
    assert manifest.made_at.endswith("Z")
    assert manifest.files["pool"] == (12, hashlib.sha256(b"10.1.0.0/24\n").hexdigest())
    subprocess.run(["tar", "xf", path, "-C", tmp_path], check=True)
    subprocess.run(["sha256sum", "--quiet", "-c", CHECKSUM], cwd=tmp_path, check=True)
    assert (tmp_path / DATABASE).stat().st_mode & 0o777 == 0o600


def test_the_files_are_those_that_others_write():
    assert {*OTHERS} == {PRIVATE_KEY, OLD_PRIVATE_KEY, _POOL_FILE, OPERATOR_TOKEN}


async def test_the_files_are_of_the_moment_of_the_database(tmp_path, monkeypatch):
    """A key that changes while the backup is packed does not change in the backup."""
    store = Store.open(tmp_path / "state")
    key = tmp_path / "state" / PRIVATE_KEY
    key.write_text("before")
    pack = backup.pack

    def late(taken: backup.Snapshot) -> Path:
        key.write_text("after")
        return pack(taken)

    monkeypatch.setattr(backup, "pack", late)
    made = await store.backup()
    assert members(made)[PRIVATE_KEY] == b"before"
    verify(made)
    async with trio.open_nursery() as nursery, store.files:  # a change of files keeps a backup waiting
        nursery.start_soon(store.backup)
        await trio.sleep(0.2)
        assert not list((tmp_path / "state").glob("*.db.part"))
        key.write_text("changed")
    store.close()
    assert "changed" in {members(path)[PRIVATE_KEY].decode() for path in (tmp_path / "state").glob("*.part")}


async def test_it_is_of_one_moment_while_others_write(tmp_path):
    store = Store.open(tmp_path / "state")
    await store.write(lambda c: c.execute(text("CREATE TABLE t (a, b)")) and None)
    copies: list[Path] = []

    async def keep_writing() -> None:
        for number in range(200):
            await store.write(
                lambda c, n=number: c.execute(text(f"INSERT INTO t VALUES ({n}, {n})")) and None
            )

    async def keep_copying() -> None:
        copies.extend([await store.backup() for _ in range(5)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_writing)
        nursery.start_soon(keep_copying)
    store.close()
    for number, path in enumerate(copies):
        into = tmp_path / str(number)
        into.mkdir()
        unpack(path, into)
        database = sqlite3.connect(into / DATABASE)
        rows = database.execute("SELECT a, b FROM t ORDER BY a").fetchall()
        assert rows == [(n, n) for n in range(len(rows))]
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        database.close()


def test_one_that_nobody_fetched_is_forgotten_after_an_hour(tmp_path):
    first = make(tmp_path)
    second = make(tmp_path)
    assert first.exists()
    os.utime(first, (time.time() - 3700,) * 2)
    make(tmp_path)
    assert not first.exists()
    assert second.exists()


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "_write", full)
    with pytest.raises(StateError, match="No space left"):
        make(tmp_path)
    assert list((tmp_path / "state").glob("backup-*")) == []


def test_every_flipped_bit_and_every_cut_of_the_content_is_noticed(tmp_path):
    path = make(tmp_path, private_key="K=\n")
    whole = path.read_bytes()
    bad = tmp_path / "bad"
    with tarfile.open(path) as archive:
        places = [entry.offset_data + at for entry in archive for at in (0, entry.size - 1)]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1
        bad.write_bytes(damaged)
        with pytest.raises(UserError, match=str(bad)):
            verify(bad)
    for length in (0, 1, 511, 512, 700, 3000, len(whole) // 2):
        bad.write_bytes(whole[:length])
        with pytest.raises(UserError, match=str(bad)):
            verify(bad)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"other": b"x"},
        {MANIFEST: b"{}", CHECKSUM: b""},
        {MANIFEST: b"[" * 60_000, CHECKSUM: b"x"},
        {MANIFEST: b"x" * 70_000, CHECKSUM: b"x"},
        {MANIFEST: b'{"format": 1, "files": []}', CHECKSUM: b"x"},
        sealed({"format": 1, "program": "1", "schema": "1", "made_at": "", "files": {}}),
        sealed({"format": 1, "program": "1", "schema": "1", "made_at": "", "files": {"x": 7}}),
        sealed({"format": 1, "program": "1", "schema": "1", "made_at": "", "files": [1]}),
    ],
    ids=lambda content: repr(content)[:40],
)
def test_what_is_no_backup(tmp_path, content):
    with pytest.raises(UserError, match="x"):
        verify(write(tmp_path / "x", content))


def test_no_archive_at_all(tmp_path):
    (tmp_path / "x").write_bytes(os.urandom(5000))
    for path in (tmp_path / "x", tmp_path / "missing", tmp_path):
        with pytest.raises(UserError, match=str(path)):
            verify(path)


def test_a_newer_format_names_its_program(tmp_path):
    path = write(tmp_path / "x", sealed({"format": 2, "program": "9.9", "files": {}}))
    with pytest.raises(UserError, match=r"another sallyport \(9.9\)"):
        verify(path)


def test_names_and_kinds_that_are_not_ours_are_refused(tmp_path):
    content = members(make(tmp_path))
    words = json.loads(content[MANIFEST])
    for name in ("../evil", "lock", "operator.sock"):
        evil = {**words, "files": {**words["files"], name: {"bytes": 1, "sha256": "x"}}}
        with pytest.raises(UserError, match="files of a backup"):
            unpack(write(tmp_path / "x", {**sealed(evil), DATABASE: content[DATABASE], name: b"x"}), tmp_path)
    with pytest.raises(UserError, match="not whole"):
        verify(write(tmp_path / "x", content, tarfile.SYMTYPE))
    with pytest.raises(UserError, match="added"):
        verify(write(tmp_path / "x", {**content, "more": b"x"}))
    huge = {"bytes": 70_000, "sha256": "x"}
    large = {**words, "files": {**words["files"], "pool": huge}}
    with pytest.raises(UserError, match="too large"):
        verify(write(tmp_path / "x", {**sealed(large), DATABASE: content[DATABASE], "pool": b"x" * 70_000}))
