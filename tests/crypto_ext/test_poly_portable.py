"""poly_portable.c at the edges that no random packet reaches."""

from __future__ import annotations

import random

import pytest

from tests.crypto_ext import leaf

P = 2**130 - 5
CLAMP = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
BUILDS = [(compiler, defines) for compiler in leaf.COMPILERS for defines in ((), ("SP_NO_INT128",))]
each_build = pytest.mark.parametrize(
    "build",
    BUILDS,
    ids=[f"{compiler} {'64' if defines else '128'}-bit".strip() for compiler, defines in BUILDS],
)


def ours(build, key: bytes, message: bytes) -> bytes:
    declare = "void leaf_poly1305(uint8_t *tag, const uint8_t *key, const uint8_t *message, size_t blocks);"
    compiler, defines = build
    ffi, lib = leaf.load(*defines, compiler=compiler, extra="leaf_poly.c", declare=declare)
    tag = ffi.new("uint8_t[16]")
    lib.leaf_poly1305(tag, ffi.from_buffer(key), ffi.from_buffer(message), len(message) // 16)
    return bytes(tag)


def accumulator(r: int, message: bytes) -> int:
    h = 0
    for at in range(0, len(message), 16):
        h = (h + int.from_bytes(message[at : at + 16] + b"\1", "little")) * r % P
    return h


def dumb(key: bytes, message: bytes) -> bytes:
    r = int.from_bytes(key[:16], "little") & CLAMP
    s = int.from_bytes(key[16:], "little")
    return ((accumulator(r, message) + s) % 2**128).to_bytes(16, "little")


# RFC 8439 appendix A.3, the vectors of whole blocks: r, s, message, tag.
RFC_8439_A3 = [
    ("00" * 16, "00" * 16, "00" * 64, "00" * 16),
    ("02" + "00" * 15, "00" * 16, "ff" * 16, "03" + "00" * 15),
    ("02" + "00" * 15, "ff" * 16, "02" + "00" * 15, "03" + "00" * 15),
    ("01" + "00" * 15, "00" * 16, "ff" * 16 + "f0" + "ff" * 15 + "11" + "00" * 15, "05" + "00" * 15),
    ("01" + "00" * 15, "00" * 16, "ff" * 16 + "fb" + "fe" * 15 + "01" * 16, "00" * 16),
    ("02" + "00" * 15, "00" * 16, "fd" + "ff" * 15, "fa" + "ff" * 15),
    ("01" + "00" * 7 + "04" + "00" * 7, "00" * 16,
     "e33594d7505e43b900000000000000003394d7505e4379cd01" + "00" * 7 + "00" * 16 + "01" + "00" * 15,
     "14" + "00" * 7 + "55" + "00" * 7),
    ("01" + "00" * 7 + "04" + "00" * 7, "00" * 16,
     "e33594d7505e43b900000000000000003394d7505e4379cd01" + "00" * 7 + "00" * 16, "13" + "00" * 15),
]  # fmt: skip


@each_build
@pytest.mark.parametrize(("r", "s", "message", "tag"), RFC_8439_A3)
def test_rfc_8439_appendix_a3(build, r, s, message, tag):
    key, data = bytes.fromhex(r + s), bytes.fromhex(message)
    assert dumb(key, data) == bytes.fromhex(tag), "the vector as written here is the RFC's"
    assert ours(build, key, data) == bytes.fromhex(tag)


@each_build
def test_extreme_keys_and_blocks(build):
    noise = random.Random(6)
    keys = [0, 1, 2, CLAMP, CLAMP - 4, 4 << 32, 0x0FFFFFFC << 96, noise.getrandbits(128), 2**128 - 1]
    sums = [0, 1, 2**64 - 1, 2**128 - 1, noise.getrandbits(128)]
    blocks = [b"\xff" * 16, b"\xfb" + b"\xfe" * 15, b"\0" * 16, noise.randbytes(16)]
    for r in keys:
        for s in sums:
            key = r.to_bytes(16, "little") + s.to_bytes(16, "little")
            for block in blocks:
                for count in (0, 1, 2, 3, 64):
                    assert ours(build, key, block * count) == dumb(key, block * count), (key, block, count)


@each_build
def test_accumulators_that_end_next_to_0_and_to_p(build):
    """The final subtraction of p: for each wanted result the last block is solved for."""
    noise = random.Random(7)
    for wanted in [*range(8), *range(P - 8, P), 2**128 - 1, 2**128, 2**128 + 1, 2**129]:
        found = 0
        while found < 8:
            r = noise.choice([CLAMP, noise.getrandbits(128) & CLAMP])
            before = noise.randbytes(16 * noise.randrange(4))
            last = (wanted * pow(r, -1, P) - accumulator(r, before)) % P
            if not 2**128 <= last < 2**129:
                continue
            message = before + (last - 2**128).to_bytes(16, "little")
            assert accumulator(r, message) == wanted
            key = r.to_bytes(16, "little") + noise.randbytes(16)
            assert ours(build, key, message) == dumb(key, message), (wanted, key, message)
            found += 1
