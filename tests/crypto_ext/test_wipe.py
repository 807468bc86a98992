"""Wiping overwrites, and keys do not outlive their peer in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crypto_ext._native import ffi, lib
from tests.crypto_ext import engines, leaf
from tests.crypto_ext.rig import Rig

ROOT = Path(__file__).resolve().parents[2]


def test_it_overwrites_exactly_that() -> None:
    memory = ffi.new("uint8_t[]", b"x" * 40)
    lib.sp_wipe(memory + 4, 32)
    assert bytes(ffi.buffer(memory, 40)) == b"xxxx" + bytes(32) + b"xxxx"


def writable_memory() -> bytes:
    """All private writable memory of this process."""
    parts = []
    lines = Path("/proc/self/maps").read_text(encoding="ascii").splitlines()  # before we add to it
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in lines:
            fields = line.split()
            if not fields[1].startswith("rw") or (len(fields) > 5 and fields[5].startswith("/dev")):
                continue
            start, end = (int(part, 16) for part in fields[0].split("-"))
            if end - start > 64 << 20:
                continue
            try:
                memory.seek(start)
                parts.append(memory.read(end - start))
            except OSError:
                continue
    return b"".join(parts)


def install_random_key(rig: Rig) -> bytes:
    """Installs a key that exists nowhere but in C; its complement is returned."""
    inverse = os.urandom(32)
    key = ffi.new("struct sp_keypair_spec *")
    for i in range(32):
        key.send_key[i] = key.receive_key[i] = inverse[i] ^ 255
    key.local_index, key.created_ns, key.is_initiator = 77, rig.now, 1
    assert lib.sp_peer_install(rig.a.pump._pump, rig.a.peer, key, rig.now) == 0
    lib.sp_wipe(key, ffi.sizeof("struct sp_keypair_spec"))
    return inverse


def found(inverse: bytes) -> int:
    """How often the key lies in memory, looked for by a part of it that is not the key."""
    part = bytes(b ^ 255 for b in inverse[:8])
    memory, at, count = writable_memory(), -1, 0
    while (at := memory.find(part, at + 1)) >= 0:
        count += all(memory[at + i] ^ 255 == inverse[i] for i in range(32))
    return count


def search() -> str:
    """How often a key lies in memory after it was erased, and before."""
    with Rig(keys=False) as rig:
        inverse = install_random_key(rig)
        rig.a.pump.erase_keys(rig.a.peer)
        erased = found(inverse)
        return f"{erased} {found(install_random_key(rig))}"


def test_an_erased_key_is_nowhere() -> None:
    # In a process of its own: the memory of a long test run is large.
    words = (sys.executable, "-c", "from tests.crypto_ext.test_wipe import search; print(search())")
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT, timeout=100)
    erased, present = map(int, done.stdout.split())
    assert erased == 0
    assert present > 0  # or the search proves nothing


# What libcrypto's functions leave behind is libcrypto's.
own_paths = pytest.mark.parametrize("path", [engines.param(path) for path in (*engines.NEEDS, "portable")])


@own_paths
@pytest.mark.parametrize("compiler", leaf.COMPILERS)
@pytest.mark.parametrize("optimisation", ["-O1", "-O3"])
def test_no_part_of_a_key_stays_on_the_stack(compiler: str, optimisation: str, path: str) -> None:
    sources = [leaf.HERE / "c" / "stack_main.c", *leaf.SOURCES]
    flags = [*leaf.WARNINGS, optimisation]
    program = leaf.compiled("stack-main", sources, flags, ("-ldl", "-lpthread"), compiler)
    run = subprocess.run([program, path], capture_output=True, text=True, check=True, timeout=100)
    expected = [f"{path} {what} {n}: 0" for n in (1, 3) for what in ("seal", "open")]
    assert run.stdout.splitlines() == expected
