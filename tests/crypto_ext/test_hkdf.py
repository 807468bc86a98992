"""hkdf.c against the HKDF of `cryptography`, whose HMAC and BLAKE2s are OpenSSL's."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.hashes import BLAKE2s
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext import leaf

KEY = st.binary(min_size=32, max_size=32)


def kdf(n: int, chain_key: bytes, material: bytes) -> bytes:
    ffi, lib = leaf.load()
    out = ffi.new("uint8_t[][32]", n + 1)
    ffi.memmove(out[n], b"\xee" * 32, 32)
    lib.sp_hkdf(out, n, ffi.from_buffer(chain_key), ffi.from_buffer(material), len(material))
    assert bytes(out[n]) == b"\xee" * 32
    return bytes(ffi.buffer(out))[: 32 * n]


def reference(n: int, chain_key: bytes, material: bytes) -> bytes:
    return HKDF(BLAKE2s(32), 32 * n, salt=chain_key, info=b"").derive(material)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_length_of_material(n):
    for length in range(65):  # 0: what Split derives from; 64: a whole block
        chain_key, material = bytes(range(100, 132)), bytes(range(length))
        assert kdf(n, chain_key, material) == reference(n, chain_key, material)


@given(n=st.integers(1, 3), chain_key=KEY, material=st.binary(max_size=64))
def test_any_key_and_material(n, chain_key, material):
    assert kdf(n, chain_key, material) == reference(n, chain_key, material)


@given(chain_key=KEY, material=KEY)
def test_in_the_place_of_the_chain_key(chain_key, material):
    ffi, lib = leaf.load()
    place = ffi.new("uint8_t[1][32]")
    ffi.memmove(place, chain_key, 32)
    lib.sp_hkdf(place, 1, place[0], ffi.from_buffer(material), 32)
    assert bytes(place[0]) == reference(1, chain_key, material)
