"""cpu.c: what we may use is what the kernel lists."""

from __future__ import annotations

from tests.crypto_ext import engines, leaf


def test_it_says_what_the_kernel_says():
    _, lib = engines.load()
    assert bool(lib.sp_cpu_has_avx2()) == engines.runs_here("avx2")
    assert bool(lib.sp_cpu_has_avx512()) == engines.runs_here("avx512")
    assert bool(lib.sp_cpu_has_avx512f()) == ("avx512f" in engines.flags())


def test_a_build_for_old_machines_has_none():
    _, lib = leaf.load("SP_NO_AVX2", extra="leaf_engines.c", declare=engines.DECLARE)
    assert not lib.sp_cpu_has_avx2()
    assert not lib.sp_cpu_has_avx512()
    assert not lib.sp_cpu_has_avx512f()
