"""`bench aead`: how fast are our ways to compute the cipher, next to libcrypto packet by packet?

Each path of ours (avx512, avx2) is measured on batches of several shapes, sealing and opening, against
OpenSSL's EVP interface called for one packet after the other: that is our own path `libcrypto`, so both
do the same work on the same buffers. The avx2 rows stand for machines that have no more than that: on one
that has more, libcrypto is told so too (OPENSSL_ia32cap), which it reads when it is loaded; hence every
path is measured in a process of its own.

A sample is the best of a few short slices, ours and the peer's slice by slice in turns; what calling C
from Python costs is measured with empty batches and taken off both. A path whose instructions this CPU does
not have gives rows without figures, whose `holds` is null. One whose instructions are there and that cannot
be made (it computed a known answer wrong, or libcrypto is not to be found) is a measurement that failed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.process import LabError
from bench.registry import Bench, Say
from bench.rows import Row

ROOT = Path(__file__).resolve().parent.parent
SLICES = 12  # for a sample
SLICE_SECONDS = 0.0015
TAG_BYTES = 16
HEADER_BYTES = 16  # before each packet, as the pump has it
NO_AVX512 = ":~0xD0230000"  # for OPENSSL_ia32cap: leaf 7 without AVX512 F, DQ, IFMA, BW, VL
FAILED = 3  # exit code of a measuring process that says why it could not; Python's own is 1
IMIX = (64,) * 7 + (576,) * 4 + (1420,)


@dataclass(frozen=True)
class Shape:
    """A batch: the lengths of its packets' texts."""

    name: str
    lengths: tuple[int, ...]
    judged: bool = False  # whether the gate of its path holds for it


SHAPES = (
    Shape("1420 B x 8", (1420,) * 8, judged=True),
    Shape("1420 B x 64", (1420,) * 64, judged=True),
    Shape("1420 B x 1", (1420,)),
    Shape("64 B x 64", (64,) * 64),
    Shape("mixed x 60", IMIX * 5),
)
GATES = {"avx512": (3.5, 4.5), "avx2": (1.6, 2.0)}  # of a judged shape: gate, aim
OPERATIONS = ("seal", "open")
# What each path uses, in the words of /proc/cpuinfo: the kernel leaves out what it does not let programs use.
INSTRUCTIONS = {
    "avx512": {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512ifma", "avx512_vbmi2"},
    "avx2": {"avx2", "bmi2"},
}


def cpu_can_run(path: str, cpuinfo: str) -> bool:
    """Whether this CPU has the instructions of that path, by the text of /proc/cpuinfo."""
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    return INSTRUCTIONS.get(path, set()) <= set(flags.split())


class Batch:
    """A batch of some shape in memory of its own, and one way to compute the cipher."""

    def __init__(self, path: str, shape: Shape) -> None:
        """LabError when that path is not to be had."""
        from crypto_ext._native import ffi, lib

        aead = lib.sp_aead_new(path.encode())
        if aead == ffi.NULL:
            raise LabError(
                f"the cipher's path {path} cannot be made: "
                + ("no libcrypto was found" if path == "libcrypto" else "this machine cannot run it")
                + ", or it computed a known answer wrong"
            )
        self._aead = ffi.gc(aead, lib.sp_aead_free)
        self.packets = len(shape.lengths)
        self.bytes = sum(shape.lengths)
        stride = max(shape.lengths) + HEADER_BYTES + TAG_BYTES
        plain, sealed, opened = (ffi.new("uint8_t[]", stride * self.packets + HEADER_BYTES) for _ in range(3))
        key = ffi.new("uint8_t[32]", bytes(range(32)))
        self._kept = (plain, sealed, opened, key)  # the jobs only point there
        self._jobs = {name: ffi.new("struct sp_aead_job[]", self.packets) for name in OPERATIONS}
        self._run = {"seal": lib.sp_seal_batch, "open": lib.sp_open_batch}
        for i, length in enumerate(shape.lengths):
            at = stride * i + HEADER_BYTES
            for name, source, target, size in (
                ("seal", plain, sealed, length),
                ("open", sealed, opened, length + TAG_BYTES),
            ):
                job = self._jobs[name][i]
                job.key, job.counter, job.out, job.len = key, i, target + at, size
                setattr(job, "in", source + at)
        # Of one call without packets: what is not the cipher's work.
        self._call_seconds = min(self.repeat("seal", 100, 0) for _ in range(9)) / 100
        self.repeat("seal", 1, self.packets)
        self.repeat("open", 1, self.packets)
        if not all(job.ok for job in self._jobs["open"]):
            raise LabError("a sealed batch does not open again")

    def repeat(self, operation: str, times: int, packets: int) -> float:
        """Seconds for so many batches of the first `packets` packets."""
        run_batch, aead, jobs = self._run[operation], self._aead, self._jobs[operation]
        begin = time.thread_time()  # not while somebody else had the core
        for _ in range(times):
            run_batch(aead, jobs, packets)
        return time.thread_time() - begin

    def slice(self, operation: str) -> float:
        """Megabytes of text per second in one short slice."""
        one = max(self.repeat(operation, 2, self.packets) / 2, 1e-7)
        times = max(int(SLICE_SECONDS / one), 1)
        spent = self.repeat(operation, times, self.packets) - times * self._call_seconds
        return self.bytes * times / spent / 1e6


def libcrypto_version() -> str:
    """What libcrypto that our binding finds says that it is; "none" without one."""
    for name in ("libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.so"):  # as crypto_ext/libcrypto.c does
        try:
            tell = ctypes.CDLL(name).OpenSSL_version
        except (OSError, AttributeError):
            continue
        tell.restype = ctypes.c_char_p
        return str(tell(0).decode())
    return "none"


def sample(ours: Batch, peer: Batch, operation: str) -> tuple[float, float]:
    """The best slice of each, in turns."""
    pairs = [(ours.slice(operation), peer.slice(operation)) for _ in range(SLICES)]
    return max(pair[0] for pair in pairs), max(pair[1] for pair in pairs)


def rows_of(path: str) -> Iterator[tuple[str, str, Shape]]:
    """Name, operation and shape of each row of a path."""
    for shape in SHAPES:
        for operation in OPERATIONS:
            yield f"{path} {operation} {shape.name}", operation, shape


def measure_here(path: str, runs: int, say: Say) -> dict[str, list[tuple[float, float]]]:
    """The samples of every row of a path, in this process."""
    found: dict[str, list[tuple[float, float]]] = {}
    pairs = {shape.name: (Batch(path, shape), Batch("libcrypto", shape)) for shape in SHAPES}
    for number in range(runs):
        for name, operation, shape in rows_of(path):
            ours, peer = sample(*pairs[shape.name], operation)
            found.setdefault(name, []).append((ours, peer))
            say(f"{number + 1}/{runs} {name}: ours {ours:,.0f}, peer {peer:,.0f} MB/s")
    return found


def measure_elsewhere(path: str, runs: int) -> dict[str, list[tuple[float, float]]]:
    """The same in a process of its own, with libcrypto held to what the path may use."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENSSL_ia32cap"}
    if path == "avx2":
        environment["OPENSSL_ia32cap"] = NO_AVX512
    words = [sys.executable, "-m", "bench.aead", path, str(runs)]
    # Its progress goes where ours goes; Ctrl-C comes to us alone, and then we end it.
    done = subprocess.run(
        words, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    if done.returncode == FAILED and done.stdout:
        raise LabError(done.stdout.strip())
    if done.returncode != 0:
        raise LabError(f"measuring {path} ended with {done.returncode}")
    return {
        name: [(ours, peer) for ours, peer in samples] for name, samples in json.loads(done.stdout).items()
    }


def measure(runs: int, say: Say) -> list[Row]:
    """All rows."""
    rows = []
    cpuinfo = Path("/proc/cpuinfo").read_text()
    for path, (gate, aim) in GATES.items():
        here = cpu_can_run(path, cpuinfo)
        say(f"{path}: {'measuring' if here else 'this CPU cannot run it'}")
        found = measure_elsewhere(path, runs) if here else {}
        for name, _, shape in rows_of(path):
            samples = found.get(name, [])
            rows.append(
                Row(
                    name, "MB/s", "higher",
                    tuple(ours for ours, _ in samples), tuple(peer for _, peer in samples), (),
                    gate if shape.judged else None, aim if shape.judged else None,
                )
            )  # fmt: skip
    return rows


def _run(options: argparse.Namespace, say: Say) -> list[Row]:
    return measure(options.runs, say)


BENCH = Bench(
    name="aead",
    help="the cipher on batches of packets, against libcrypto packet by packet",
    run=_run,
    needs_root=False,
    sides=("crypto_ext", "libcrypto"),
)


def main(argv: Sequence[str]) -> int:
    """`python -m bench.aead PATH RUNS`: what measure_elsewhere starts. On stdout the samples, or why not."""
    path, runs = argv
    try:
        found = measure_here(
            path, int(runs), lambda line: print(f"bench: {line}", file=sys.stderr, flush=True)
        )
    except LabError as error:
        print(error)
        return FAILED
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
