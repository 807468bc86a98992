"""Batches of any size give the same through every path; scratch is wiped.

Of aead_batch.c, aead_seal.c, aead_open.c and aead_vector.c, which are one machine.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext import batches, engines, leaf
from tests.crypto_ext.batches import CANARY, Message

COUNTS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 64, 255, 256, 257, 300)
each_engine = engines.each_engine


def messages(lengths: list[int], noise: random.Random) -> list[Message]:
    ring = [noise.randbytes(32) for _ in range(3)]
    return [Message(noise.choice(ring), noise.getrandbits(64), noise.randbytes(length)) for length in lengths]


def through(path: str, batch: list[Message], *, seal: bool, in_place: bool, compiler: str = ""):
    found = leaf.load(compiler=compiler)
    aead = found.lib.sp_aead_new(path.encode())
    try:
        return batches.run(found, aead, batch, seal=seal, in_place=in_place, seed=len(batch))
    finally:
        found.lib.sp_aead_free(aead)


MIXES = {
    "alike": lambda noise: 1420,
    "tiny": lambda noise: noise.randrange(40),
    "a train with a short end": lambda noise: noise.choice([1420] * 12 + [700]),
    "mixed": lambda noise: noise.choice([64] * 7 + [576] * 4 + [1420]),
    "unlike": lambda noise: noise.randrange(3000),
    "with very long ones": lambda noise: noise.choice([80] * 9 + [20_000, 65_535]),
}


@pytest.mark.parametrize("compiler", leaf.COMPILERS)
@pytest.mark.parametrize("mix", MIXES)
@engines.each_path
def test_all_paths_seal_and_open_alike(path, mix, compiler):
    for count in COUNTS:
        seals_and_opens(path, mix, count, compiler)


def seals_and_opens(path, mix, count, compiler):
    noise = random.Random(f"{path} {mix} {count}")
    if mix == "with very long ones":
        count = min(count, 33)
    batch = messages([MIXES[mix](noise) for _ in range(count)], noise)
    expected = [batches.sealed(message) for message in batch]
    forged = {i for i in range(count) if noise.random() < 0.2}
    wire = []
    for i, text in enumerate(expected):
        flipped = bytearray(text)
        if i in forged:
            flipped[noise.randrange(len(text))] ^= 1 << noise.randrange(8)
        wire.append(batch[i]._replace(text=bytes(flipped)))
    in_place = noise.random() < 0.5
    sealed = through(path, batch, seal=True, in_place=in_place, compiler=compiler)
    assert [out for _, out in sealed] == expected, count
    got = through(path, wire, seal=False, in_place=in_place, compiler=compiler)
    assert [ok for ok, _ in got] == [int(i not in forged) for i in range(count)], count
    for i, (ok, out) in enumerate(got):
        if ok:
            assert out == batch[i].text
        else:
            assert out == (wire[i].text[:-16] if in_place else bytes([CANARY]) * len(out))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 23, 47])
@engines.each_path
def test_the_beginning_of_a_text_may_stand_at_its_place_already(path, count):
    """What is not placed is read from `in`, and nothing else is: both hold noise where the text is not."""
    ffi, lib = leaf.load()
    noise = random.Random(count)
    batch = messages([noise.choice([1420] * 4 + [64, 65, 200, 1368, 3000]) for _ in range(count)], noise)
    placed = [noise.choice([0, 64, 128, len(m.text) // 64 * 64]) for m in batch]
    placed = [min(at, len(m.text) // 64 * 64) for at, m in zip(placed, batch, strict=True)]
    jobs, kept = ffi.new("struct sp_aead_job[]", count), []
    for job, message, at in zip(jobs, batch, placed, strict=True):
        size = len(message.text)
        out = ffi.new("uint8_t[]", message.text[:at] + noise.randbytes(size - at) + bytes([CANARY]) * 32)
        rest = ffi.new("uint8_t[]", noise.randbytes(at) + message.text[at:])
        key = ffi.new("uint8_t[]", message.key)
        job.key, job.counter, job.len, job.placed, job.out = key, message.counter, size, at, out
        setattr(job, "in", rest)
        kept.append((key, rest, out, bytes(ffi.buffer(rest))))
    aead = lib.sp_aead_new(path.encode())
    lib.sp_seal_batch(aead, jobs, count)
    lib.sp_aead_free(aead)
    for message, (_, rest, out, before) in zip(batch, kept, strict=True):
        assert bytes(ffi.buffer(rest)) == before
        assert bytes(ffi.buffer(out))[:-1] == batches.sealed(message) + bytes([CANARY]) * 16


@each_engine
@given(
    lengths=st.lists(st.integers(0, 2000), min_size=1, max_size=40),
    seal=st.booleans(),
    seed=st.integers(0, 99),
)
def test_what_was_used_of_the_scratch_is_wiped(path, lengths, seal, seed):
    """Neither key stream, Poly1305 key nor the rows of ChaCha20 are left in it."""
    ffi, lib = leaf.load()
    noise = random.Random(seed)
    batch = messages(lengths, noise)
    if not seal:
        batch = [message._replace(text=batches.sealed(message)) for message in batch]
    aead = lib.sp_aead_new(path.encode())
    batches.run(leaf.Leaf(ffi, lib), aead, batch, seal=seal, in_place=False)
    state = ffi.cast("void **", aead)[1]  # struct sp_aead: the table of the path, its state
    scratch = bytes(ffi.buffer(state, usable_bytes(int(ffi.cast("uintptr_t", state)))))
    lib.sp_aead_free(aead)
    for message in batch:
        text = message.text if seal else bytes(len(message.text) - 16)
        key_stream = batches.sealed(message._replace(text=bytes(len(text) + 64)))
        secrets = [key_stream[at : at + 16] for at in range(0, len(text), 64)]
        secrets += [
            message.key,
            message.key[:4] * 4,
            message.key[28:] * 4,
            poly_key(message)[:16],
            poly_key(message)[16:],
        ]
        assert not any(secret in scratch for secret in secrets)


def usable_bytes(address: int) -> int:
    """How large the block of memory at that address is."""
    measure = ctypes.CDLL(None).malloc_usable_size
    measure.restype, measure.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    return int(measure(address))


def poly_key(message: Message) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

    nonce = bytes(4) + batches.nonce(message.counter)
    return Cipher(ChaCha20(message.key, nonce), mode=None).encryptor().update(bytes(32))
