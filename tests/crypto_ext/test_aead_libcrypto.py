"""aead_libcrypto.c: when libcrypto fails; what is done with keys, and with texts before they are verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crypto_ext import batches, leaf
from tests.crypto_ext.batches import CANARY, TAG_BYTES, Message
from tests.crypto_ext.evp import faulty


def before(wire: Message, *, in_place: bool) -> bytes:
    """What stands where a message would be opened, as batches.run lays it out."""
    return wire.text[:-TAG_BYTES] if in_place else bytes([CANARY]) * (len(wire.text) - TAG_BYTES)


@pytest.mark.parametrize("fail", ["leaf_failing_update", "leaf_failing_init"])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_failure_inside_lets_no_plaintext_out_and_is_over_with_the_next_job(fail, in_place):
    ffi, lib = faulty()
    aead = lib.sp_aead_new(b"libcrypto")
    message = Message(bytes(range(32)), 3, b"plaintext that must not leave" * 10)
    wire = message._replace(text=batches.sealed(message))
    for _ in range(2):
        setattr(lib, fail, 1)
        [(_, out)] = batches.run(leaf.Leaf(ffi, lib), aead, [message], seal=True, in_place=in_place)
        assert out == bytes(len(message.text) + TAG_BYTES)
        [(ok, out)] = batches.run(leaf.Leaf(ffi, lib), aead, [wire], seal=False, in_place=in_place)
        assert (ok, out) == (0, before(wire, in_place=in_place))
        setattr(lib, fail, 0)
        [(_, out)] = batches.run(leaf.Leaf(ffi, lib), aead, [message], seal=True, in_place=in_place)
        assert out == wire.text
        [(ok, out)] = batches.run(leaf.Leaf(ffi, lib), aead, [wire], seal=False, in_place=in_place)
        assert (ok, out) == (1, message.text)
    lib.sp_aead_free(aead)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_text_longer_than_any_datagram_waits_for_its_tag_too(in_place):
    ffi, lib = faulty()
    aead = lib.sp_aead_new(b"libcrypto")
    sizes = (100_000, 9, 300_000)
    messages = [Message(bytes(range(32)), n, bytes([n]) * size) for n, size in enumerate(sizes)]
    wires = [message._replace(text=batches.sealed(message)) for message in messages]
    forged = [wire._replace(counter=77) for wire in wires]
    got = batches.run(leaf.Leaf(ffi, lib), aead, [*forged, *wires], seal=False, in_place=in_place)
    assert got == [(0, before(wire, in_place=in_place)) for wire in forged] + [(1, m.text) for m in messages]
    lib.sp_aead_free(aead)


def test_without_memory_for_a_long_text_it_stays_closed():
    ffi, lib = faulty()
    aead = lib.sp_aead_new(b"libcrypto")
    messages = [Message(bytes(range(32)), n, bytes(size)) for n, size in enumerate((50, 100_000, 70))]
    wires = [message._replace(text=batches.sealed(message)) for message in messages]
    short, long, other = wires
    lib.leaf_failing_malloc = 1
    got = batches.run(leaf.Leaf(ffi, lib), aead, [short, long], seal=False, in_place=False)
    assert got == [(1, bytes(50)), (0, before(long, in_place=False))]
    lib.leaf_failing_malloc = 0
    got = batches.run(leaf.Leaf(ffi, lib), aead, [other, long], seal=False, in_place=False)
    assert got == [(1, bytes(70)), (1, bytes(100_000))]
    lib.leaf_failing_malloc = 1
    assert lib.sp_aead_new(b"libcrypto") == ffi.NULL
    lib.sp_aead_free(aead)


@pytest.mark.parametrize("counter", [5, 6], ids=["right", "forged"])
def test_nothing_decrypted_stays_in_scratch(counter):
    """Neither at the end, nor in the scratch that was too small, nor between two batches."""
    ffi, lib = faulty()
    aead = lib.sp_aead_new(b"libcrypto")
    secret = Message(bytes(range(32)), 5, bytes(range(200, 232)) * 40)
    ffi.buffer(lib.leaf_needle)[:] = secret.text[:32]
    wire = secret._replace(text=batches.sealed(secret), counter=counter)
    if counter != secret.counter:  # what it is decrypted to, right or not
        stream = [batches.sealed(secret._replace(text=bytes(32), counter=n))[:32] for n in (5, counter)]
        ffi.buffer(lib.leaf_needle)[:] = bytes(
            a ^ b ^ c for a, b, c in zip(secret.text[:32], *stream, strict=False)
        )
    long = Message(secret.key, 1, bytes(100_000))
    long = long._replace(text=batches.sealed(long))
    batches.run(leaf.Leaf(ffi, lib), aead, [wire, long, wire], seal=False, in_place=False)
    lib.sp_aead_free(aead)
    assert lib.leaf_needles_freed == 0


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


def test_auto_lends_libcrypto_a_long_packet_alone_and_forgets_their_keys_too():
    ffi, lib = faulty()
    aead = lib.sp_aead_new(b"auto")
    if ffi.string(lib.sp_aead_path(aead)) == b"avx2":
        short, long = (Message(bytes([9]) * 32, 1, bytes(length)) for length in (1000, 9000))
        wide = "avx512f" in Path("/proc/cpuinfo").read_text()  # then libcrypto seals a long one faster, too
        for seal, lent in ((True, wide), (False, True)):
            short_in, long_in = (m if seal else m._replace(text=batches.sealed(m)) for m in (short, long))
            for messages, keyings in (
                *(([short_in], 0), ([long_in] * 2, 0), ([long_in] * 8, 0)),
                *(([long_in], int(lent)), ([long_in], 0)),
            ):
                lib.leaf_keyings = 0
                got = batches.run(leaf.Leaf(ffi, lib), aead, messages, seal=seal, in_place=False)
                assert lib.leaf_keyings == keyings
                assert seal or all(ok for ok, _ in got)
        lib.leaf_keyings = 0
        lib.sp_aead_forget(aead)
        batches.run(leaf.Leaf(ffi, lib), aead, [long_in], seal=False, in_place=False)
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
