"""`bench latency`: how long does a packet take through a tunnel and back, idle and beside a full load?

The three roads of `bench tunnel`'s `pair` (ours, the peer, bare wires) are asked in turns. One sample of a
row is one percentile of a run's many round trips, which probe.py times by the kernel's stamps:

    idle       p50 of echo requests on a tunnel that carries nothing else
    loaded     p99 of the same while TCP streams fill the tunnel in the direction of the requests

A request or answer that was lost counts as one that took LOST_US, so that dropping what is slow gains
nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench import iperf
from bench.iperf import Load
from bench.lab import Lab
from bench.percentiles import percentile
from bench.process import LabError
from bench.registry import Bench, Say, whole_number
from bench.roads import Road, build_pair
from bench.rows import Row
from bench.tunnel import WARM_UP_SECONDS, rounds

ROOT = Path(__file__).resolve().parent.parent
INTERVAL_US = 2000
LOST_US = 1_000_000.0
LOAD = Load(streams=4)
LOAD_AHEAD_SECONDS = 1  # before the first request: TCP has found its speed
LOAD_AFTER_SECONDS = 1


@dataclass(frozen=True)
class Measure:
    """A row before it is measured."""

    name: str
    percent: float
    loaded: bool
    gate: float | None
    aim: float | None


MEASURES = (
    Measure("round trip idle p50", 50, False, 0.7, 0.5),
    Measure("round trip idle p99", 99, False, None, None),
    Measure("round trip under load p50", 50, True, None, None),
    Measure("round trip under load p99", 99, True, 0.5, 0.25),
)


def round_trips_us(road: Road, probes: int) -> list[float]:
    """One run of the prober: `probes` round trips, the lost ones included."""
    words = (sys.executable, "-P", "-m", "bench.probe", road.address, str(probes), str(INTERVAL_US))
    done = road.client.run(*words, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, seconds=seconds_of(probes) + 20)
    times: list[float] = [ns / 1000 for ns in json.loads(done.stdout)]
    if not times:
        raise LabError(f"no answer from {road.address}")
    return times + [LOST_US] * (probes - len(times))


def seconds_of(probes: int) -> int:
    """How long a run of so many lasts, rounded up."""
    return probes * INTERVAL_US // 1_000_000 + 1


def under_load(road: Road, probes: int) -> tuple[list[float], float]:
    """The same while TCP fills the road, and the Gb/s that it carried meanwhile."""
    seconds = LOAD_AHEAD_SECONDS + seconds_of(probes) + LOAD_AFTER_SECONDS
    load = road.client.start(*iperf.arguments(LOAD, road.address, seconds))
    try:
        time.sleep(LOAD_AHEAD_SECONDS)
        times = round_trips_us(road, probes)
        if load.poll() is not None:
            raise LabError(f"the load to {road.address} ended before the last request")
        load.wait(seconds + 20)
        carried = iperf.figure(iperf.parsed(load.stdout, load.stderr), LOAD)
        return times, iperf.enough(carried, f"the load to {road.address}")
    finally:
        load.close()


def measure(ours: Path, peer: Path, runs: int, probes: int, say: Say) -> list[Row]:
    """All rows, each road measured `runs` times in turns."""
    with Lab() as lab:
        roads = {"ours": build_pair(lab, ours), "peer": build_pair(lab, peer), "bare": build_pair(lab, None)}
        say("built, warming up")
        for road in roads.values():
            road.measure(Load(), WARM_UP_SECONDS)
        return measure_rounds(roads, runs, probes, say)


def measure_rounds(roads: dict[str, Road], runs: int, probes: int, say: Say) -> list[Row]:
    found: dict[tuple[str, str], list[float]] = {(m.name, road): [] for m in MEASURES for road in roads}
    for number, turns in rounds(roads, runs):
        for loaded in (False, True):
            words = []
            for name in turns:
                road = roads[name]
                times, carried = under_load(road, probes) if loaded else (round_trips_us(road, probes), 0.0)
                for item in MEASURES:
                    if item.loaded == loaded:
                        found[item.name, name].append(percentile(times, item.percent))
                words.append(
                    f"{name} {percentile(times, 50):,.0f} / {percentile(times, 99):,.0f}"
                    + (f" at {carried:.1f} Gb/s" if loaded else "")
                )
            say(f"{number + 1}/{runs} {'loaded' if loaded else 'idle'} p50 / p99 us: {', '.join(words)}")
    return [
        Row(
            m.name, "us", "lower", tuple(found[m.name, "ours"]), tuple(found[m.name, "peer"]),
            tuple(found[m.name, "bare"]), m.gate, m.aim,
        )
        for m in MEASURES
    ]  # fmt: skip


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--probes", type=whole_number(1000), default=1500, help="round trips of a run (default: 1500)"
    )


def _run(options: argparse.Namespace, say: Say) -> list[Row]:
    return measure(options.ours, options.peer, options.runs, options.probes, say)


BENCH = Bench(
    name="latency",
    help="round trips through a tunnel, idle and beside a full load",
    run=_run,
    add_options=_options,
    programs=("ip", "wg", "iperf3", "setpriv"),
    compares=True,
)
