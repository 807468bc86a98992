"""What the tests of commands share: a state directory whose counters lie beside it, and quiet logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import offline


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(offline, "default_path", lambda _: tmp_path / "test.slots")
    everything, ours = logging.getLogger(), logging.getLogger("sallyport")
    before = everything.handlers[:], everything.level, ours.level
    yield tmp_path / "state"
    everything.handlers[:] = before[0]
    everything.setLevel(before[1])
    ours.setLevel(before[2])
