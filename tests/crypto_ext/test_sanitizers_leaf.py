"""The leaf modules under the address and undefined-behaviour sanitizers, driven by the harnesses in c/."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.crypto_ext import leaf

SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g")


@pytest.mark.parametrize("defines", [(), ("-DSP_NO_AVX2", "-DSP_NO_INT128")], ids=["best", "baseline"])
@pytest.mark.parametrize(
    ("harness", "rounds", "sources"),
    [("leaf_main", 40, leaf.SOURCES), ("symmetric_main", 500, leaf.SYMMETRIC)],
    ids=["leaf", "symmetric"],
)
def test_random_and_edge_inputs(harness, rounds, sources, defines):
    sources = [leaf.HERE / "c" / f"{harness}.c", *sources]
    flags = [*leaf.WARNINGS, "-O1", *SANITIZE, *defines]
    program = leaf.compiled(harness.replace("_", "-"), sources, flags, ("-ldl", "-lpthread"))
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"}
    run = subprocess.run([program, str(rounds)], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
