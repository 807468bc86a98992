"""symmetric.c: random transcripts race the plain twin in core/; nothing is written outside or stays behind.

What each step is, tests/appliance/core/test_symmetric.py asks both of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import cffi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.symmetric import PlainState
from crypto_ext import Symmetric
from crypto_ext._native import ffi, lib
from tests.crypto_ext import leaf
from tests.crypto_ext.conftest import faulty_module
from tests.crypto_ext.test_wipe import ROOT, found

KEY = st.binary(min_size=32, max_size=32)
TEXT = st.binary(max_size=64)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("mix"), KEY),
        st.tuples(st.just("mix"), KEY, KEY, KEY),
        st.tuples(st.just("seal"), KEY, TEXT),
        st.tuples(st.just("open"), KEY, st.binary(min_size=16, max_size=80)),  # forged
        st.tuples(st.just("open_end"), KEY, st.binary(min_size=16, max_size=16)),  # forged
        st.tuples(st.just("fork"), KEY),
        st.tuples(st.just("fork"), KEY, KEY, KEY),
        st.tuples(st.just("mac"), KEY, st.binary(max_size=150)),
    ),
    max_size=12,
)


def inside(state: Symmetric | PlainState) -> bytes:
    """The chaining key and the hash."""
    if isinstance(state, PlainState):
        return bytes(state._chain_key + state._hash)
    return bytes(state._memory[:64])


@given(chain_key=KEY, digest=KEY, steps=STEPS, psk=KEY, text=TEXT)
def test_random_transcripts_of_two_sides_and_two_kinds(chain_key, digest, steps, psk, text):
    """One sends, one receives, each of either kind: four states that never differ."""
    senders = [Symmetric(chain_key, digest), PlainState(chain_key, digest)]
    receivers = [Symmetric(chain_key, digest), PlainState(chain_key, digest)]
    for name, *arguments in steps:
        if name == "fork":
            senders, receivers = ([state.fork(*arguments) for state in side] for side in (senders, receivers))
            continue
        one, other = (getattr(state, name)(*arguments) for state in senders)
        assert one == other
        for state in receivers:
            if name == "seal":
                assert state.open(arguments[0], one) == arguments[1]
            else:
                getattr(state, name)(*arguments)
        assert len({inside(state) for state in (*senders, *receivers)}) == 1
    (tag, *keys), other_end = (state.seal_end(psk) for state in senders)
    assert (tag, *keys) == other_end
    for state in receivers:
        assert state.open_end(psk, tag) == tuple(keys)
    assert {inside(state) for state in (*senders, *receivers)} == {bytes(64)}


def test_nothing_is_written_outside_and_a_forgery_writes_nothing() -> None:
    around = ffi.new("struct sp_symmetric[3]")
    canary = b"\xee" * ffi.sizeof("struct sp_symmetric")
    for size in range(65):
        ffi.buffer(around)[:] = 3 * canary
        assert lib.sp_symmetric_seal(around + 1, bytes(32), bytes(size), size) == 0
        assert bytes(around[1].out)[size + 16 :] == b"\xee" * (64 - size)
        sealed = bytes(ffi.buffer(around[1].out))[: size + 16]
        ffi.buffer(around)[:] = 3 * canary
        forged = bytes([sealed[0] ^ 1]) + sealed[1:]
        assert lib.sp_symmetric_open(around + 1, bytes(32), forged, len(forged)) < 0
        assert ffi.buffer(around)[:] == 3 * canary
        assert lib.sp_symmetric_open(around + 1, bytes(32), sealed, len(sealed)) == 0
        assert bytes(around[1].out) == bytes(size) + b"\xee" * (80 - size)
        assert ffi.buffer(around + 0, len(canary))[:] == ffi.buffer(around + 2, len(canary))[:] == canary


@pytest.mark.parametrize("size", [0, 15, 81, 2**32 + 16, 2**64 - 1])
def test_impossible_lengths_are_refused_by_c_too(size: int) -> None:
    state = ffi.new("struct sp_symmetric *")
    assert lib.sp_symmetric_open(state, bytes(32), bytes(80), size) < 0
    assert size < 65 or lib.sp_symmetric_seal(state, bytes(32), bytes(80), size) < 0
    assert bytes(ffi.buffer(state)) == bytes(ffi.sizeof("struct sp_symmetric"))


def test_no_step_asks_for_memory(allocations: Callable[[], int]) -> None:
    faulty = faulty_module()
    state = faulty.ffi.new("struct sp_symmetric *")
    before = allocations()
    faulty.lib.sp_symmetric_mac(state, bytes(32), b"message", 7)
    faulty.lib.sp_symmetric_mix(state, state, bytes(32), bytes(32), bytes(32))
    faulty.lib.sp_symmetric_seal(state, bytes(32), b"text", 4)
    faulty.lib.sp_symmetric_open(state, bytes(32), bytes(40), 40)
    faulty.lib.sp_symmetric_open_end(state, bytes(32), bytes(16))
    faulty.lib.sp_symmetric_seal_end(state, bytes(32))
    assert allocations() == before


# ---- what stays behind -----------------------------------------------------------------------------------

# Asked of another process, which answers with complements: what is looked for must not be in ours already.
SECRETS = """
import sys
from appliance.core.primitives import _extract, kdf1, kdf2, kdf3
key = bytes(b ^ 255 for b in bytes.fromhex(sys.argv[1]))
prk, (chain_key, cipher) = _extract(bytes(32), key), kdf2(bytes(32), key)
once = kdf1(chain_key, key)
mixed = kdf1(once, key)
_, tau, last = kdf3(mixed, key)
ended = kdf3(mixed, key)[0]
last_prk = _extract(mixed, key)
for secret in (prk, chain_key, cipher, once, mixed, tau, last, last_prk, ended, *kdf2(ended, b"")):
    print(bytes(b ^ 255 for b in secret).hex())
"""


def search() -> str:
    """How often what a transcript derives lies in memory after it, and before its last step and wiping."""
    inverse = os.urandom(32)
    words = (sys.executable, "-c", SECRETS, inverse.hex())
    told = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    secrets = [inverse, *map(bytes.fromhex, told.stdout.split())]
    key, state = ffi.new("uint8_t[32]"), ffi.new("struct sp_symmetric *")
    for i in range(32):
        key[i] = inverse[i] ^ 255
    lib.sp_symmetric_seal(state, key, b"", 0)
    present = found(secrets[2])  # the chaining key
    lib.sp_symmetric_mix(state, state, key, key, ffi.NULL)
    lib.sp_symmetric_seal_end(state, key)
    lib.sp_wipe(state, ffi.sizeof("struct sp_symmetric"))
    lib.sp_wipe(key, 32)
    return f"{present} {sum(map(found, secrets))}"


def test_what_was_derived_is_nowhere() -> None:
    words = (sys.executable, "-c", "from tests.crypto_ext.test_symmetric import search; print(search())")
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT, timeout=100)
    present, left = map(int, done.stdout.split())
    assert left == 0
    assert present > 0  # or the search proves nothing


LOOKING = """
int leaf_traces_of_a_copy(const uint8_t *key);
int leaf_traces_of_symmetric(struct sp_symmetric *state, const uint8_t *key);
"""


@pytest.mark.parametrize("compiler", leaf.COMPILERS)
@pytest.mark.parametrize("optimisation", ["-O0", "-O2", "-O3"])
def test_no_step_leaves_a_key_on_the_stack(compiler: str, optimisation: str) -> None:
    looking = cffi.FFI()
    looking.cdef(leaf.declarations() + LOOKING)
    flags = [*leaf.WARNINGS, optimisation, "-fPIC", "-shared"]
    sources = [leaf.HERE / "c" / "leaf_stack.c", *leaf.SYMMETRIC]
    library = looking.dlopen(str(leaf.compiled("leaf-stack", sources, flags, compiler=compiler)))
    assert library.leaf_traces_of_a_copy(os.urandom(32)) > 0  # or the search proves nothing
    state = looking.new("struct sp_symmetric *")
    assert library.leaf_traces_of_symmetric(state, os.urandom(32)) == 0


def test_it_is_wiped_with_its_last_reference() -> None:
    state = Symmetric(b"c" * 32, b"h" * 32)
    memory = state._memory
    state.mix(b"e" * 32)
    assert memory[:64] != bytes(64)
    del state
    assert memory[:] == bytes(144)
