"""Where secrets decide, no time depends on them: the ciphers, the MACs and their comparison under valgrind.

memcheck believes that keys and texts are not initialised and reports every jump and every address that
depends on them (c/secrets_main.c). What it sees are the instructions that the compilers make with the flags
that we ship with. It knows no AVX-512: that path is left to those who read it. libcrypto's constant time is
its own business.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from crypto_ext.build import FLAGS
from tests.crypto_ext import engines, leaf

FOUND = 99
MEMCHECK = (
    "valgrind", "-q", f"--error-exitcode={FOUND}", "--leak-check=no", "--expensive-definedness-checks=yes",
)  # fmt: skip
WRAP = [f"-Wl,--wrap={name}" for name in ("sp_equal", "sp_seal_batch", "sp_open_batch")]
SUBJECTS = ["portable", *(["avx2"] if engines.runs_here("avx2") else []), "mac1", "handshake", "pump"]
LEAKS = {"jump": "Conditional jump", "address": "Use of uninitialised value", "memcmp": "Conditional jump"}


def harness(compiler: str) -> Path:
    sources = [leaf.HERE / "c" / "secrets_main.c", *sorted(leaf.SOURCE.glob("[!_]*.c"))]
    flags = [*FLAGS, "-Werror", "-gdwarf-4", "-D_GNU_SOURCE", *WRAP]
    return leaf.compiled("secrets-main", sources, flags, ("-ldl", "-lpthread"), compiler)


def memcheck(subject: str, compiler: str = "") -> subprocess.CompletedProcess[str]:
    if shutil.which("valgrind") is None:
        pytest.skip("no valgrind here")
    command = [*MEMCHECK, str(harness(compiler)), subject]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("compiler", leaf.COMPILERS)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_no_jump_and_no_address_depends_on_a_secret(subject: str, compiler: str) -> None:
    run = memcheck(subject, compiler)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_found(leak: str) -> None:
    run = memcheck(leak)
    assert run.returncode == FOUND
    assert LEAKS[leak] in run.stderr
    assert f"leak_by_{leak}" in run.stderr
