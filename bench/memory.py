"""`bench memory`: what does a peer cost, and does a program that works hold on to more and more?

per peer    the resident memory of a process that serves an interface with 10,000 configured peers, less
            that of the same process before, by the number of peers. Each has one allowed-ip and has never
            been heard of. What `wg` and the process left over from configuring counts, too. Also how
            long it took to configure them, and to show them all (`wg show dump`).
flatness    resident memory at both ends of a tunnel while 50 TCP streams go through it, once a second; the
            figure is the largest less the smallest, after a start in which buffers are first used.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from bench import iperf, wireguard
from bench.iperf import Load
from bench.lab import Lab
from bench.process import LabError
from bench.registry import Bench, Say, whole_number
from bench.roads import build_pair
from bench.rows import Row
from bench.tunnel import bare_rounds

RESIDENT = re.compile(r"^Rss:\s+(\d+) kB$", re.MULTILINE)
STREAMS = 50
START_SECONDS = 5
LEAST_SECONDS = 2  # what grows is not seen at once
PEER_BYTES_BOUND, PEER_BYTES_AIM = 8192, 2048
GROWTH_BOUND_BYTES = 1_000_000


def resident_bytes(pid: int) -> int:
    """Resident memory of a process: every page that is mapped and there."""
    try:
        match = RESIDENT.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError as error:
        raise LabError(f"process {pid} is gone: {error.strerror}") from None
    if match is None:
        raise LabError(f"process {pid} has no memory")
    return int(match[1]) * 1024


@dataclass(frozen=True)
class Crowd:
    """What 10,000 peers, or how many there were, took."""

    bytes_per_peer: float
    set_seconds: float
    dump_seconds: float


def crowd_config(peers: int) -> str:
    """A configuration with so many peers that nobody has ever heard of."""
    return wireguard.config(
        wireguard.new_keys(),
        *(
            wireguard.peer(
                b64encode(os.urandom(32)).decode(), f"10.{64 + (n >> 16)}.{n >> 8 & 255}.{n & 255}/32"
            )
            for n in range(peers)
        ),
    )


def crowd(implementation: Path, peers: int) -> Crowd:
    """Configure that many peers in a process of its own."""
    with Lab() as lab:
        interface = wireguard.start(lab.host("m"), implementation)
        pid = interface.process.pid
        # One peer first: what comes with the first one is no cost of each.
        interface.configure(crowd_config(1))
        before = resident_bytes(pid)
        text = crowd_config(peers)
        begin = time.monotonic()
        interface.configure(text)
        configured = time.monotonic()
        after = resident_bytes(pid)
        shown = len(interface.wg("show", "dump").splitlines()) - 1
        end = time.monotonic()
        if shown != peers:
            raise LabError(f"{shown} peers of {peers} are there")
        return Crowd((after - before) / peers, configured - begin, end - configured)


def growth(ours: Path, seconds: int) -> list[float]:
    """Largest less smallest resident memory of each end under load."""
    with Lab() as lab:
        road = build_pair(lab, ours)
        # Longer than asked for: reading takes its time on a busy machine, and the load is ended in the end.
        words = iperf.arguments(Load(streams=STREAMS), road.address, START_SECONDS + 2 * seconds + 1)
        load = road.client.start(*words)
        try:
            time.sleep(START_SECONDS)
            ends = [end for end in (road.near, road.far) if end is not None]
            pids = [end.process.pid for end in ends]
            begin, carried_bytes = time.monotonic(), ends[-1].transfer()[0]
            seen = watched(pids, seconds)
            if load.poll() is not None:
                raise LabError(f"the load ended early: {load.stderr.strip()[-200:]}")
            carried_bytes = ends[-1].transfer()[0] - carried_bytes
            iperf.enough(carried_bytes * 8 / (time.monotonic() - begin) / 1e9, "the load")
        finally:
            load.close()
    return [float(max(samples) - min(samples)) for samples in seen]


def watched(pids: list[int], seconds: int) -> list[list[int]]:
    """Resident memory of each process, at the beginning and after each second."""
    moments = [[resident_bytes(pid) for pid in pids]]
    for _ in range(seconds):
        time.sleep(1)
        moments.append([resident_bytes(pid) for pid in pids])
    return [list(samples) for samples in zip(*moments, strict=True)]


def measure(ours: Path, peer: Path, runs: int, peers: int, seconds: int, say: Say) -> list[Row]:
    """All rows."""
    found: dict[str, list[Crowd]] = {"ours": [], "peer": []}
    few = bare_rounds(runs)  # no gate asks the peer
    for number in range(runs):
        for name, program in (("ours", ours), ("peer", peer)):
            if name == "ours" or number in few:
                found[name].append(crowd(program, peers))
        words = (
            f"{name} {took[-1].bytes_per_peer:,.0f} B (set in {took[-1].set_seconds:.1f} s, shown in"
            f" {took[-1].dump_seconds:.1f} s)"
            for name, took in found.items()
        )
        say(f"{number + 1}/{runs} {peers:,} peers, each: {', '.join(words)}")
    say(f"{STREAMS} streams for {seconds} s")
    grown = growth(ours, seconds)
    say(f"grown by {' and '.join(f'{each:,.0f}' for each in grown)} B")
    return rows_of(found["ours"], found["peer"], tuple(grown), peers, seconds)


def rows_of(
    ours: list[Crowd], peer: list[Crowd], grown: tuple[float, ...], peers: int, seconds: int
) -> list[Row]:
    return [
        Row(
            f"a configured peer of {peers:,}", "bytes", "lower",
            tuple(one.bytes_per_peer for one in ours), tuple(one.bytes_per_peer for one in peer),
            bound=PEER_BYTES_BOUND, aim=PEER_BYTES_AIM,
        ),
        Row(
            f"set {peers:,} peers", "s", "lower",
            tuple(one.set_seconds for one in ours), tuple(one.set_seconds for one in peer),
        ),
        Row(
            f"show {peers:,} peers", "s", "lower",
            tuple(one.dump_seconds for one in ours), tuple(one.dump_seconds for one in peer),
        ),
        Row(
            f"growth in {seconds} s of {STREAMS} streams", "bytes", "lower", grown,
            bound=GROWTH_BOUND_BYTES, worst=True,
        ),
    ]  # fmt: skip


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", type=whole_number(1), default=10_000, help="(default: 10000)")
    parser.add_argument(
        "--seconds",
        type=whole_number(LEAST_SECONDS),
        default=60,
        help=f"how long the streams run (default: 60, {LEAST_SECONDS} or more), once",
    )


def _run(options: argparse.Namespace, say: Say) -> list[Row]:
    return measure(options.ours, options.peer, options.runs, options.peers, options.seconds, say)


BENCH = Bench(
    name="memory",
    help="bytes of a configured peer, and growth under load",
    run=_run,
    add_options=_options,
    programs=("ip", "iperf3", "setpriv", "wg"),
    compares=True,
)
