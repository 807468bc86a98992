"""`bench pps`: how many datagrams a second come out of a tunnel, small ones above all?

One sender at one end of `pair` sends UDP as fast as it can (blast.py), which is more than a tunnel here
carries, and counted is what reaches the receiver at the other end: packets delivered per second. Bytes are
those of the text of one datagram. Ours, the peer and bare wires take turns as in `bench tunnel`; sender, both
daemons and receiver share the cores, so a daemon that spends less leaves the sender more to send with.

A daemon may spend its time on datagrams that it must drop later. So a few rounds also look for the rate at
which no more than one in a hundred is lost; these rows inform.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.lab import Lab
from bench.process import LabError, run, wait_for
from bench.registry import Bench, Say, whole_number
from bench.roads import Road, build_pair
from bench.rows import Row
from bench.tunnel import rounds

ROOT = Path(__file__).resolve().parent.parent
PORT = 5301
SIZES_BYTES = (64, 256, 512, 1024, 1300)
JUDGED_BYTES = (64, 1300)
GATE, AIM = 3.0, 4.5
UNIT = "packets/s"
LITTLE = 0.01  # of what was sent
TRIALS = 6  # to find a rate at which no more than that is lost
TRIAL_SECONDS = 0.5
INFORMING_SECONDS = 0.5  # of a run that no gate judges
BLAST = (sys.executable, "-m", "bench.blast")


@dataclass(frozen=True)
class Count:
    """Of one run: datagrams sent and received, and the seconds from the first to the last."""

    sent: int
    received: int
    seconds: float

    @property
    def rate(self) -> float:
        """Delivered per second."""
        return self.received / self.seconds

    @property
    def lost(self) -> float:
        """Which share of what was sent did not arrive."""
        return 1 - self.received / self.sent


def count(road: Road, datagram_bytes: int, seconds: float, rate: float | None = None) -> Count:
    """One run, as fast as it goes or at a rate."""
    receiver = road.server.host.start(*BLAST, "receive", str(PORT), cwd=ROOT)
    try:
        wait_for(lambda: "ready" in receiver.stdout, "the receiver of datagrams is ready", poll_seconds=0.01)
        words = [*BLAST, "send", road.address, str(PORT), str(datagram_bytes), str(seconds)]
        if rate is not None:
            words.append(str(rate))
        sender = run(road.client.command(words), cwd=ROOT, seconds=seconds + 30)
        receiver.wait(seconds=20)
        return counted(sender.stdout, receiver.stdout)
    finally:
        receiver.close()


def counted(sender: str, receiver: str) -> Count:
    """By the words of both."""
    try:
        told = json.loads(receiver.split("\n", 1)[1])
        found = Count(json.loads(sender)["sent"], told["received"], told["seconds"])
    except (IndexError, ValueError):
        raise LabError(f"sender and receiver of datagrams said {sender!r} and {receiver!r}") from None
    if found.received < 2:
        raise LabError("no datagrams arrived")
    return found


def with_little_loss(attempt: Callable[[float], Count], first_rate: float) -> float:
    """The highest rate delivered, of those tried, at which no more than LITTLE was lost.

    From the first rate upwards or downwards by halves and doubles until the verdict changes, then closer.
    """
    best, good, bad = 0.0, 0.0, 0.0
    rate = first_rate
    for _ in range(TRIALS):
        found = attempt(rate)
        if found.lost <= LITTLE:
            best, good = max(best, found.rate), rate
        else:
            bad = rate
        rate = math.sqrt(good * bad) if good and bad else rate * 2 if good else rate / 2
    return best


@dataclass
class Samples:
    """Of one size and one road, run by run."""

    flooded: list[float] = field(default_factory=list)
    little_loss: list[float] = field(default_factory=list)


def sample(road: Road, size: int, seconds: float, into: Samples, *, search: bool) -> str:
    """One run, and with `search` also the rate at which little is lost; gives a few words of progress."""
    flooded = count(road, size, seconds).rate
    into.flooded.append(flooded)
    if not search:
        return f"{flooded:,.0f}"
    little = with_little_loss(lambda rate: count(road, size, TRIAL_SECONDS, rate), flooded)
    into.little_loss.append(little)
    return f"{flooded:,.0f} ({little:,.0f} with little loss)"


def measure(ours: Path, peer: Path, runs: int, seconds: float, say: Say) -> list[Row]:
    with Lab() as lab:
        programs = {"ours": ours, "peer": peer, "bare": None}
        roads = {name: build_pair(lab, program) for name, program in programs.items()}
        found = {(size, name): Samples() for size in SIZES_BYTES for name in roads}
        say("built, warming up")
        for road in roads.values():
            count(road, max(SIZES_BYTES), 0.5)
        for number, turns in rounds(roads, runs):
            for size in SIZES_BYTES:
                words = []
                for name in turns:
                    judged = name != "bare" and size in JUDGED_BYTES
                    long = seconds if judged else min(seconds, INFORMING_SECONDS)
                    search = judged and "bare" in turns  # in the few rounds for what informs
                    told = sample(roads[name], size, long, found[size, name], search=search)
                    words.append(f"{name} {told}")
                say(f"{number + 1}/{runs} {size} B: {', '.join(words)} {UNIT}")
    rows = []
    for size in SIZES_BYTES:
        one, other, bare = (found[size, name] for name in roads)
        gate, aim = (GATE, AIM) if size in JUDGED_BYTES else (None, None)
        flooded = tuple(one.flooded), tuple(other.flooded), tuple(bare.flooded)
        rows.append(Row(f"udp {size} B", UNIT, "higher", *flooded, gate, aim))
        if size in JUDGED_BYTES:
            little = tuple(one.little_loss), tuple(other.little_loss)
            rows.append(Row(f"udp {size} B, with little loss", UNIT, "higher", *little))
    return rows


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=whole_number(1), default=1, help="length of a judged run (default: 1)"
    )


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
