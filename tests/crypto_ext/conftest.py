"""The fault build of the extension, for tests of what the pump does when the kernel refuses."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from types import ModuleType

import pytest

import crypto_ext.addresses
import crypto_ext.pump
from tests.crypto_ext.leaf import SOURCE, cache_directory


class Fault(IntEnum):
    """enum sp_fault in faults.h."""

    SENDMSG = 0
    SENDMSG_GSO = 1
    SENDMSG_SOURCE = 2
    RECVMMSG = 3
    TUN_READ = 4
    TUN_WRITE = 5
    TUN_WRITE_JOINED = 6
    POLL = 7


HANGS = -1  # SP_FAULT_HANGS, instead of an errno


DECLARE = """
void sp_fault_set(int kind, int error, int skip, int times);
int sp_fault_hits(int kind);
unsigned long long sp_allocations(void);
"""

COUNTER = SOURCE.parent / "tests" / "crypto_ext" / "c" / "allocations.h"
COUNTED = ("malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "mmap")

# Compiled by a process of its own, as setup.py would: distutils keeps state.
COMPILE = """
import pathlib, sys
from crypto_ext.build import build, builder
build(builder("_faulty", more=sys.argv[2], include=f'#include "faults.h"\\n#include "{sys.argv[3]}"\\n',
              macros=[("SALLYPORT_FAULTS", "1")], flags=["-O1"]), pathlib.Path(sys.argv[1]))
"""


@functools.cache
def faulty_module() -> ModuleType:
    """The extension with -DSALLYPORT_FAULTS and its allocations counted, built when its sources changed."""
    digest = hashlib.sha256(DECLARE.encode())
    for path in sorted([*SOURCE.glob("[!_]*.[ch]"), SOURCE / "build.py", COUNTER]):
        digest.update(path.read_bytes())
    folder = cache_directory() / f"faulty-{digest.hexdigest()[:24]}"
    if not list(folder.glob("_faulty*.so")):
        folder.mkdir(exist_ok=True)
        subprocess.run(
            [sys.executable, "-P", "-c", COMPILE, str(folder), DECLARE, str(COUNTER)],
            check=True,
            cwd=SOURCE.parent,
            env={**os.environ, "LDFLAGS": " ".join(f"-Wl,--wrap={name}" for name in COUNTED)},
        )
    path = next(folder.glob("_faulty*.so"))
    spec = importlib.util.spec_from_file_location("_faulty", Path(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes pumps of this test run on the fault build: faults(Fault.SENDMSG, errno.EIO, skip=0, times=-1)."""
    module = faulty_module()
    for user in (crypto_ext.pump, crypto_ext.addresses):
        monkeypatch.setattr(user, "ffi", module.ffi)
    monkeypatch.setattr(crypto_ext.pump, "lib", module.lib)

    def fail(kind: Fault, error: int, *, skip: int = 0, times: int = -1) -> None:
        module.lib.sp_fault_set(int(kind), error, skip, times)

    yield fail
    for kind in Fault:
        module.lib.sp_fault_set(int(kind), 0, 0, 0)


@pytest.fixture
def hits(faults: Callable[..., None]) -> Callable[[Fault], int]:
    """How many calls were made to fail."""
    return lambda kind: int(faulty_module().lib.sp_fault_hits(int(kind)))


@pytest.fixture
def allocations(faults: Callable[..., None]) -> Callable[[], int]:
    """How often the extension asked for memory so far."""
    return lambda: int(faulty_module().lib.sp_allocations())
