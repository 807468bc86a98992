"""aead.c: every path behind the seam seals and opens what an independent implementation does."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext import batches, engines, leaf
from tests.crypto_ext.batches import CANARY, TAG_BYTES, Message

ALL_PATHS = {
    "avx512": ("avx512", ()),
    "avx2": ("avx2", ()),
    "auto": ("auto", ()),
    "libcrypto": ("libcrypto", ()),
    "portable": ("portable", ()),
    "portable without 128-bit integers": ("portable", ("SP_NO_INT128",)),
}

PATHS = {label: path for label, path in ALL_PATHS.items() if engines.runs_here(path[0])}
BEST = next(path for path in ("avx512", "avx2", "libcrypto") if engines.runs_here(path))
each_path = pytest.mark.parametrize(
    "path", [engines.param(label, path) for label, (path, _) in ALL_PATHS.items()]
)
EDGES = [0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 191, 192, 193, 255, 256, 257, 447, 448, 449, 1420, 9000]


class Opened:
    """A leaf library with one sp_aead of a path."""

    def __init__(self, path: str):
        name, defines = PATHS[path]
        self.leaf = leaf.load(*defines)
        self.aead = self.leaf.lib.sp_aead_new(name.encode())
        assert self.aead != self.leaf.ffi.NULL

    def run(self, messages, **how):
        return batches.run(self.leaf, self.aead, messages, **how)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.leaf.lib.sp_aead_free(self.aead)


def noise_messages(lengths, seed: int, keys: int) -> list[Message]:
    noise = random.Random(seed)
    ring = [noise.randbytes(32) for _ in range(keys)]
    counters = [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1]
    return [
        Message(noise.choice(ring), noise.choice([*counters, noise.getrandbits(64)]), noise.randbytes(length))
        for length in lengths
    ]


@each_path
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("keys", [1, 3])
def test_every_short_length_and_the_edges(path, in_place, keys):
    messages = noise_messages([*range(300), *EDGES], 5, keys)
    expected = [batches.sealed(message) for message in messages]
    with Opened(path) as opened:
        got = opened.run(messages, seal=True, in_place=in_place)
        assert [out for _, out in got] == expected
        back = [m._replace(text=text) for m, text in zip(messages, expected, strict=True)]
        assert opened.run(back, seal=False, in_place=in_place) == [(1, m.text) for m in messages]


LENGTH = st.one_of(st.integers(0, 9000), st.sampled_from(EDGES))


@each_path
@given(
    lengths=st.lists(LENGTH, max_size=24),
    seed=st.integers(0, 2**32),
    keys=st.integers(1, 4),
    in_place=st.booleans(),
)
def test_random_batches(path, lengths, seed, keys, in_place):
    messages = noise_messages(lengths, seed, keys)
    expected = [batches.sealed(message) for message in messages]
    with Opened(path) as opened:
        got = opened.run(messages, seal=True, in_place=in_place, seed=seed)
        assert [out for _, out in got] == expected
        back = [m._replace(text=text) for m, text in zip(messages, expected, strict=True)]
        got = opened.run(back, seal=False, in_place=in_place, seed=seed)
        assert got == [(1, m.text) for m in messages]


@each_path
@given(
    lengths=st.lists(st.one_of(st.integers(0, 600), st.sampled_from(EDGES)), min_size=1, max_size=24),
    seed=st.integers(0, 2**32),
    in_place=st.booleans(),
    data=st.data(),
)
def test_forged_among_right_ones(path, lengths, seed, in_place, data):
    messages = noise_messages(lengths, seed, 2)
    wire = [m._replace(text=batches.sealed(m)) for m in messages]
    forged = data.draw(st.sets(st.integers(0, len(wire) - 1), min_size=1))
    for i in forged:
        bit = data.draw(st.integers(0, 8 * len(wire[i].text) - 1))
        text = bytearray(wire[i].text)
        text[bit // 8] ^= 1 << bit % 8
        wire[i] = wire[i]._replace(text=bytes(text))
    with Opened(path) as opened:
        got = opened.run(wire, seal=False, in_place=in_place, seed=seed)
    for i, (ok, out) in enumerate(got):
        assert ok == (i not in forged)
        if ok:
            assert out == messages[i].text
        else:
            assert out == (wire[i].text[:-TAG_BYTES] if in_place else bytes([CANARY]) * len(out))


@each_path
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("lengths", [[1420], [4096], [9000], [70_000], [1420] * 8, [9000] * 3])
def test_a_wrong_tag_leaves_the_place_of_the_text_as_it_was(path, lengths, in_place):
    """Also where a single long packet goes to libcrypto, which decrypts before it verifies."""
    messages = noise_messages(lengths, 11, 1)
    wire = [m._replace(text=batches.sealed(m)) for m in messages]
    wire = [m._replace(text=m.text[:-1] + bytes([m.text[-1] ^ 1])) for m in wire]
    with Opened(path) as opened:
        got = opened.run(wire, seal=False, in_place=in_place)
    for message, (ok, out) in zip(wire, got, strict=True):
        before = message.text[:-TAG_BYTES] if in_place else bytes([CANARY]) * len(out)
        assert (ok, out) == (0, before)


@each_path
def test_every_bit_of_a_small_message_counts(path):
    message = Message(bytes(range(32)), 7, b"keep out")
    text = batches.sealed(message)
    number, size = int.from_bytes(text, "big"), len(text)
    wrong = [message._replace(text=(number ^ 1 << bit).to_bytes(size, "big")) for bit in range(8 * size)]
    wrong += [message._replace(text=text, counter=8), message._replace(text=text, key=bytes(32))]
    wrong += [message._replace(text=text[:-1]), message._replace(text=text + b"\0")]
    with Opened(path) as opened:
        assert [ok for ok, _ in opened.run(wrong, seal=False, in_place=False)] == [0] * len(wrong)
        assert opened.run([message._replace(text=text)], seal=False, in_place=False) == [(1, b"keep out")]


@each_path
def test_shorter_than_a_tag_is_not_opened(path):
    messages = [Message(bytes(32), 1, bytes(length)) for length in range(TAG_BYTES)]
    with Opened(path) as opened:
        assert opened.run(messages, seal=False, in_place=False) == [(0, b"")] * TAG_BYTES


@each_path
def test_an_empty_batch(path):
    with Opened(path) as opened:
        assert opened.run([], seal=True, in_place=False) == []
        assert opened.run([], seal=False, in_place=False) == []


@each_path
@pytest.mark.parametrize(("key", "nonce", "block", "stream"), [
    ("00" * 32, 0, 1, "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
                      "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"),
    ("00" * 31 + "01", 0, 1, "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
                             "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0"),
    ("00ff" + "00" * 30, 0, 2, "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca"
                               "13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096"),
])  # fmt: skip
def test_key_stream_of_rfc_8439_appendix_a1(path, key, nonce, block, stream):
    """Its vectors whose nonce is one of ours: zeros seal to the key stream from block 1 on."""
    message = Message(bytes.fromhex(key), nonce, bytes(64 * block))
    with Opened(path) as opened:
        [(_, out)] = opened.run([message], seal=True, in_place=False)
    assert out[64 * (block - 1) : 64 * block] == bytes.fromhex(stream)


def test_auto_takes_the_best_that_this_machine_can_run():
    ffi, lib = leaf.load()
    aead = lib.sp_aead_new(b"auto")
    assert ffi.string(lib.sp_aead_path(aead)).decode() == BEST
    lib.sp_aead_free(aead)


def test_a_path_that_this_machine_cannot_run_is_refused():
    ffi, lib = leaf.load()
    for label, (path, _) in ALL_PATHS.items():
        aead = lib.sp_aead_new(path.encode())
        assert (aead != ffi.NULL) == (label in PATHS), label
        lib.sp_aead_free(aead)


def test_an_unknown_path_is_refused():
    ffi, lib = leaf.load()
    for name in (b"", b"rot13", b"portable "):
        assert lib.sp_aead_new(name) == ffi.NULL
    lib.sp_aead_free(ffi.NULL)
