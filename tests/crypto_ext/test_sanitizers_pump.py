"""The whole pump under ASan and UBSan on a virtual clock, and its threads under TSan, ciphers included.

The same harness once more as another compiler makes it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.crypto_ext.leaf import HERE, SOURCE, WARNINGS, compiled

HARNESS = HERE / "c/pump_main.c"
COMMON = [*WARNINGS, "-D_GNU_SOURCE", "-O1", "-g", "-fno-omit-frame-pointer"]


def harness(name: str, compiler: str, *flags: str) -> Path:
    """The pump and its harness in one program, compiled when something changed."""
    sources = [*sorted(SOURCE.glob("[!_]*.c")), HARNESS]
    return compiled(name, sources, [*COMMON, *flags], ("-ldl", "-lpthread"), compiler)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "compiler", "flags"),
    [
        ("step", "gcc", ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]),
        ("threads", "gcc", ["-fsanitize=thread"]),
        ("step", "clang", []),
    ],
    ids=["asan-ubsan", "tsan", "clang"],
)
def test_nothing_is_found(kind: str, compiler: str, flags: list[str]) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    program = harness(f"pump-{kind}", compiler, *flags)
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": "detect_leaks=1"}
    run = subprocess.run(
        [str(program), kind], capture_output=True, text=True, check=False, env=environment, timeout=240
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stderr == ""
