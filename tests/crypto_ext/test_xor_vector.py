"""xor_vector.c: any lengths, in place or not, and nothing behind them."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext import engines

each_engine = engines.each_engine


@each_engine
@given(lengths=st.lists(st.integers(0, 300), max_size=5), in_place=st.booleans())
def test_xor_of_any_length(path, lengths, in_place):
    ffi, lib = engines.load()
    xors = ffi.new("struct sp_xor[]", max(len(lengths), 1))
    kept, noise = [], random.Random(len(lengths))
    for slot, length in zip(xors, lengths, strict=False):
        text, key = noise.randbytes(length), noise.randbytes(length)
        xored = bytes(x ^ y for x, y in zip(text, key, strict=True))
        source, mask = ffi.new("uint8_t[]", text + b"\xa5"), ffi.new("uint8_t[]", key or b"\0")
        out = source if in_place else ffi.new("uint8_t[]", bytes(length) + b"\xa5")
        kept.append((source, mask, out, xored + b"\xa5"))
        slot.stream, slot.len, slot.out = mask, length, out
        setattr(slot, "in", source)
    getattr(lib, f"sp_xor_{path}")(xors, len(lengths))
    for _, _, out, expected in kept:
        assert bytes(ffi.buffer(out, len(expected))) == expected
