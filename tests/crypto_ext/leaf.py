"""The inner C modules of the data plane, loaded for tests of one function at a time.

Most of them are internal: the extension module exports only what api.h declares. So their sources are
compiled here into a shared object of their own, with warnings as errors, and opened with cffi; the
declarations are the headers themselves. What was compiled is kept in a directory below the temporary one,
named by a hash of everything that went into it, so that only a changed source costs a compiler run.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cffi

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "crypto_ext"
# Beside api.h.
HEADERS = ("blake2s", "checksum", "hkdf", "ip", "split", "join", "join_packet", "window", "trie")
CIPHER_FILES = ("aead*.c", "chacha*.c", "libcrypto.c", "poly*.c", "xor_*.c")
CIPHER = sorted(path for pattern in CIPHER_FILES for path in SOURCE.glob(pattern))
SOURCES = (
    *(SOURCE / f"{name}.c" for name in (*HEADERS, "blake2s_avx2", "cpu", "symmetric", "wipe")),
    *CIPHER,
)
SYMMETRIC = tuple(
    SOURCE / f"{name}.c"
    for name in ("symmetric", "hkdf", "blake2s", "blake2s_avx2", "aead_portable", "poly_portable", "wipe")
)
INCLUDED = tuple(sorted((*SOURCE.glob("*.h"), *(HERE / "c").glob("*.h"))))
WARNINGS = ("-std=gnu11", "-Wall", "-Wextra", "-Wconversion", "-Werror")


COMPILERS = ["", *filter(shutil.which, ["clang"])]  # "": the one that everything else is tested with


class Leaf(NamedTuple):
    ffi: Any
    lib: Any


def cache_directory() -> Path:
    """A directory of our own: what lies in it is executed, so nobody else may have made it."""
    path = Path(tempfile.gettempdir()) / f"sallyport-tests-{os.geteuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077 or path.is_symlink():
        raise RuntimeError(f"{path} is not ours alone")
    return path


def compiled(
    name: str,
    sources: Sequence[Path],
    flags: Sequence[str],
    libraries: Sequence[str] = (),
    compiler: str = "",
) -> Path:
    """The compiler's output for these sources and flags, made only when it is not there yet."""
    compiler = compiler or os.environ.get("CC") or shutil.which("gcc") or "cc"
    digest = hashlib.sha256("\0".join((compiler, *flags, *libraries)).encode())
    for file in (*INCLUDED, *sources):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    target = cache_directory() / f"{name}-{digest.hexdigest()[:24]}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / "made"
            command = [compiler, *flags, f"-I{SOURCE}", "-o", str(made), *map(str, sources), *libraries]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode:
                raise RuntimeError(f"{' '.join(command)}\n{run.stderr}")
            made.replace(target)
    return target


def declarations() -> str:
    """What cffi is told: the marked part of api.h and the other headers, without the preprocessor's lines."""
    api = (SOURCE / "api.h").read_text().split("/* cdef: begin */")[1].split("/* cdef: end */")[0]
    texts = [api, "struct iovec { void *iov_base; size_t iov_len; };"]
    headers = ((SOURCE / f"{name}.h").read_text() for name in HEADERS)
    texts.extend(re.sub(r"^#.*$", "", header, flags=re.MULTILINE) for header in headers)
    return "\n".join(texts)


@functools.cache
def load(
    *defines: str, extra: str = "", declare: str = "", compiler: str = "", optimisation: str = "-O2"
) -> Leaf:
    """The modules, compiled with these macros; `extra`: one more source in ./c, with what `declare` says."""
    ffi = cffi.FFI()
    ffi.cdef(declarations() + declare)
    flags = [*WARNINGS, optimisation, "-g", "-fPIC", "-shared", *(f"-D{define}" for define in defines)]
    sources = [*SOURCES, *([HERE / "c" / extra] if extra else [])]
    return Leaf(ffi, ffi.dlopen(str(compiled("leaf", sources, flags, ("-ldl", "-lpthread"), compiler))))
