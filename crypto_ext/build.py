"""Builds `crypto_ext._native`, the C half of the program, with cffi in API mode.

`python -m crypto_ext.build` builds it in place; setup.py builds the same `ffibuilder` into a wheel. The
declarations given to cffi are those between the two `cdef` marks of api.h, so there is one contract and
the C compiler checks that cffi read it rightly. Tests build variants (fault injection) with `builder`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cffi import FFI

# cffi runs this file for setup.py, from the root of the tree; distutils wants relative sources there.
ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path("crypto_ext")

MODULE = "crypto_ext._native"
# _GNU_SOURCE: recvmmsg, in6_pktinfo and SCHED_BATCH are Linux, not POSIX.
MACROS = [("_GNU_SOURCE", "1")]
FLAGS = ["-O3", "-std=gnu11", "-Wall", "-Wextra", "-Wconversion"]


def sources() -> list[str]:
    """The C files, relative to the root of the tree."""
    return sorted(str(FOLDER / path.name) for path in (ROOT / FOLDER).glob("[!_]*.c"))


def declarations() -> str:
    """What Python may call: the part of api.h between its marks."""
    text = (ROOT / FOLDER / "api.h").read_text(encoding="utf-8")
    return text.split("/* cdef: begin */", 1)[1].split("/* cdef: end */", 1)[0]


def builder(
    module: str = MODULE,
    *,
    more: str = "",
    include: str = "",
    macros: Sequence[tuple[str, str]] = (),
    flags: Sequence[str] = (),
) -> FFI:
    """An FFI ready to compile. A variant declares what it adds (`more`) and what C includes for it."""
    # Warnings are errors only for us: a newer compiler, or cffi's own generated code, must not keep
    # anybody from installing the program.
    werror = ["-Werror"] if os.environ.get("SALLYPORT_WERROR") == "1" else []
    # cffi initialises some fields without naming them and mixes signedness; that is not ours to mend.
    generated = (
        ["-Wno-sign-conversion", "-Wno-conversion", "-Wno-missing-field-initializers"] if werror else []
    )
    ffi = FFI()
    ffi.cdef(declarations() + more)
    ffi.set_source(
        module,
        '#include "api.h"\n' + include,
        sources=sources(),
        include_dirs=[str(FOLDER)],
        define_macros=[*MACROS, *macros],
        extra_compile_args=[*FLAGS, *werror, *generated, *flags],
        libraries=["dl"],
    )
    return ffi


def build(ffi: FFI, into: Path, *, verbose: bool = False) -> Path:
    """Compile, and put the finished extension into that folder in one step; returns its path there.

    In one step, because a running program may have the old one mapped.
    """
    with tempfile.TemporaryDirectory(prefix="sallyport-build-") as temporary:
        tree = Path(temporary)
        shutil.copytree(
            ROOT / FOLDER, tree / FOLDER, ignore=shutil.ignore_patterns("_native*", "__pycache__")
        )
        made = Path(ffi.compile(tmpdir=str(tree), verbose=verbose))
        target = into / made.name
        fresh = into / f".{made.name}.{os.getpid()}"
        shutil.copy2(made, fresh)
        fresh.replace(target)
    return target


ffibuilder = builder()


if __name__ == "__main__":
    print(build(ffibuilder, ROOT / FOLDER, verbose="-v" in sys.argv))
