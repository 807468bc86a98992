"""The Wycheproof vectors for ChaCha20-Poly1305, as far as they fit.

None of the 325 fits the seam as a whole: each has additional data, or a nonce that does not begin with
four zero bytes. What fits is the tag. The Poly1305 key of a vector comes from an independent ChaCha20; then
the 45 valid vectors without additional data go through every Poly1305 of ours as they are. The 211 valid
ones with it, among them all the edge cases, are taken as one text, additional data and lengths included: the
twin in Python must give the vector's tag for that, and ours the twin's once the length of the text is behind
it. The 60 with a wrong tag must not match; 9 have nonces of other sizes, which cannot even be expressed.
"""

from __future__ import annotations

import json
import struct
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from tests.crypto_ext import engines, leaf, poly_twin

FILE = Path(__file__).parent.parent / "vectors/wycheproof_chacha20_poly1305.json"


class Vector(NamedTuple):
    number: int
    valid: bool
    key: bytes  # of Poly1305
    additional: bytes
    sealed: bytes
    tag: bytes

    def whole(self) -> bytes:
        """All that Poly1305 is given, in whole blocks."""
        parts = [text + bytes(-len(text) % 16) for text in (self.additional, self.sealed)]
        return b"".join(parts) + struct.pack("<QQ", len(self.additional), len(self.sealed))


@cache
def vectors() -> list[Vector]:
    groups = json.loads(FILE.read_text())["testGroups"]
    found = []
    for test in (test for group in groups for test in group["tests"]):
        key, nonce, additional, sealed, tag = (
            bytes.fromhex(test[name]) for name in ("key", "iv", "aad", "ct", "tag")
        )
        if len(nonce) == 12:
            encryptor = Cipher(ChaCha20(key, bytes(4) + nonce), mode=None).encryptor()
            poly_key = encryptor.update(bytes(32))
            found.append(Vector(test["tcId"], test["result"] == "valid", poly_key, additional, sealed, tag))
    return found


each_compiler = pytest.mark.parametrize("compiler", leaf.COMPILERS)


def portable_tag(key: bytes, blocks: bytes, compiler: str) -> bytes:
    declare = "void leaf_poly1305(uint8_t *tag, const uint8_t *key, const uint8_t *message, size_t blocks);"
    ffi, lib = leaf.load(extra="leaf_poly.c", declare=declare, compiler=compiler)
    tag = ffi.new("uint8_t[16]")
    lib.leaf_poly1305(tag, ffi.from_buffer(key), ffi.from_buffer(blocks), len(blocks) // 16)
    return bytes(tag)


def test_how_many_there_are_of_each_kind():
    assert len(vectors()) == 325 - 9
    assert sum(v.valid for v in vectors()) == 256
    assert sum(v.valid and not v.additional for v in vectors()) == 45


@each_compiler
def test_the_portable_poly1305_gives_the_tag_of_every_vector(compiler):
    for vector in vectors():
        tag = portable_tag(vector.key, vector.whole(), compiler)
        assert (tag == vector.tag) == vector.valid, vector.number


@each_compiler
@engines.each_engine
def test_vectors_without_additional_data(path, compiler):
    plain = [vector for vector in vectors() if vector.valid and not vector.additional]
    for at in range(0, len(plain), 8):
        jobs = [(vector.key, vector.sealed) for vector in plain[at : at + 8]]
        assert engines.macs(path, jobs, compiler) == [vector.tag for vector in plain[at : at + 8]]
        for job, vector in zip(jobs, plain[at : at + 8], strict=True):
            assert engines.macs(path, [job], compiler) == [vector.tag]


@each_compiler
@engines.each_engine
def test_vectors_with_additional_data_as_one_text(path, compiler):
    jobs = [(vector.key, vector.whole()) for vector in vectors()]
    for vector, (key, text) in zip(vectors(), jobs, strict=True):
        r, s = int.from_bytes(key[:16], "little") & poly_twin.CLAMP, int.from_bytes(key[16:], "little")
        tag = ((poly_twin.accumulate(r, text) + s) % 2**128).to_bytes(16, "little")
        assert (tag == vector.tag) == vector.valid
        assert engines.macs(path, [(key, text)], compiler) == [poly_twin.tag(key, text)]
    for at in range(0, len(jobs), 8):
        group = jobs[at : at + 8]
        assert engines.macs(path, group, compiler) == [poly_twin.tag(key, text) for key, text in group]
