"""The command line of the bench: words in, exit codes out.

Progress goes to stderr; stdout carries the result alone, a table or with --json one object. Exit codes:
0 done (with --check: all gates hold), 1 a gate fails or the measurement could not be made, 2 usage,
3 too noisy to judge.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from bench import (
    aead,
    api,
    cpu,
    crash,
    handshake,
    idle,
    latency,
    memory,
    page,
    pps,
    quota,
    rows,
    suite,
    tunnel,
)
from bench.process import LabError
from bench.registry import Bench, whole_number
from bench.rows import Row, Verdict

ROOT = Path(__file__).resolve().parent.parent
OURS = ROOT / ".venv" / "bin" / "sallyport-wg"

# A new bench is one entry here (and the import above). `all` runs them in this order.
BENCHES: tuple[Bench, ...] = (
    aead.BENCH,
    tunnel.BENCH,
    cpu.BENCH,
    pps.BENCH,
    latency.BENCH,
    handshake.BENCH,
    memory.BENCH,
    idle.BENCH,
    crash.BENCH,
    quota.BENCH,
    api.BENCH,
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """argparse with one line for a mistake instead of a page."""

    def error(self, message: str) -> NoReturn:
        self.exit(Verdict.USAGE, f"{self.prog}: {message} (--help shows the usage)\n")


def _bench_of(benches: Sequence[Bench], name: str) -> Bench:
    """The bench of that name; ArgumentTypeError that names the nearest."""
    for bench in benches:
        if bench.name == name:
            return bench
    names = [bench.name for bench in benches]
    near = difflib.get_close_matches(name, names, 1)
    raise argparse.ArgumentTypeError(
        f"no bench {name!r}" + (f": did you mean {near[0]}?" if near else f"; there are {', '.join(names)}")
    )


def everything() -> tuple[Bench, ...]:
    """All there is, `all` at the end."""
    return (*BENCHES, suite.of(BENCHES))


def top_parser(benches: Sequence[Bench]) -> argparse.ArgumentParser:
    width = max(len(bench.name) for bench in benches)
    top = _Parser(
        prog="bench",
        usage="bench BENCH [options]   (bench BENCH --help: the options of one)",
        description="Measures Sallyport next to others, in namespaces of its own. bench/README.md says how"
        " to read the figures.",
        epilog="benches:\n" + "\n".join(f"  {bench.name:{width}}  {bench.help}" for bench in benches),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("bench", metavar="BENCH", help="which one, see below")
    return top


def parser(bench: Bench) -> argparse.ArgumentParser:
    """The options of one bench. All take --peer and --topology, also where they mean nothing."""
    made = _Parser(prog=f"bench {bench.name}", description=bench.help[0].upper() + bench.help[1:] + ".")
    if bench.compares:
        made.add_argument(
            "--peer",
            metavar="PATH",
            default="wireguard-go",
            help="the program to compare with (default: wireguard-go on PATH)",
        )
        made.add_argument("--ours", metavar="PATH", default=str(OURS), help="ours (default: the checkout's)")
    else:
        made.add_argument("--peer", metavar="PATH", help=argparse.SUPPRESS)
    bench.add_options(made)
    if not hasattr(made.parse_args([]), "topology"):
        made.add_argument("--topology", choices=tuple(tunnel.TOPOLOGIES), help=argparse.SUPPRESS)
        made.set_defaults(without_topology=True)
    made.add_argument("--runs", type=whole_number(1), default=7, help="runs for a figure (default: 7)")
    made.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    made.add_argument(
        "--check",
        action="store_true",
        help=f"exit 1 when a gate fails, 3 when too noisy to judge; needs {rows.MIN_ROUNDS} runs or more",
    )
    return made


def parse(argv: Sequence[str]) -> tuple[Bench, argparse.Namespace]:
    """Which bench, and its options with the programs found."""
    benches = everything()
    top = top_parser(benches)
    if not argv or argv[0].startswith("-"):
        top.parse_args(argv[:1])  # prints the help, or ends with one line
    try:
        bench = _bench_of(benches, argv[0])
    except argparse.ArgumentTypeError as error:
        top.error(str(error))
    own = parser(bench)
    options = own.parse_args(argv[1:])
    for name, why in (
        ("page", "what is on the page is quoted"),
        ("check", "a verdict is a median of that many"),
    ):
        if getattr(options, name, False) and options.runs < rows.MIN_ROUNDS:
            own.error(f"--{name} needs --runs {rows.MIN_ROUNDS} or more: {why}")
    for name, meant in (
        ("peer", bench.compares),
        ("topology", not getattr(options, "without_topology", False)),
    ):
        if not meant and getattr(options, name) is not None:
            _say(f"{bench.name} has no use for --{name}: ignored")
    if bench.compares:
        for side in ("ours", "peer"):
            found = shutil.which(getattr(options, side))
            if found is None:
                own.error(f"no program {getattr(options, side)!r} for --{side}")
            setattr(options, side, Path(found).resolve())
    return bench, options


def version(program: Path) -> str:
    """What the program says that it is; else its name."""
    try:
        done = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, errors="replace", timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return program.name
    words = (done.stdout or done.stderr).strip().splitlines()
    return words[0].strip() if done.returncode == 0 and words else program.name


def machine(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """When and where this was measured, and what was compared."""
    model = "unknown"
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    ours, peer = (version(options.ours), version(options.peer)) if bench.compares else bench.sides
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "ours": ours,
        "peer": peer,
        "libcrypto": aead.libcrypto_version(),
        "runs": options.runs,
    }


def _say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


def _measure(bench: Bench, options: argparse.Namespace) -> list[Row]:
    if bench.needs_root and os.geteuid() != 0:
        raise LabError("makes network namespaces: needs root")
    bench.look_for_programs()
    return bench.run(options, _say)


def main(argv: Sequence[str]) -> int:
    try:
        bench, options = parse(argv)
        where = machine(bench, options)
        found = _measure(bench, options)
    except LabError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("interrupted")
        return 1
    report = rows.report(bench.name, where, found)
    if options.json:
        print(json.dumps(report, indent=2, allow_nan=False), flush=True)
    else:
        print(rows.table(found), flush=True)
    if getattr(options, "page", False):
        try:
            remarks = page.write({**report, "samples": rows.samples(found)}, page.DOCS)
        except (OSError, ValueError) as error:
            _say(f"the page was not written: {error}")
            return 1
        for remark in remarks:
            _say(f"docs/performance.md: {remark}")
        for name in page.missing_benches(report, [each.name for each in BENCHES]):
            _say(f"docs/performance.md: no rows of {name}")
    if options.check:
        for line in rows.complaints(found):
            _say(line)
        return int(rows.verdict(found))
    return int(Verdict.FAILS) if any(row.failed for row in found) else 0
