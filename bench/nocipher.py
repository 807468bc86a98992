"""The no-cipher build of our own pump: what would be left if ChaCha20-Poly1305 cost nothing?

`bench tunnel` and `bench cpu` measure it beside the real one; it never leaves the bench. It is made
here, in a scratch folder: a private copy of crypto_ext/ whose aead.c is replaced by a seam that copies the
text and puts zeros where the tag belongs, compiled, and started by a small `sallyport-wg` of its own that
finds this copy first. The shipped library has no switch for it. Both ends must be such programs, for nobody
else takes its packets.
"""

from __future__ import annotations

import atexit
import functools
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from bench.process import LabError, run
from bench.registry import Say

ROOT = Path(__file__).resolve().parent.parent
PATH = "none"  # what the copy answers when asked for its AEAD path
# What is compiled, and the ciphers, which nobody calls there and whose compiling takes longest. The portable
# one stays: it seals the parts of handshakes, which are as always.
CIPHERS = ("aead_[!p]*.c", "chacha_*.c", "libcrypto.c", "poly_[!p]*.c", "xor_*.c")
NOT_COPIED = ("_native*.so", "_native.c", "__pycache__", *CIPHERS)
BUILD_SECONDS = 300.0
PREFIX = "sallyport-bench-"  # of the scratch folder; then the process id

SEAM = """/* No cipher: text is copied, the tag is zeros, and every tag is right. */
#include <stddef.h>
#include <string.h>

#include "api.h"

struct sp_aead { int nothing; };
static struct sp_aead only;

struct sp_aead *sp_aead_new(const char *path) { (void)path; return &only; }
int sp_aead_broken(const char *path) { (void)path; return 0; }
void sp_aead_free(struct sp_aead *aead) { (void)aead; }
const char *sp_aead_path(const struct sp_aead *aead) { (void)aead; return "none"; }
void sp_aead_forget(struct sp_aead *aead) { (void)aead; }

void sp_seal_batch(struct sp_aead *aead, struct sp_aead_job *jobs, size_t n)
{
    (void)aead;
    for (size_t i = 0; i < n; i++) {
        uint32_t at = jobs[i].placed;
        if (jobs[i].in != jobs[i].out)
            memcpy(jobs[i].out + at, jobs[i].in + at, jobs[i].len - at);
        memset(jobs[i].out + jobs[i].len, 0, SP_TAG_BYTES);
    }
}

void sp_open_batch(struct sp_aead *aead, struct sp_aead_job *jobs, size_t n)
{
    (void)aead;
    for (size_t i = 0; i < n; i++) {
        jobs[i].ok = jobs[i].len >= SP_TAG_BYTES;
        if (jobs[i].ok && jobs[i].in != jobs[i].out)
            memcpy(jobs[i].out, jobs[i].in, jobs[i].len - SP_TAG_BYTES);
    }
}
"""


def build(scratch: Path) -> Path:
    """Make it in that folder; returns the program, started like `sallyport-wg`."""
    copy = scratch / "crypto_ext"
    shutil.copytree(ROOT / "crypto_ext", copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
    (copy / "aead.c").write_text(SEAM)
    words = [sys.executable, "-P", "-m"]
    own = {"PYTHONPATH": str(scratch)}
    run([*words, "crypto_ext.build"], env=own, cwd=scratch, seconds=BUILD_SECONDS)
    path = run([*words, "bench.nocipher"], env={"PYTHONPATH": f"{scratch}{os.pathsep}{ROOT}"}, cwd=scratch)
    if path.stdout.strip() != PATH:
        raise LabError(f"the no-cipher build computes {path.stdout.strip()!r}")
    program = scratch / "sallyport-wg"
    search = shlex.quote(f"{scratch}{os.pathsep}{ROOT}")
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={search} exec {shlex.quote(sys.executable)} -P -m appliance.wg "$@"\n'
    )
    program.chmod(0o755)
    return program


def sweep(place: Path) -> None:
    """Take away what killed benches left there."""
    for left in place.glob(f"{PREFIX}*-*"):
        pid = left.name.removeprefix(PREFIX).split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)  # somebody else's, or swept by another at this moment


@functools.cache
def _made() -> Path:
    sweep(Path(tempfile.gettempdir()))
    scratch = tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-")
    atexit.register(scratch.cleanup)
    return build(Path(scratch.name))


def program(say: Say) -> Path:
    """The program, made once for this process and gone when it ends."""
    if not _made.cache_info().currsize:
        say("building the no-cipher copy of the pump")
    return _made()


def path_in_use() -> str:
    """Which cipher this process computes."""
    from crypto_ext import Aead

    path: str = Aead().path
    return path


if __name__ == "__main__":
    print(path_in_use())
