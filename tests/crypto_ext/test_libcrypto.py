"""libcrypto.c: a system without libcrypto, or with one that we cannot use."""

from __future__ import annotations

import pytest

from tests.crypto_ext import batches, evp, leaf
from tests.crypto_ext.batches import Message

UNUSABLE = {
    "no library": evp.NO_LIBRARY,
    "a symbol is missing": evp.NO_SYMBOL,
    "wrong answers": evp.WRONG_ANSWERS,
}


@pytest.mark.parametrize("fault", UNUSABLE.values(), ids=UNUSABLE)
def test_without_a_usable_libcrypto_auto_is_portable(fault):
    ffi, lib = evp.faulty(fault, "SP_NO_AVX2")
    assert lib.sp_aead_new(b"libcrypto") == ffi.NULL
    aead = lib.sp_aead_new(b"auto")
    assert ffi.string(lib.sp_aead_path(aead)) == b"portable"
    assert lib.sp_aead_broken(b"libcrypto") == (fault == evp.WRONG_ANSWERS)
    assert lib.sp_aead_broken(b"portable") == lib.sp_aead_broken(b"avx2") == 0
    message = Message(bytes(range(32)), 9, b"still sealed")
    [(_, out)] = batches.run(leaf.Leaf(ffi, lib), aead, [message], seal=True, in_place=False)
    assert out == batches.sealed(message)
    lib.sp_aead_free(aead)


def test_it_is_looked_for_once():
    ffi, lib = evp.faulty(evp.NO_LIBRARY)
    assert lib.sp_aead_new(b"libcrypto") == ffi.NULL
    asked = lib.leaf_asked
    assert asked > 1, "by more than one name"
    assert lib.sp_aead_new(b"libcrypto") == ffi.NULL
    assert lib.leaf_asked == asked
