"""The words in Python are the numbers in C."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import pytest

from crypto_ext import DROPS, UNLIMITED, End, Event, Notice, Offload, PeerView, Pending, Stats
from crypto_ext._native import ffi, lib

API = (Path(__file__).parents[2] / "crypto_ext/api.h").read_text()


@pytest.mark.parametrize(
    ("words", "prefix"),
    [
        (Offload, "SP_OFFLOAD_"),
        (Notice, "SP_NOTICE_"),
        (Event, "SP_EVENT_"),
        (Pending, "SP_PENDING_"),
        (End, "SP_END_"),
    ],
)
def test_flags_and_codes(words: type[IntEnum], prefix: str) -> None:
    in_c = set(re.findall(rf"\b{prefix}(\w+) =", API))
    assert {word.name for word in words} == in_c
    assert all(getattr(lib, prefix + word.name) == word.value for word in words)


def test_drop_reasons_are_in_order() -> None:
    assert len(DROPS) == lib.SP_DROP_REASONS
    for number, name in enumerate(DROPS):
        assert getattr(lib, f"SP_DROP_{name.upper()}") == number


@pytest.mark.parametrize(("words", "struct"), [(PeerView, "struct sp_peer_view"), (Stats, "struct sp_stats")])
def test_views_have_every_field(words: type, struct: str) -> None:
    assert set(words.__slots__) == {name for name, _ in ffi.typeof(struct).fields}


def test_unlimited_is_all_ones() -> None:
    assert int(ffi.cast("uint64_t", -1)) == UNLIMITED
