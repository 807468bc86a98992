"""`genkey` prints what `wg genkey` prints."""

from __future__ import annotations

import base64
import subprocess

import pytest

from appliance import keys
from appliance.cli import main


def test_a_clamped_key_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    printed = set()
    for _ in range(20):
        assert main(["genkey"]) == 0
        out = capsys.readouterr().out
        assert out == out.strip() + "\n"
        key = base64.b64decode(out.strip(), validate=True)
        assert len(key) == 32
        assert (key[0] & 7, key[31] & 0xC0) == (0, 0x40)
        printed.add(out)
    assert len(printed) == 20


def test_wg_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    main(["genkey"])
    key = capsys.readouterr().out
    public = subprocess.run(["wg", "pubkey"], input=key, capture_output=True, text=True, check=True).stdout
    assert keys.to_text(keys.public_key(base64.b64decode(key))) == public.strip()
