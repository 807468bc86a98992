"""The state directory's modes, its lock, and files that are there wholly or not at all."""

from __future__ import annotations

import os

import pytest

from appliance.errors import InUseError, StateError
from appliance.store import state_dir
from appliance.store.state_dir import StateDir, private_file, write_secret


def mode(path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_modes_under_any_umask(tmp_path, umask):
    old = os.umask(umask)
    try:
        directory = StateDir.open(tmp_path / "state")
        private_file(tmp_path / "state" / "db")
        write_secret(tmp_path / "state" / "secret", b"hush\n")
        directory.close()
    finally:
        os.umask(old)
    assert mode(tmp_path / "state") == 0o700
    assert {mode(path) for path in (tmp_path / "state").iterdir()} == {0o600}


def test_an_empty_directory_is_closed_and_a_shared_one_left_alone(tmp_path):
    mine, shared, sticky = tmp_path / "mine", tmp_path / "shared", tmp_path / "sticky"
    for directory, its_mode in ((mine, 0o777), (shared, 0o755), (sticky, 0o1777)):
        directory.mkdir()
        directory.chmod(its_mode)
    (shared / "somebodys").write_text("")
    for directory in (mine, shared, sticky):
        StateDir.open(directory).close()
    assert (mode(mine), mode(shared), mode(sticky)) == (0o700, 0o755, 0o700)
    mine.chmod(0o755)
    StateDir.open(mine).close()  # ours from before: it holds our lock file
    assert mode(mine) == 0o700


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("its_mode", [0o1777, 0o770, 0o702])
def test_a_directory_that_others_can_write_is_refused(tmp_path, its_mode, create):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "somebodys").write_text("")
    shared.chmod(its_mode)
    with pytest.raises(StateError, match="written by others"):
        StateDir.open(shared, create=create)
    assert (mode(shared), os.listdir(shared)) == (its_mode, ["somebodys"])


def test_a_directory_of_everybody_is_never_closed(tmp_path, monkeypatch):
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    tmp.chmod(0o1777)
    monkeypatch.setattr(state_dir, "_EVERYBODYS", {str(tmp.resolve())})
    with pytest.raises(StateError, match="written by others"):
        StateDir.open(tmp)
    assert (mode(tmp), os.listdir(tmp)) == (0o1777, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("create", [True, False])
def test_a_directory_of_somebody_else_is_refused(tmp_path, create):
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, 12345, 0)
    with pytest.raises(StateError, match="belongs to user 12345"):
        StateDir.open(theirs, create=create)
    assert os.listdir(theirs) == []


def test_one_at_a_time(tmp_path):
    first = StateDir.open(tmp_path / "state")
    with pytest.raises(InUseError):
        StateDir.open(tmp_path / "state")
    first.close()
    first.close()
    StateDir.open(tmp_path / "state").close()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError):
        StateDir.open(tmp_path / "state")


def test_a_secret_replaces_wholly(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    write_secret(path, b"one\n")
    write_secret(path, b"two\n")
    assert path.read_bytes() == b"two\n"

    def fails(fd: int) -> None:
        raise OSError("disk")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="disk"):
        write_secret(path, b"three\n")
    assert path.read_bytes() == b"two\n"
    assert os.listdir(tmp_path) == ["secret"]
