"""The cipher's sources with a libcrypto that is missing, incomplete, wrong or failing (c/leaf_faults.c)."""

from __future__ import annotations

from tests.crypto_ext import leaf

FAULTS = """
extern int leaf_failing_update, leaf_failing_init, leaf_failing_malloc;
extern int leaf_asked, leaf_keyings, leaf_needles_freed;
extern unsigned char leaf_needle[32];
"""
NO_LIBRARY, NO_SYMBOL, WRONG_ANSWERS = 1, 2, 3


def faulty(fault: int = 0, *more: str) -> leaf.Leaf:
    ffi, lib = leaf.load(
        *("dlopen=leaf_dlopen", "dlsym=leaf_dlsym", "malloc=leaf_malloc", "free=leaf_free"),
        *(f"LEAF_FAULT={fault}", *more),
        extra="leaf_faults.c", declare=FAULTS,
    )  # fmt: skip
    lib.leaf_failing_update = lib.leaf_failing_init = lib.leaf_failing_malloc = 0
    lib.leaf_keyings = lib.leaf_needles_freed = 0
    return leaf.Leaf(ffi, lib)
