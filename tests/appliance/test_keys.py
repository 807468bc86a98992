"""The server's private key file: made once, read by anybody who may, never half there."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess

import pytest

from appliance import keys
from appliance.errors import StateError


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


@pytest.mark.skipif(shutil.which("wg") is None and not os.environ.get("CI"), reason="needs wireguard-tools")
def test_wg_agrees_on_the_public_half():
    key = keys.generate()
    text = keys.to_text(key) + "\n"
    answer = subprocess.run(["wg", "pubkey"], input=text, text=True, capture_output=True, check=True)
    assert answer.stdout.strip() == keys.to_text(keys.public_key(key))
