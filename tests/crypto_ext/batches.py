"""Batches of AEAD jobs laid out in one buffer, with canaries between them, and what they must become."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tests.crypto_ext.leaf import Leaf

CANARY = 0xA5
TAG_BYTES = 16


class Message(NamedTuple):
    key: bytes
    counter: int
    text: bytes  # what goes in: plaintext to seal, ciphertext and tag to open


def nonce(counter: int) -> bytes:
    return struct.pack("<4xQ", counter)


def sealed(message: Message) -> bytes:
    """The independent answer."""
    return ChaCha20Poly1305(message.key).encrypt(nonce(message.counter), message.text, None)


def run(leaf: Leaf, aead, messages: Sequence[Message], *, seal: bool, in_place: bool, seed: int = 0):
    """One batch through the seam: a list of (ok, output). Checks canaries and that input stays as it was.

    Outputs begin as canary bytes, so that "nothing was written" can be told from "zeroes were written".
    """
    ffi, lib = leaf
    noise = random.Random(seed)
    grow = TAG_BYTES if seal else -TAG_BYTES
    gaps = [noise.randrange(1, 70) for _ in range(2 * len(messages) + 1)]
    spans = [max(len(m.text), len(m.text) + grow) for m in messages]
    expected = bytearray([CANARY]) * (sum(gaps) + 2 * sum(spans))
    buffer = ffi.new("uint8_t[]", len(expected))
    ffi.buffer(buffer)[:] = bytes(expected)
    jobs = ffi.new("struct sp_aead_job[]", max(len(messages), 1))
    keys = [ffi.from_buffer(m.key) for m in messages]
    at, outputs = gaps[0], []
    for i, message in enumerate(messages):
        ffi.buffer(buffer)[at : at + len(message.text)] = message.text
        expected[at : at + len(message.text)] = message.text
        out = at if in_place else at + spans[i] + gaps[2 * i + 1]
        jobs[i].key, jobs[i].counter, jobs[i].len, jobs[i].ok = keys[i], message.counter, len(message.text), 7
        setattr(jobs[i], "in", buffer + at)
        jobs[i].out = buffer + out
        outputs.append((out, max(len(message.text) + grow, 0)))
        at = out + spans[i] + gaps[2 * i + 2]
    (lib.sp_seal_batch if seal else lib.sp_open_batch)(aead, jobs, len(messages))
    after = bytes(ffi.buffer(buffer))
    results = [(jobs[i].ok, after[out : out + length]) for i, (out, length) in enumerate(outputs)]
    for out, length in outputs:
        expected[out : out + length] = after[out : out + length]
    assert after == expected, "something outside the outputs was written"
    return results
