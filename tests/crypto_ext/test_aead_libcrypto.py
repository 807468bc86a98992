"""aead_libcrypto.c: when libcrypto is missing, incomplete, wrong or failing; and what it does with keys."""

from __future__ import annotations

import pytest

from tests.crypto_ext import batches, leaf
from tests.crypto_ext.batches import Message

FAULTS = """
extern int leaf_failing_update, leaf_failing_init, leaf_keyings, leaf_needles_freed;
extern unsigned char leaf_needle[32];
"""


def faulty(fault: int = 0, *more: str) -> leaf.Leaf:
    ffi, lib = leaf.load(
        "dlopen=leaf_dlopen", "dlsym=leaf_dlsym", "free=leaf_free", f"LEAF_FAULT={fault}", *more,
        extra="leaf_faults.c", declare=FAULTS,
    )  # fmt: skip
    lib.leaf_failing_update = lib.leaf_failing_init = lib.leaf_keyings = lib.leaf_needles_freed = 0
    return leaf.Leaf(ffi, lib)


@pytest.mark.parametrize("fault", [1, 2, 3], ids=["no library", "a symbol is missing", "wrong answers"])
def test_without_a_usable_libcrypto_auto_is_portable(fault):
    ffi, lib = faulty(fault, "SP_NO_AVX2")
    assert lib.sp_aead_new(b"libcrypto") == ffi.NULL
    aead = lib.sp_aead_new(b"auto")
    assert ffi.string(lib.sp_aead_path(aead)) == b"portable"
    message = Message(bytes(range(32)), 9, b"still sealed")
    [(_, out)] = batches.run(leaf.Leaf(ffi, lib), aead, [message], seal=True, in_place=False)
    assert out == batches.sealed(message)
    lib.sp_aead_free(aead)


@pytest.mark.parametrize("fail", ["leaf_failing_update", "leaf_failing_init"])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_failure_inside_leaves_zeroes_and_is_over_with_the_next_job(fail, in_place):
    ffi, lib = faulty()
    aead = lib.sp_aead_new(b"libcrypto")
    message = Message(bytes(range(32)), 3, b"plaintext that must not leave" * 10)
    wire = message._replace(text=batches.sealed(message))
    for _ in range(2):
        setattr(lib, fail, 1)
        [(_, out)] = batches.run(leaf.Leaf(ffi, lib), aead, [message], seal=True, in_place=in_place)
        assert out == bytes(len(message.text) + 16)
        [(ok, out)] = batches.run(leaf.Leaf(ffi, lib), aead, [wire], seal=False, in_place=in_place)
        assert (ok, out) == (0, bytes(len(message.text)))
        setattr(lib, fail, 0)
        [(_, out)] = batches.run(leaf.Leaf(ffi, lib), aead, [message], seal=True, in_place=in_place)
        assert out == wire.text
        [(ok, out)] = batches.run(leaf.Leaf(ffi, lib), aead, [wire], seal=False, in_place=in_place)
        assert (ok, out) == (1, message.text)
    lib.sp_aead_free(aead)


def test_keyed_again_only_when_the_key_differs():
    ffi, lib = faulty()
    aead = lib.sp_aead_new(b"libcrypto")
    a, b = bytes([1]) * 32, bytes([1]) * 31 + bytes([2])
    lib.leaf_keyings = 0
    messages = [Message(key, i, b"x" * i) for i, key in enumerate([a, a, a, b, b, a])]
    got = batches.run(leaf.Leaf(ffi, lib), aead, messages, seal=True, in_place=False)
    assert lib.leaf_keyings == 3
    assert [out for _, out in got] == [batches.sealed(message) for message in messages]
    batches.run(leaf.Leaf(ffi, lib), aead, messages[-1:], seal=True, in_place=False)
    assert lib.leaf_keyings == 3, "the key of the batch before is still there"
    lib.sp_aead_free(aead)


def test_another_key_at_the_same_address_is_noticed():
    ffi, lib = faulty()
    aead = lib.sp_aead_new(b"libcrypto")
    key = ffi.new("uint8_t[32]")
    out = ffi.new("uint8_t[24]")
    text = ffi.new("uint8_t[8]")
    job = ffi.new("struct sp_aead_job *", {"key": key, "counter": 5, "out": out, "len": 8})
    setattr(job, "in", text)
    for byte in range(4):
        ffi.buffer(key)[:] = bytes([byte]) * 32
        lib.sp_seal_batch(aead, job, 1)
        assert bytes(ffi.buffer(out)) == batches.sealed(Message(bytes([byte]) * 32, 5, bytes(8)))
    lib.sp_aead_free(aead)


def test_forgetting_replaces_the_key_in_both_contexts():
    ffi, lib = faulty()
    aead = lib.sp_aead_new(b"libcrypto")
    message = Message(bytes([9]) * 32, 1, b"text")
    wire = message._replace(text=batches.sealed(message))
    for _ in range(2):
        lib.leaf_keyings = 0
        for text, seal in ((message, True), (wire, False)):
            batches.run(leaf.Leaf(ffi, lib), aead, [text], seal=seal, in_place=False)
        assert lib.leaf_keyings == 2, "keyed for the first time, and again after it was forgotten"
        lib.sp_aead_forget(aead)
    lib.sp_aead_free(aead)


def test_auto_lets_libcrypto_seal_a_long_packet_alone_and_forgets_their_keys_too():
    ffi, lib = faulty()
    aead = lib.sp_aead_new(b"auto")
    if ffi.string(lib.sp_aead_path(aead)) == b"avx2":
        short, long = (Message(bytes([9]) * 32, 1, bytes(length)) for length in (1000, 9000))
        for messages, keyings in (([short], 0), ([long] * 2, 0), ([long] * 8, 0), ([long], 1), ([long], 0)):
            lib.leaf_keyings = 0
            batches.run(leaf.Leaf(ffi, lib), aead, messages, seal=True, in_place=False)
            assert lib.leaf_keyings == keyings
        lib.leaf_keyings = 0
        other = Message(bytes([8]) * 32, 1, bytes(9000))
        wire = other._replace(text=batches.sealed(other))
        assert batches.run(leaf.Leaf(ffi, lib), aead, [wire], seal=False, in_place=False) == [(1, other.text)]
        assert lib.leaf_keyings == 0, "libcrypto opens before it has verified: it is not asked to"
        lib.sp_aead_forget(aead)
        batches.run(leaf.Leaf(ffi, lib), aead, [long], seal=True, in_place=False)
        assert lib.leaf_keyings == 3, "two to forget, one to know it again"
    lib.sp_aead_free(aead)


def test_the_cached_key_is_wiped_before_it_is_freed():
    ffi, lib = faulty()
    aead = lib.sp_aead_new(b"libcrypto")
    secret = bytes(range(100, 132))
    ffi.buffer(lib.leaf_needle)[:] = secret
    message = Message(secret, 1, b"text")
    batches.run(leaf.Leaf(ffi, lib), aead, [message], seal=True, in_place=False)
    wire = message._replace(text=batches.sealed(message))
    assert batches.run(leaf.Leaf(ffi, lib), aead, [wire], seal=False, in_place=False) == [(1, b"text")]
    lib.sp_aead_free(aead)
    assert lib.leaf_needles_freed == 0
