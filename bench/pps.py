"""`bench pps`: how many datagrams a second come out of a tunnel, small ones above all?

One sender at one end of `pair` sends UDP as fast as it can (blast.py), which is more than a tunnel here
carries, and counted is what reaches the receiver at the other end: packets delivered per second. Bytes are
those of the text of one datagram. Ours, the peer and bare wires take turns as in `bench tunnel`; sender, both
daemons and receiver share the cores, so a daemon that spends less leaves the sender more to send with.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench.lab import Lab
from bench.process import LabError, run, wait_for
from bench.registry import Bench, Say, whole_number
from bench.roads import Road, build_pair
from bench.rows import Row
from bench.tunnel import bare_rounds

ROOT = Path(__file__).resolve().parent.parent
PORT = 5301
SIZES_BYTES = (64, 256, 512, 1024, 1300)
JUDGED_BYTES = (64, 1300)
GATE, AIM = 3.0, 4.5
UNIT = "packets/s"
BLAST = (sys.executable, "-m", "bench.blast")


def delivered(road: Road, datagram_bytes: int, seconds: float) -> float:
    """Datagrams per second at the receiver of one run."""
    receiver = road.server.host.start(*BLAST, "receive", str(PORT), cwd=ROOT)
    try:
        wait_for(lambda: "ready" in receiver.stdout, "the receiver of datagrams is ready", poll_seconds=0.01)
        words = [*BLAST, "send", road.address, str(PORT), str(datagram_bytes), str(seconds)]
        run(road.client.command(words), cwd=ROOT, seconds=seconds + 30)
        receiver.wait(seconds=20)
        return rate(receiver.stdout)
    finally:
        receiver.close()


def rate(said: str) -> float:
    """Datagrams per second by the receiver's words."""
    try:
        counted = json.loads(said.split("\n", 1)[1])
    except (IndexError, ValueError):
        raise LabError(f"the receiver of datagrams said {said!r}") from None
    if counted["received"] < 2:
        raise LabError("no datagrams arrived")
    return float(counted["received"]) / float(counted["seconds"])


def measure(ours: Path, peer: Path, runs: int, seconds: float, say: Say) -> list[Row]:
    samples: dict[tuple[int, str], list[float]] = {}
    bare = bare_rounds(runs)
    with Lab() as lab:
        roads = {
            name: build_pair(lab, program)
            for name, program in (("ours", ours), ("peer", peer), ("bare", None))
        }
        say("built, warming up")
        for road in roads.values():
            delivered(road, max(SIZES_BYTES), 0.5)
        for number in range(runs):
            for size in SIZES_BYTES:
                words = []
                for name, road in roads.items():
                    if name == "bare" and number not in bare:
                        continue
                    value = delivered(road, size, seconds)
                    samples.setdefault((size, name), []).append(value)
                    words.append(f"{name} {value:,.0f}")
                say(f"{number + 1}/{runs} {size} B: {', '.join(words)} {UNIT}")
    rows = []
    for size in SIZES_BYTES:
        marks = (GATE, AIM) if size in JUDGED_BYTES else (None, None)
        ours_s, peer_s, bare_s = (tuple(samples[size, name]) for name in ("ours", "peer", "bare"))
        rows.append(Row(f"udp {size} B", UNIT, "higher", ours_s, peer_s, bare_s, *marks))
    return rows


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=whole_number(1), default=1, help="length of a run (default: 1)")


def _run(options: argparse.Namespace, say: Say) -> list[Row]:
    return measure(options.ours, options.peer, options.runs, options.seconds, say)


BENCH = Bench(
    name="pps",
    help="datagrams delivered per second, small and large",
    run=_run,
    add_options=_add_options,
    programs=("ip", "wg", "iperf3", "setpriv"),
    compares=True,
)
