"""The command line of the bench: words in, exit codes out.

Progress goes to stderr; stdout carries the result alone, a table or with --json one object. Exit codes:
0 done (with --check: all gates hold), 1 a gate fails or the measurement could not be made, 2 usage,
3 too noisy to judge.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from bench import aead, rows, tunnel
from bench.process import LabError
from bench.rows import Row, Verdict

ROOT = Path(__file__).resolve().parent.parent
OURS = ROOT / ".venv" / "bin" / "sallyport-wg"
TOOLS = ("ip", "wg", "nft", "iperf3", "setpriv")


class _Parser(argparse.ArgumentParser):
    """argparse with one line for a mistake instead of a page."""

    def error(self, message: str) -> NoReturn:
        self.exit(Verdict.USAGE, f"{self.prog}: {message} (--help shows the usage)\n")


def _whole_number(low: int) -> Any:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"needs a whole number from {low} up, not {text!r}")
        return value

    return parse


def _program(text: str) -> Path:
    found = shutil.which(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"no program {text!r}")
    return Path(found).resolve()


def parser() -> argparse.ArgumentParser:
    top = _Parser(prog="bench", description="Measures Sallyport next to others, in namespaces of its own.")
    subs = top.add_subparsers(dest="bench", required=True, metavar="BENCH")
    sub = subs.add_parser(
        "tunnel", help="throughput of a tunnel, both ends ours against both ends the peer",
        description="Throughput of a tunnel with us at both ends next to a peer at both ends.",
    )  # fmt: skip
    sub.add_argument("--topology", choices=tuple(tunnel.TOPOLOGIES), help="pair or exit (default: both)")
    sub.add_argument(
        "--peer",
        metavar="PATH",
        default="wireguard-go",
        help="the program to compare with (default: wireguard-go on PATH)",
    )
    sub.add_argument("--ours", metavar="PATH", default=str(OURS), help="ours (default: the checkout's)")
    sub.add_argument("--seconds", type=_whole_number(1), default=2, help="length of a run (default: 2)")
    subs.add_parser(
        "aead", help="the cipher on batches of packets, against libcrypto packet by packet",
        description="Our ways to compute ChaCha20-Poly1305 on batches of packets next to libcrypto's.",
    )  # fmt: skip
    for each in subs.choices.values():
        each.add_argument("--runs", type=_whole_number(1), default=7, help="runs for a figure (default: 7)")
        each.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
        each.add_argument(
            "--check", action="store_true", help="exit 1 when a gate fails, 3 when too noisy to judge"
        )
    return top


def machine(ours: Path | str, peer: Path | str) -> dict[str, Any]:
    """Where this was measured."""
    model = "unknown"
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "ours": str(ours),
        "peer": str(peer),
    }


def _say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


def _tunnel(options: argparse.Namespace) -> int:
    top = parser()
    try:
        ours, peer = _program(options.ours), _program(options.peer)
    except argparse.ArgumentTypeError as error:
        top.error(str(error))
    if os.geteuid() != 0:
        raise LabError("makes network namespaces: needs root")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise LabError(f"missing programs: {' '.join(missing)}")
    names = [options.topology] if options.topology else list(tunnel.TOPOLOGIES)
    found = tunnel.measure(names, ours, peer, options.runs, options.seconds, _say)
    return _answer(options, machine(ours, peer), found)


def _aead(options: argparse.Namespace) -> int:
    found = aead.measure(options.runs, _say)
    return _answer(options, machine("crypto_ext", "libcrypto"), found)


def _answer(options: argparse.Namespace, where: dict[str, Any], found: Sequence[Row]) -> int:
    if options.json:
        print(json.dumps(rows.report(options.bench, where, found), indent=2))
    else:
        print(rows.table(found))
    return int(rows.verdict(found)) if options.check else 0


BENCHES = {"tunnel": _tunnel, "aead": _aead}


def main(argv: Sequence[str]) -> int:
    try:
        options = parser().parse_args(argv)
        return BENCHES[options.bench](options)
    except LabError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("interrupted")
        return 1
