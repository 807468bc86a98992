"""chacha_avx2.c and chacha_avx512.c: runs of blocks in lanes, against an independent ChaCha20."""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext import engines, poly_twin

BLOCK = engines.BLOCK_BYTES
each_engine = engines.each_engine


def stream(key: bytes, counter: int, block: int, blocks: int) -> bytes:
    nonce = struct.pack("<LLQ", block, 0, counter)
    return Cipher(ChaCha20(key, nonce), mode=None).encryptor().update(bytes(blocks * BLOCK))


def xored(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


RUN = st.fixed_dictionaries({
    "key": st.binary(min_size=32, max_size=32),
    "counter": st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 2**32 - 1, 2**64 - 1])),
    "block": st.one_of(st.integers(0, 3), st.just(2**32 - 50)),
    "blocks": st.integers(1, 50),
    "text": st.booleans(),
    "head": st.booleans(),
    "tail": st.booleans(),
})  # fmt: skip


@each_engine
@given(runs=st.lists(RUN, max_size=12), macs=st.lists(st.binary(max_size=900), max_size=3))
def test_runs_beside_a_queue_of_tags(path, runs, macs):
    ffi, lib = engines.load()
    array = ffi.new("struct sp_run[]", max(len(runs), 1))
    buffers = []
    for slot, run in zip(array, runs, strict=False):
        size = run["blocks"] * BLOCK
        key = ffi.new("uint8_t[]", run["key"])
        text = ffi.new("uint8_t[]", stream(bytes(32), 1, 0, run["blocks"]))
        out = ffi.new("uint8_t[]", b"\xa5" * (size + 2 * BLOCK))
        ends = ffi.new("uint8_t[]", b"\xa5" * 2 * BLOCK)
        buffers.append((key, text, out, ends))
        slot.key, slot.counter, slot.block, slot.blocks = key, run["counter"], run["block"], run["blocks"]
        zero = run["block"] * BLOCK
        slot.out = int(ffi.cast("uintptr_t", out)) + BLOCK - zero
        if run["text"]:
            setattr(slot, "in", int(ffi.cast("uintptr_t", text)) - zero)
        if run["head"]:
            slot.head = ends
        if run["tail"] and (run["blocks"] > 1 or not run["head"]):
            slot.tail = ends + BLOCK
    mac_key = bytes(range(32))
    c_key = ffi.new("uint8_t[]", mac_key)
    queue_macs = ffi.new("struct sp_mac[]", max(len(macs), 1))
    texts = [ffi.new("uint8_t[]", text or b"\0") for text in macs]
    tags = [ffi.new("uint8_t[16]") for _ in macs]
    for i, text in enumerate(macs):
        queue_macs[i].key, queue_macs[i].text, queue_macs[i].tag, queue_macs[i].len = (
            c_key,
            texts[i],
            tags[i],
            len(text),
        )
    queue = ffi.new(
        "struct sp_queue *",
        {"next": queue_macs, "late": queue_macs + len(macs), "end": queue_macs + len(macs)},
    )

    getattr(lib, f"sp_chacha_{path}")(lib.leaf_group(), array, len(runs), queue)
    getattr(lib, engines.MACS[path])(queue)

    assert [bytes(tag) for tag in tags] == [poly_twin.tag(mac_key, text) for text in macs]
    for run, slot, (_, text, out, ends) in zip(runs, array, buffers, strict=False):
        key_stream = stream(run["key"], run["counter"], run["block"], run["blocks"])
        expected = xored(key_stream, bytes(text)[: len(key_stream)]) if run["text"] else key_stream
        first = BLOCK if slot.head != ffi.NULL else 0
        last = len(expected) - BLOCK if slot.tail != ffi.NULL else len(expected)
        last = max(first, last)
        got = bytes(ffi.buffer(out, len(expected) + 2 * BLOCK))
        canary = b"\xa5" * BLOCK
        assert got[:BLOCK] == got[-BLOCK:] == canary
        untouched = b"\xa5" * first, b"\xa5" * (len(expected) - last)
        assert got[BLOCK:-BLOCK] == untouched[0] + expected[first:last] + untouched[1]
        assert bytes(ends)[:BLOCK] == (key_stream[:BLOCK] if first else canary)
        assert bytes(ends)[BLOCK : 2 * BLOCK] == (key_stream[-BLOCK:] if slot.tail != ffi.NULL else canary)
