"""The vector engines by themselves, and which of them this machine can run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from tests.conftest import CPU_LACKS
from tests.crypto_ext import leaf

NEEDS = {
    "avx512": {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512ifma", "avx512_vbmi2"},
    "avx2": {"avx2", "bmi2"},
}
MACS = {"avx512": "sp_mac_avx512", "avx2": "sp_mac_mulx"}
BLOCK_BYTES = 64

DECLARE = """
struct sp_run {
    const uint8_t *key; uint64_t counter; uint32_t block; uint32_t blocks; uint32_t placed;
    uintptr_t in; uintptr_t out; uint8_t *head; uint8_t *tail;
};
struct sp_mac { const uint8_t *key; const uint8_t *text; uint8_t *tag; uint32_t len; };
struct sp_poly { uint64_t h[3], r[2], r5; const uint8_t *text; uint32_t blocks; };
struct sp_queue { const struct sp_mac *next, *late, *end; int begun; struct sp_poly poly; };
struct sp_xor { uint8_t *out; const uint8_t *in, *stream; uint32_t len; };
void *leaf_group(void);
void sp_chacha_avx512(void *group, const struct sp_run *runs, size_t n, struct sp_queue *queue);
void sp_mac_avx512(struct sp_queue *queue);
void sp_xor_avx512(const struct sp_xor *xors, size_t n);
void sp_chacha_avx2(void *group, const struct sp_run *runs, size_t n, struct sp_queue *queue);
void sp_mac_mulx(struct sp_queue *queue);
void sp_xor_avx2(const struct sp_xor *xors, size_t n);
size_t sp_order(struct sp_aead_job **ordered, struct sp_aead_job *jobs, size_t n, uint32_t least);
size_t sp_together(struct sp_aead_job *const *ordered, size_t n, uint32_t step, uint32_t bytes);
int sp_cpu_has_avx2(void);
int sp_cpu_has_avx512(void);
int sp_cpu_has_avx512f(void);
"""


def flags() -> set[str]:
    """What the kernel says of this CPU."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def runs_here(path: str) -> bool:
    return NEEDS.get(path, set()) <= flags()


def param(label: str, path: str = "") -> ParameterSet:
    """One path as a test's parameter: skipped, and why, where the CPU cannot run it."""
    lacking = " ".join(sorted(NEEDS.get(path or label, set()) - flags()))
    return pytest.param(label, marks=[pytest.mark.skip(reason=f"{CPU_LACKS} {lacking}")] if lacking else [])


HERE = [path for path in NEEDS if runs_here(path)]
each_engine = pytest.mark.parametrize("path", [param(path) for path in NEEDS])
each_path = pytest.mark.parametrize("path", [param(path) for path in (*NEEDS, "portable", "libcrypto")])


def load(compiler: str = "") -> leaf.Leaf:
    return leaf.load(extra="leaf_engines.c", declare=DECLARE, compiler=compiler)


def macs(path: str, jobs: Sequence[tuple[bytes, bytes]], compiler: str = "") -> list[bytes]:
    """The tags of these (key, text), all in one queue. Texts end where their memory ends."""
    ffi, lib = load(compiler)
    array = ffi.new("struct sp_mac[]", max(len(jobs), 1))
    kept: list[Any] = []
    for slot, (key, text) in zip(array, jobs, strict=False):
        c_key, c_text, tag = (
            ffi.new("uint8_t[]", key),
            ffi.new("uint8_t[]", text or b"\0"),
            ffi.new("uint8_t[16]"),
        )
        kept.append((c_key, c_text, tag))
        slot.key, slot.text, slot.len, slot.tag = c_key, c_text, len(text), tag
    queue = ffi.new("struct sp_queue *", {"next": array, "late": array + len(jobs), "end": array + len(jobs)})
    getattr(lib, MACS[path])(queue)
    assert queue.next == queue.late == queue.end
    return [bytes(tag) for _, _, tag in kept]
