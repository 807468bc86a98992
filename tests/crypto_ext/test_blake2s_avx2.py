"""blake2s_avx2.c against the compression in plain C, and both against hashlib."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import CPU_LACKS
from tests.crypto_ext import engines, leaf

DECLARED = """
int sp_blake2s_compress_avx2(uint32_t *h, const uint8_t *block, uint64_t bytes_so_far, int last);
int sp_blake2s_compress_two_avx2(uint32_t h[][8], uint8_t blocks[][64], uint64_t bytes_so_far);
"""
needs_avx2 = pytest.mark.skipif("avx2" not in engines.flags(), reason=f"{CPU_LACKS} avx2")
WORDS = st.binary(min_size=32, max_size=32)


def old_machine() -> leaf.Leaf:
    return leaf.load("SP_NO_AVX2", declare=DECLARED)


@needs_avx2
@given(
    h=WORDS, block=st.binary(min_size=64, max_size=64), so_far=st.integers(0, 2**64 - 1), last=st.booleans()
)
def test_it_compresses_as_plain_c_does(h, block, so_far, last):
    found = []
    for library, name in (
        (leaf.load(declare=DECLARED), "sp_blake2s_compress_avx2"),
        (old_machine(), "sp_blake2s_compress"),
    ):
        state = library.ffi.new("uint32_t[10]")
        library.ffi.buffer(state)[:] = b"\xee" * 4 + h + b"\xee" * 4
        getattr(library.lib, name)(state + 1, library.ffi.from_buffer(block), so_far, last)
        found.append(bytes(library.ffi.buffer(state)))
        assert found[-1][:4] == found[-1][-4:] == b"\xee" * 4
    assert found[0] == found[1]


@needs_avx2
@given(states=st.binary(min_size=64, max_size=64), blocks=st.binary(min_size=128, max_size=128))
def test_two_at_a_time_are_two(states, blocks):
    ffi, lib = leaf.load(declare=DECLARED)
    together, apart = ffi.new("uint32_t[3][8]"), ffi.new("uint32_t[2][8]")
    two = ffi.new("uint8_t[2][64]")
    ffi.buffer(together)[:] = states + b"\xee" * 32
    ffi.buffer(apart)[:], ffi.buffer(two)[:] = states, blocks
    assert lib.sp_blake2s_compress_two_avx2(together, two, 2**40 + 64) == 1
    for h, block in zip(apart, two, strict=True):
        lib.sp_blake2s_compress(h, block, 2**40 + 64, 0)
    assert bytes(ffi.buffer(together)) == bytes(ffi.buffer(apart)) + b"\xee" * 32
    old_ffi, old = old_machine()
    plain = old_ffi.new("uint32_t[2][8]")
    old_ffi.buffer(plain)[:] = states
    old.sp_blake2s_compress_two(
        plain, old_ffi.cast("uint8_t(*)[64]", old_ffi.from_buffer(blocks)), 2**40 + 64
    )
    assert bytes(old_ffi.buffer(plain)) == bytes(ffi.buffer(apart))


@pytest.mark.parametrize("compiler", leaf.COMPILERS)
@pytest.mark.parametrize("optimisation", ["-O0", "-O3"])
def test_whoever_compiles_it(compiler: str, optimisation: str) -> None:
    ffi, lib = leaf.load(compiler=compiler, optimisation=optimisation)
    out = ffi.new("uint8_t[32]")
    for length in range(0, 300, 7):
        data = bytes(range(length % 251)) + bytes(length)
        lib.sp_blake2s_hash(out, ffi.from_buffer(data), len(data))
        assert bytes(out) == hashlib.blake2s(data).digest()


@given(key=WORDS, data=st.binary(max_size=400))
def test_an_old_machine_hashes_alike(key, data):
    ffi, lib = old_machine()
    assert lib.sp_blake2s_compress_avx2(ffi.NULL, ffi.NULL, 0, 0) == 0
    assert lib.sp_blake2s_compress_two_avx2(ffi.NULL, ffi.NULL, 0) == 0
    out = ffi.new("uint8_t[16]")
    lib.sp_blake2s_mac(out, ffi.from_buffer(key), ffi.from_buffer(data), len(data))
    assert bytes(out) == hashlib.blake2s(data, key=key, digest_size=16).digest()
