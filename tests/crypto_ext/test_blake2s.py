"""blake2s.c against hashlib, and the comparison of secrets."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext import leaf


def mac(key: bytes, data: bytes) -> bytes:
    ffi, lib = leaf.load()
    out = ffi.new("uint8_t[17]", b"\xee" * 17)
    lib.sp_blake2s_mac(out, ffi.from_buffer(key), ffi.from_buffer(data), len(data))
    assert out[16] == 0xEE
    return bytes(out)[:16]


def test_every_length_around_the_blocks():
    noise = random.Random(3)
    for length in [*range(200), 255, 256, 257, 1000]:
        key, data = noise.randbytes(32), noise.randbytes(length)
        assert mac(key, data) == hashlib.blake2s(data, key=key, digest_size=16).digest()


@given(key=st.binary(min_size=32, max_size=32), data=st.binary(max_size=400))
def test_any_key_and_message(key, data):
    assert mac(key, data) == hashlib.blake2s(data, key=key, digest_size=16).digest()


@given(data=st.binary(max_size=400) | st.integers(0, 400).map(bytes))
def test_the_hash_of_anything(data):
    ffi, lib = leaf.load()
    out = ffi.new("uint8_t[33]", b"\xee" * 33)
    lib.sp_blake2s_hash(out, ffi.from_buffer(data), len(data))
    assert bytes(out) == hashlib.blake2s(data).digest() + b"\xee"


def test_the_vector_of_rfc_7693():
    ffi, lib = leaf.load()
    out = ffi.new("uint8_t[32]")
    lib.sp_blake2s_hash(out, b"abc", 3)
    assert bytes(out).hex() == "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"


@pytest.mark.parametrize("length", [0, 1, 16, 32])
def test_equal(length):
    ffi, lib = leaf.load()
    one = random.Random(4).randbytes(length)
    assert lib.sp_equal(ffi.from_buffer(one), ffi.from_buffer(bytes(bytearray(one))), length) == 1
    for bit in range(8 * length):
        other = bytearray(one)
        other[bit // 8] ^= 1 << bit % 8
        assert lib.sp_equal(ffi.from_buffer(one), ffi.from_buffer(other), length) == 0
