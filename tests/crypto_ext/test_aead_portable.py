"""aead_portable.c: verifies first, takes additional data. The rest, test_aead.py and its neighbours hold."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

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


DECLARE = """
void sp_seal_portable(const struct sp_aead_job *job, const uint8_t *ad, size_t ad_len);
int sp_open_portable(const struct sp_aead_job *job, const uint8_t *ad, size_t ad_len);
"""


@each_width
@given(
    key=st.binary(min_size=32, max_size=32),
    counter=st.integers(0, 2**64 - 1),
    associated=st.binary(max_size=100),
    text=st.binary(max_size=300),
    bit=st.integers(0, 2**16),
)
def test_additional_data_is_sealed_too(defines, key, counter, associated, text, bit):
    ffi, lib = leaf.load(*defines, declare=DECLARE)
    kept = [ffi.from_buffer("uint8_t[]", part) for part in (key, text, associated)]
    out, again = ffi.new("uint8_t[]", len(text) + 17), ffi.new("uint8_t[]", b"\xee" * len(text))  # and a zero
    job = ffi.new("struct sp_aead_job *", {"key": kept[0], "counter": counter, "in": kept[1], "out": out})
    job.len = len(text)
    lib.sp_seal_portable(job, kept[2], len(associated))
    nonce = bytes(4) + counter.to_bytes(8, "little")
    sealed = ChaCha20Poly1305(key).encrypt(nonce, text, associated)
    assert bytes(out) == sealed + b"\0"

    setattr(job, "in", out)
    job.out, job.len = again, len(sealed)
    spoilt = bytearray(associated or b"x")
    spoilt[bit // 8 % len(spoilt)] ^= 1 << bit % 8
    assert lib.sp_open_portable(job, ffi.from_buffer("uint8_t[]", spoilt), len(spoilt)) == 0
    assert bytes(again) == b"\xee" * len(text) + b"\0"
    assert lib.sp_open_portable(job, kept[2], len(associated)) == 1
    assert bytes(again) == text + b"\0"
