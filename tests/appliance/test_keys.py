"""The server's private key file: made once, read by anybody who may, never half there."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess

import pytest

from appliance import keys
from appliance.errors import StateError
from appliance.keys import Keyring


def test_made_once(tmp_path):
    old = os.umask(0)
    try:
        key = keys.load_or_create(tmp_path)
    finally:
        os.umask(old)
    path = tmp_path / "private.key"
    assert path.read_text() == keys.to_text(key) + "\n"
    assert path.stat().st_mode & 0o7777 == 0o600
    assert keys.load_or_create(tmp_path) == key
    assert os.listdir(tmp_path) == ["private.key"]


def test_keys_are_clamped_and_differ():
    made = {keys.generate() for _ in range(20)}
    assert len(made) == 20
    for key in made:
        assert (len(key), key[0] & 7, key[31] & 192) == (32, 0, 64)


@pytest.mark.parametrize("content", ["", "rubbish!\n", base64.b64encode(bytes(31)).decode(), "Schlüssel\n"])
def test_a_damaged_file_is_said_and_left_alone(tmp_path, content):
    (tmp_path / "private.key").write_text(content)
    with pytest.raises(StateError, match="damaged"):
        keys.load_or_create(tmp_path)
    assert (tmp_path / "private.key").read_text() == content


def test_a_place_that_cannot_be_used(tmp_path):
    (tmp_path / "private.key").mkdir()
    with pytest.raises(StateError, match="cannot be used"):
        keys.load_or_create(tmp_path)
    with pytest.raises(StateError, match="cannot be used"):
        keys.load_or_create(tmp_path / "missing")


def files(directory) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in directory.iterdir()}


def test_a_rotation_keeps_the_old_key_until_it_is_forgotten(tmp_path):
    ring = Keyring.open(tmp_path)
    (first,) = ring.private_keys
    assert (ring.public_key, ring.old_public_key) == (keys.public_key(first), None)
    second = ring.rotate()
    assert ring.private_keys == (first, second)
    assert ring.public_keys == (ring.old_public_key, ring.public_key)
    assert ring.public_keys == (keys.public_key(first), keys.public_key(second))
    assert files(tmp_path) == {"private.key": keys.to_text(second), "private.key.old": keys.to_text(first)}
    assert {path.stat().st_mode & 0o7777 for path in tmp_path.iterdir()} == {0o600}
    assert Keyring.open(tmp_path).private_keys == (first, second)
    ring.forget_old()
    ring.forget_old()
    assert (ring.private_keys, ring.old_public_key) == ((second,), None)
    assert files(tmp_path) == {"private.key": keys.to_text(second)}
    assert Keyring.open(tmp_path).private_keys == (second,)


def test_nothing_is_made_by_looking(tmp_path):
    assert Keyring.open_existing(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    made = Keyring.open(tmp_path)
    again = Keyring.open_existing(tmp_path)
    assert again is not None
    assert again.private_keys == made.private_keys


@pytest.mark.parametrize("calls", range(1, 24))
def test_a_kill_at_any_step_leaves_a_key_that_was_told_usable(tmp_path, calls):
    """The process ends in the place of its n-th system call about files."""
    ring = Keyring.open(tmp_path)
    (first,) = ring.private_keys
    child = os.fork()
    if child == 0:
        _rotate_and_die(ring, calls)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == (KILLED if calls <= CALLS_OF_A_ROTATION + CALLS_TO_FORGET else 0)
    after = Keyring.open(tmp_path)
    assert set(files(tmp_path)) == {"private.key", "private.key.old"} - (
        set() if after.old_public_key else {"private.key.old"}
    )
    assert len(after.private_keys) == (
        # the second file has its name; the old one is gone
        2 if CALLS_OF_A_ROTATION - 3 <= calls - 1 < CALLS_OF_A_ROTATION + 1 else 1
    )
    assert (first in after.private_keys) == (calls - 1 < CALLS_OF_A_ROTATION + 1)


KILLED = 9
# Twice: open, fchmod, write, fsync, close, replace, and open, fsync, close of the directory.
CALLS_OF_A_ROTATION = 18
CALLS_TO_FORGET = 4


def _rotate_and_die(ring: Keyring, left: int) -> None:
    def mortal(call):
        def instead(*args, **settings):
            nonlocal left
            left -= 1
            return call(*args, **settings) if left else os._exit(KILLED)

        return instead

    for name in ("open", "fchmod", "write", "fsync", "close", "replace", "unlink"):
        setattr(os, name, mortal(getattr(os, name)))
    ring.rotate()
    ring.forget_old()
    os._exit(0)


@pytest.mark.parametrize("failing", [1, 2])
def test_a_full_disk_changes_nothing(tmp_path, monkeypatch, failing):
    ring = Keyring.open(tmp_path)
    before = ring.private_keys
    write, written = keys.write_secret, []

    def full(path, content):
        written.append(path.name)
        if len(written) == failing:
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(keys, "write_secret", full)
    with pytest.raises(StateError, match="No space left on device; the key stays"):
        ring.rotate()
    assert written == ["private.key.old", "private.key"][:failing]
    assert ring.private_keys == before
    assert Keyring.open(tmp_path).private_keys == before
    assert list(files(tmp_path)) == ["private.key"]
    monkeypatch.undo()
    ring.rotate()
    assert ring.private_keys[0] == before[0]


def test_an_old_key_that_cannot_be_removed_is_said(tmp_path):
    ring = Keyring.open(tmp_path)
    ring.rotate()
    (tmp_path / "private.key.old").unlink()
    (tmp_path / "private.key.old").mkdir()
    with pytest.raises(StateError, match=r"private.key.old cannot be removed"):
        ring.forget_old()
    assert ring.old_public_key is None


def test_an_old_key_that_is_damaged_is_said(tmp_path):
    Keyring.open(tmp_path)
    (tmp_path / "private.key.old").write_text("rubbish!")
    with pytest.raises(StateError, match=r"private.key.old is damaged"):
        Keyring.open(tmp_path)


@pytest.mark.skipif(shutil.which("wg") is None and not os.environ.get("CI"), reason="needs wireguard-tools")
def test_wg_agrees_on_the_public_half():
    key = keys.generate()
    text = keys.to_text(key) + "\n"
    answer = subprocess.run(["wg", "pubkey"], input=text, text=True, capture_output=True, check=True)
    assert answer.stdout.strip() == keys.to_text(keys.public_key(key))
