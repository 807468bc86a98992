"""checksum.c against ten lines of Python, with and without AVX2, at all alignments and many lengths."""

from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext import leaf
from tests.crypto_ext.packets import fold, pseudo

pytestmark = pytest.mark.parametrize("defines", [(), ("SP_NO_AVX2",)], ids=["best", "baseline"])


def memory_order(value: int) -> int:
    """The 16-bit result as C holds it: the bytes of the big-endian sum read in memory order."""
    return int.from_bytes(value.to_bytes(2, "big"), sys.byteorder)


def test_every_length_and_alignment(defines):
    ffi, lib = leaf.load(*defines)
    data = random.Random(1).randbytes(1200)
    buffer = ffi.from_buffer(data)
    for length in [*range(600), 1023, 1024, 1025]:
        at = length % 67
        expected = memory_order(fold(data[at : at + length]))
        assert lib.sp_sum_fold(lib.sp_sum(0, buffer + at, length)) == expected


@given(data=st.binary(max_size=3000), start=st.integers(0, 2**64 - 1))
def test_any_bytes_on_any_running_sum(defines, data, start):
    ffi, lib = leaf.load(*defines)
    got = lib.sp_sum_fold(lib.sp_sum(start, ffi.from_buffer(data), len(data)))
    first = start.to_bytes(8, sys.byteorder)
    assert got == memory_order(fold(first + data))


@pytest.mark.parametrize("byte", [0x00, 0xFF])
@pytest.mark.parametrize("length", [0, 1, 2, 255, 256, 65534, 65535, 1 << 20])
def test_all_zero_and_all_one(defines, byte, length):
    ffi, lib = leaf.load(*defines)
    data = bytes([byte]) * length
    assert lib.sp_sum_fold(lib.sp_sum(0, ffi.from_buffer(data), length)) == memory_order(fold(data))


def test_pieces_add_up_when_only_the_last_is_odd(defines):
    ffi, lib = leaf.load(*defines)
    data = random.Random(2).randbytes(1501)
    total = 0
    for at, end in [(0, 20), (20, 20), (20, 1400), (1400, 1501)]:
        total = lib.sp_sum(total, ffi.from_buffer(data[at:end]), end - at)
    assert lib.sp_sum_fold(total) == memory_order(fold(data))


@given(
    addresses=st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16)),
    protocol=st.integers(0, 255),
    length=st.integers(0, 65535),
    family=st.sampled_from([4, 6]),
)
def test_pseudo_header(defines, addresses, protocol, length, family):
    ffi, lib = leaf.load(*defines)
    source, destination = (address[: 4 if family == 4 else 16] for address in addresses)
    got = lib.sp_sum_pseudo(family, ffi.from_buffer(source), ffi.from_buffer(destination), protocol, length)
    assert lib.sp_sum_fold(got) == memory_order(pseudo(source, destination, protocol, length))


def test_a_known_header(defines):
    """The IPv4 header of RFC 1071's usual worked example sums to all ones with its checksum in place."""
    ffi, lib = leaf.load(*defines)
    header = bytes.fromhex("45000073000040004011b861c0a80001c0a800c7")
    assert lib.sp_sum_fold(lib.sp_sum(0, ffi.from_buffer(header), len(header))) == 0xFFFF
