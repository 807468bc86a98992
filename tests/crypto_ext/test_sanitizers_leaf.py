"""The leaf modules under the address and undefined-behaviour sanitizers, driven by c/leaf_main.c."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.crypto_ext import leaf

SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g")


@pytest.mark.parametrize("defines", [(), ("-DSP_NO_AVX2", "-DSP_NO_INT128")], ids=["best", "baseline"])
def test_random_and_edge_inputs(defines):
    sources = [leaf.HERE / "c" / "leaf_main.c", *leaf.SOURCES]
    flags = [*leaf.WARNINGS, "-O1", *SANITIZE, *defines]
    program = leaf.compiled("leaf-main", sources, flags, ("-ldl", "-lpthread"))
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"}
    run = subprocess.run([program, "40"], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
