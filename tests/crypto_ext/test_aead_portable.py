"""aead_portable.c: verifies first. That it computes what it should, test_aead.py and its neighbours hold."""

from __future__ import annotations

import pytest

from tests.crypto_ext import batches, leaf
from tests.crypto_ext.batches import CANARY, Message

each_width = pytest.mark.parametrize("defines", [(), ("SP_NO_INT128",)], ids=["128-bit", "64-bit"])


@each_width
def test_nothing_is_written_before_the_tag_is_right(defines):
    ffi, lib = leaf.load(*defines)
    aead = lib.sp_aead_new(b"portable")
    message = Message(bytes(range(32)), 1, bytes(1420))
    text = bytearray(batches.sealed(message))
    text[700] ^= 0x80
    [(ok, out)] = batches.run(
        leaf.Leaf(ffi, lib), aead, [message._replace(text=bytes(text))], seal=False, in_place=False
    )
    assert (ok, out) == (0, bytes([CANARY]) * 1420)
    lib.sp_aead_free(aead)
