"""`bench cpu`: what does a gigabyte cost the machine, in seconds of its processors?

Two questions, both over one TCP stream at full speed, both per GB (10^9 bytes) of the text that arrived.

* What does one daemon cost, ours or the peer's, while nothing else changes? The other end of the tunnel is
  the peer's program both times. Sending and receiving at an end of `pair`; the exit's daemon of `exit`, down
  and up.
* What does the cipher add to our pump? Both ends ours, less both ends the no-cipher build, next to what
  sealing and opening the same packets costs by itself, measured in turns with them as in `bench aead`.

A daemon's seconds are those of its own clock (CLOCK_PROCESS_CPUTIME_ID of another process): user and system
time of all its threads. The kernel's work for its system calls belongs there; so does what softirq does
meanwhile (a veth delivers within the send call), unless the kernel accounts interrupts apart: then that is
missed alike for both. Hence the rows `whole machine`: the busy time of all cores, softirq, both ends and
iperf3 included.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench import aead, iperf, nocipher
from bench.iperf import Load
from bench.lab import Lab
from bench.process import LabError
from bench.registry import Bench, Say, whole_number
from bench.roads import BUILDERS, Road
from bench.rows import Row
from bench.tunnel import rounds
from bench.wireguard import TUNNEL_MTU, Interface

WARM_UP_SECONDS = 1
UNIT = "CPU s/GB"
DAEMON_GATE, DAEMON_AIM = 0.33, 0.25
CIPHER_GATE, CIPHER_AIM = 1.4, 1.15
SHAPE = aead.Shape("1420 B x 64", (TUNNEL_MTU,) * 64)
HEADER_BYTES = 20 + 32  # IPv4 and TCP with time stamps: sealed with every segment, and no text
SYSTEM_CLOCKS = 3  # bits of a clock id; 2: scheduler time of all threads (Linux, posix-timers.c)


@dataclass(frozen=True)
class Measure:
    """One daemon of one road, under one load."""

    name: str
    topology: str
    load: Load
    end: str  # "near" or "far": which daemon is exchanged


MEASURES = (
    Measure("pair, sending", "pair", Load(), "near"),
    Measure("pair, receiving", "pair", Load(reverse=True), "near"),
    Measure("exit, download", "exit", Load(reverse=True), "far"),
    Measure("exit, upload", "exit", Load(), "far"),
)


@dataclass(frozen=True)
class Cost:
    """Of one run: seconds per GB of the daemons that were watched, and of the whole machine."""

    daemons: float
    machine: float


def process_seconds(pid: int) -> float:
    """User and system time of a process so far, of all threads that it has or had."""
    return time.clock_gettime(~pid << SYSTEM_CLOCKS | 2)


def busy_seconds(stat: str) -> float:
    """Time that no core was idle, by the text of /proc/stat, summed over the cores."""
    user, nice, system, _idle, _iowait, *interrupts = (
        int(word) for word in stat.split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def _busy_now() -> float:
    return busy_seconds(Path("/proc/stat").read_text())


def cost(road: Road, watched: list[Interface], load: Load, seconds: int) -> Cost:
    """One run over a road."""
    pids = [interface.process.pid for interface in watched]
    clocks: list[list[float]] = []  # of the machine and of each daemon: before each try, and at the end

    def read() -> None:
        clocks.append([_busy_now(), *(process_seconds(pid) for pid in pids)])

    report = iperf.run(road.client, road.server, road.address, load, seconds, read)
    read()
    machine, *daemons = (now - then for then, now in zip(*clocks[-2:], strict=True))
    gigabytes = iperf.received_bytes(report) / 1e9
    if not gigabytes:
        raise LabError(f"nothing arrived at {road.address}")
    return Cost(sum(daemons) / gigabytes, machine / gigabytes)


def _ends(road: Road, *names: str) -> list[Interface]:
    return [end for name in names if (end := getattr(road, name)) is not None]


def measure_daemons(ours: Path, peer: Path, runs: int, seconds: int, say: Say) -> list[Row]:
    """One daemon exchanged: ours, the peer's; the other end is the peer's program."""
    samples: dict[tuple[str, str], list[Cost]] = {}
    with Lab() as lab:
        roads = {
            (topology, end, name): BUILDERS[topology](
                lab, program if end == "near" else peer, program if end == "far" else peer
            )
            for topology, end in dict.fromkeys((item.topology, item.end) for item in MEASURES)
            for name, program in (("ours", ours), ("peer", peer))
        }
        say("built, warming up")
        for road in roads.values():
            road.measure(Load(), WARM_UP_SECONDS)
        for number, turns in rounds(("ours", "peer"), runs):
            for item in MEASURES:
                words = []
                for name in turns:
                    road = roads[item.topology, item.end, name]
                    found = cost(road, _ends(road, item.end), item.load, seconds)
                    samples.setdefault((item.name, name), []).append(found)
                    words.append(f"{name} {found.daemons:.2f}")
                say(f"{number + 1}/{runs} {item.name}: {', '.join(words)} {UNIT}")
    rows = []
    for item in MEASURES:
        one, other = (samples[item.name, name] for name in ("ours", "peer"))
        daemons = tuple(run.daemons for run in one), tuple(run.daemons for run in other)
        machine = tuple(run.machine for run in one), tuple(run.machine for run in other)
        rows.append(Row(item.name, UNIT, "lower", *daemons, (), DAEMON_GATE, DAEMON_AIM))
        rows.append(Row(f"{item.name}, whole machine", UNIT, "lower", *machine))
    return rows


class Cipher:
    """What sealing and opening costs by itself, for the packets that carry a GB of text."""

    def __init__(self) -> None:
        self._batch = aead.Batch(os.environ.get("SALLYPORT_AEAD") or "auto", SHAPE)  # as the programs read it
        self._growth = TUNNEL_MTU / (TUNNEL_MTU - HEADER_BYTES)

    def sample(self) -> float:
        best = {
            operation: max(self._batch.slice(operation) for _ in range(aead.SLICES))
            for operation in aead.OPERATIONS
        }
        return self._growth * sum(1e3 / megabytes_per_second for megabytes_per_second in best.values())


def measure_cipher(ours: Path, cipher: Cipher, runs: int, seconds: int, say: Say) -> list[Row]:
    """Both ends ours, and both ends without cipher."""
    bare = nocipher.program(say)
    with_it: list[float] = []
    without: list[float] = []
    alone: list[float] = []
    samples = {"ours": with_it, "no cipher": without}
    with Lab() as lab:
        roads = {
            name: BUILDERS["pair"](lab, program) for name, program in (("ours", ours), ("no cipher", bare))
        }
        for road in roads.values():
            road.measure(Load(), WARM_UP_SECONDS)
        for number, turns in rounds(roads, runs):
            for name in turns:
                road = roads[name]
                samples[name].append(cost(road, _ends(road, "near", "far"), Load(), seconds).daemons)
            alone.append(cipher.sample())
            say(
                f"{number + 1}/{runs} both ends: ours {with_it[-1]:.2f}, no cipher {without[-1]:.2f},"
                f" sealing and opening alone {alone[-1]:.2f} {UNIT}"
            )
    added = tuple(one - other for one, other in zip(with_it, without, strict=True))
    return [
        Row("both ends ours", UNIT, "lower", tuple(with_it)),
        Row("both ends ours, no cipher", UNIT, "lower", tuple(without)),
        Row(
            "cipher adds, over seal + open",
            UNIT,
            "lower",
            added,
            tuple(alone),
            gate=CIPHER_GATE,
            aim=CIPHER_AIM,
        ),
    ]


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=whole_number(1), default=2, help="length of a run (default: 2)")


def _run(options: argparse.Namespace, say: Say) -> list[Row]:
    cipher = Cipher()  # first: a path that cannot be had is told before minutes of measuring
    return [
        *measure_daemons(options.ours, options.peer, options.runs, options.seconds, say),
        *measure_cipher(options.ours, cipher, options.runs, options.seconds, say),
    ]


BENCH = Bench(
    name="cpu",
    help="processor time per GB of one daemon, and what the cipher adds to it",
    run=_run,
    add_options=_add_options,
    programs=("ip", "wg", "nft", "iperf3", "setpriv"),
    compares=True,
)
