"""`bench tunnel`: how fast is a tunnel with us at both ends, next to a peer at both ends?

Four roads are built for each topology (roads.py draws them), alike but for the program: ours, the peer,
none (bare wires, which gives `limit`), and our pump without its cipher, which shows what is left to gain
there. They stand side by side while one run after the other goes over them in turns (ours, peer, peer, ours
...), so that whatever else the machine does hits all alike; the last two take their turn in a few rounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import nocipher
from bench.iperf import Load
from bench.lab import Lab
from bench.registry import Bench, Say, whole_number
from bench.roads import BUILDERS, Road
from bench.rows import Row

WARM_UP_SECONDS = 1
INFORMING_SECONDS = 1  # of a run that no gate judges
BARE_RUNS = 3  # first, middle and last round: enough for a limit and to see it drift
UDP_BYTES = 1300


@dataclass(frozen=True)
class Measure:
    """A row before it is measured."""

    name: str
    load: Load
    gate: float | None = None
    aim: float | None = None


TOPOLOGIES: dict[str, tuple[Measure, ...]] = {
    "pair": (
        Measure("pair tcp 1 stream", Load(streams=1), 3.0, 3.8),
        Measure("pair tcp 4 streams", Load(streams=4), 3.0, 3.8),
        Measure("pair udp 1300 B", Load(udp_bytes=UDP_BYTES), 3.0, 4.5),
    ),
    "exit": (
        Measure("exit download tcp 1 stream", Load(streams=1, reverse=True), 2.8, 3.5),
        Measure("exit download tcp 2 streams", Load(streams=2, reverse=True)),
        Measure("exit download tcp 4 streams", Load(streams=4, reverse=True), 2.8, 3.5),
        Measure("exit download tcp 8 streams", Load(streams=8, reverse=True)),
        Measure("exit download udp 1300 B", Load(udp_bytes=UDP_BYTES, reverse=True), 3.0, 4.5),
        Measure("exit upload tcp 1 stream", Load(streams=1), 2.8, 3.5),
        Measure("exit upload tcp 4 streams", Load(streams=4), 2.8, 3.5),
        Measure("exit upload udp 1300 B", Load(udp_bytes=UDP_BYTES), 3.0, 4.5),
    ),
}


def bare_rounds(runs: int) -> frozenset[int]:
    """In which of `runs` rounds the bare wires are measured too: spread from first to last."""
    count = min(BARE_RUNS, runs)
    return frozenset(round(i * (runs - 1) / max(count - 1, 1)) for i in range(count))


def rounds(names: Iterable[str], runs: int) -> Iterator[tuple[int, list[str]]]:
    """The number of each round, and who takes a turn in it, in order.

    The first two, ours and the peer, always do, and change places every other round; the others, which
    inform, only do in a few rounds.
    """
    first, second, *others = names
    few = bare_rounds(runs)
    for number in range(runs):
        judged = [second, first] if number % 2 else [first, second]
        yield number, judged + (others if number in few else [])


def measure(
    topologies: Sequence[str], ours: Path, peer: Path, runs: int, seconds: int, say: Say
) -> list[Row]:
    """All rows of these topologies, each road measured `runs` times in turns."""
    programs = {"ours": ours, "peer": peer, "bare": None, "no cipher": nocipher.program(say)}
    rows = []
    for topology in topologies:
        with Lab() as lab:
            roads = {name: BUILDERS[topology](lab, program) for name, program in programs.items()}
            say(f"{topology}: built, warming up")
            for road in roads.values():
                road.measure(Load(), WARM_UP_SECONDS)
            rows += _measure_rounds(TOPOLOGIES[topology], roads, runs, seconds, say)
    return rows


def _measure_rounds(
    measures: Sequence[Measure], roads: dict[str, Road], runs: int, seconds: int, say: Say
) -> list[Row]:
    samples: dict[tuple[str, str], list[float]] = {(m.name, r): [] for m in measures for r in roads}
    short = min(seconds, INFORMING_SECONDS)
    for number, turns in rounds(roads, runs):
        for item in measures:
            words = []
            for name in turns:
                judged = item.gate and name in ("ours", "peer")
                value = roads[name].measure(item.load, seconds if judged else short)
                samples[item.name, name].append(value)
                words.append(f"{name} {value:,.{0 if value >= 1000 else 2}f}")
            say(f"{number + 1}/{runs} {item.name}: {', '.join(words)} {item.load.unit}")
    rows = []
    for m in measures:
        ours, peer, bare, bare_pump = (
            tuple(samples[m.name, name]) for name in ("ours", "peer", "bare", "no cipher")
        )
        rows.append(Row(m.name, m.load.unit, "higher", ours, peer, bare, m.gate, m.aim))
        rows.append(Row(f"{m.name}, no cipher", m.load.unit, "higher", bare_pump, limit=bare))
    return rows


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topology", choices=tuple(TOPOLOGIES), help="pair or exit (default: both)")
    parser.add_argument(
        "--seconds", type=whole_number(1), default=2, help="length of a judged run (default: 2)"
    )


def _run(options: argparse.Namespace, say: Say) -> list[Row]:
    names = [options.topology] if options.topology else list(TOPOLOGIES)
    return measure(names, options.ours, options.peer, options.runs, options.seconds, say)


BENCH = Bench(
    name="tunnel",
    help="throughput of a tunnel, both ends ours against both ends the peer",
    run=_run,
    add_options=_add_options,
    programs=("ip", "wg", "nft", "iperf3", "setpriv"),
    compares=True,
)
