"""The AEAD paths under the address and undefined-behaviour sanitizers, driven by c/aead_main.c."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.crypto_ext import engines, leaf

SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g")


@pytest.mark.parametrize("flags", [("-O1", *SANITIZE), ("-O3",)], ids=["sanitized", "as shipped"])
@pytest.mark.parametrize(
    "path", [engines.param(path) for path in (*engines.NEEDS, "auto", "libcrypto", "portable")]
)
def test_random_batches(path, flags):
    sources = [leaf.HERE / "c" / "aead_main.c", *leaf.SOURCES]
    program = leaf.compiled("aead-main", sources, [*leaf.WARNINGS, *flags], ("-ldl", "-lpthread"))
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"}
    words = [program, path, "60"]
    run = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, f"{path} 60\n"), run.stderr
