"""Poly1305 with Python's big numbers, and messages that drive it to its edges."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

P = 2**130 - 5
CLAMP = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
S_EDGES = (0, 1, 2**64 - 1, 2**128 - 1)
R_EDGES = (0, 1, 2, CLAMP, CLAMP - 4, 4 << 32, 0x0FFFFFFC << 96, 2**128 - 1)


def accumulate(r: int, text: bytes) -> int:
    """h after these whole blocks."""
    h = 0
    for at in range(0, len(text), 16):
        h = (h + int.from_bytes(text[at : at + 16] + b"\1", "little")) * r % P
    return h


def tag(key: bytes, text: bytes) -> bytes:
    """Of the blocks of a text padded with zeroes and the block of its length: RFC 8439, 2.8, without AAD."""
    r, s = int.from_bytes(key[:16], "little") & CLAMP, int.from_bytes(key[16:], "little")
    h = accumulate(r, text + bytes(-len(text) % 16) + struct.pack("<QQ", 0, len(text)))
    return ((h + s) % 2**128).to_bytes(16, "little")


def key(r: int, s: int) -> bytes:
    return r.to_bytes(16, "little") + s.to_bytes(16, "little")


def extremes(noise: random.Random) -> Iterator[tuple[bytes, bytes]]:
    """Extreme r and s with extreme blocks, of all lengths modulo the steps of any engine."""
    for r in R_EDGES:
        for s in S_EDGES:
            for block in (b"\xff" * 16, b"\xfb" + b"\xfe" * 15, bytes(16)):
                for count in (0, 1, 3, 4, 5, 14, 15, 16, 17, 31, 63):
                    yield key(r, s), block * count + b"\xff" * noise.randrange(16)


def near(wanted: int, noise: random.Random) -> tuple[bytes, bytes]:
    """A key and a text whose h ends with that value: the last block is solved for."""
    while True:
        r = noise.choice([1, 2, CLAMP, noise.getrandbits(128) & CLAMP])
        before = noise.randbytes(16 * noise.randrange(40))
        length = (1 << 128) + ((len(before) + 16) << 64)
        inverse = pow(r, -1, P)
        last = ((wanted * inverse - length) * inverse - accumulate(r, before)) % P
        if 2**128 <= last < 2**129:
            s = noise.choice([*S_EDGES, noise.getrandbits(128)])
            return key(r, s), before + (last - 2**128).to_bytes(16, "little")


NEAR = (*range(6), *range(P - 6, P), 2**128 - 1, 2**128, 2**128 + 1, 2**129)
