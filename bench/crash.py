"""`bench crash`: what does a kill -9 in mid-transfer cost? Bytes: none. Time: a restart, and no more.

For each run a new exit, with two sessions of one account, a download on each. It is killed a few times, each
time once both downloads have moved on; after each kill the counters that it left, what the clients had
received by then, and the ledger that the next start makes of them are compared, byte by byte:

    bytes lost             counted or delivered, and not in the ledger
    bytes charged twice    in the ledger or in the account's window, and not counted

Meanwhile a flow of small datagrams goes both ways through one of the tunnels (metronome.py). From the ready
line to the first of them that comes through is how much longer traffic is away than the program is.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance.core.accounting import Counts
from bench import books, metronome
from bench.books import Ledger, Life
from bench.exit_client import OUTSIDE, WEB, Client
from bench.exit_scene import Exit, Scene
from bench.process import LabError, Process, wait_for
from bench.registry import Bench, Say, whole_number
from bench.rows import Row

PORT = 7008
PROGRESS_BYTES = 1_000_000
BACK_SECONDS = 2.0  # the bound
PATIENCE_SECONDS = 20.0
ENDLESS_BYTES = 10**12
SCRIPT = Path(metronome.__file__)


@dataclass
class Samples:
    """What was measured, a figure per kill."""

    lost_bytes: list[float] = field(default_factory=list)
    twice_bytes: list[float] = field(default_factory=list)
    down_seconds: list[float] = field(default_factory=list)
    up_seconds: list[float] = field(default_factory=list)
    restart_seconds: list[float] = field(default_factory=list)

    def rows(self) -> list[Row]:
        return [
            Row("bytes lost", "B", "lower", tuple(self.lost_bytes), bound=0, worst=True),
            Row("bytes charged twice", "B", "lower", tuple(self.twice_bytes), bound=0, worst=True),
            Row("traffic back after the ready line, to the client", "s", "lower", tuple(self.down_seconds),
                bound=BACK_SECONDS, worst=True),
            Row("traffic back after the ready line, from it", "s", "lower", tuple(self.up_seconds),
                bound=BACK_SECONDS, worst=True),
            Row("kill to ready line", "s", "lower", tuple(self.restart_seconds)),
        ]  # fmt: skip


def difference(left: Mapping[Life, Counts], received: Mapping[str, int], after: Ledger) -> tuple[int, int]:
    """(bytes lost, bytes charged twice): a killed exit's counters, what its clients had, the next ledger."""
    lost = twice = 0
    for life, counts in left.items():
        settled = after.settled.get(life, Counts())
        for counted, written in (
            (counts.bytes_in, settled.bytes_in),
            (counts.bytes_out, settled.bytes_out),
        ):
            lost += max(0, counted - written)
            twice += max(0, written - counted)
    for session, arrived in received.items():
        lost += max(0, arrived - after.of(session).bytes_in)
    for account, charged in after.charged_bytes.items():
        written = after.of_account(account)
        lost += max(0, written - charged)
        twice += max(0, charged - written)
    return lost, twice


def first_after(moment: float, end: Process) -> float:
    """When the first datagram that was sent after that moment came in at this end of the flow."""

    def found() -> float:
        return metronome.first_sent_after(moment, end.stdout) or 0.0

    return wait_for(found, "traffic is back", seconds=PATIENCE_SECONDS)


class Crashes:
    """One exit and its clients in mid-transfer."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.running: Exit = scene.up()
        token = scene.token()
        self.sessions: dict[str, Client] = {}
        for _ in range(2):
            client, made = scene.client(), self.running.create(token)
            client.up(made["wg_config"])
            # Windows that keep little in flight: what the kill loses is sent again, and billed again.
            client.keep_little_in_flight()
            client.host.start("curl", "-sS", "-o", "/dev/null", f"{WEB}/bytes/{ENDLESS_BYTES}")
            self.sessions[made["id"]] = client
        self.far_end = scene.outside.start(sys.executable, str(SCRIPT), str(PORT))
        wait_for(lambda: scene.outside.listens(PORT, "udp"), "the far end of the flow is there")
        self.near_end = client.host.start(sys.executable, str(SCRIPT), str(PORT), OUTSIDE)
        for end in (self.near_end, self.far_end):
            first_after(0, end)

    def kill(self, samples: Samples) -> None:
        """Once, in mid-transfer."""
        starts = self._received()

        def in_the_middle() -> bool:
            now = self._received()
            return all(now[session] > start + PROGRESS_BYTES for session, start in starts.items())

        wait_for(in_the_middle, "the downloads go on", seconds=PATIENCE_SECONDS)
        time.sleep(random.uniform(0, 0.2))
        self.running.process.kill()
        killed = time.monotonic()
        left = {counter.life: counter.counts for counter in books.counters(self.scene.counter_file)}
        received = self._received()
        self.running = self.scene.up()
        ready = time.monotonic()
        lost, twice = difference(left, received, books.ledger(self.scene.database))
        samples.lost_bytes.append(lost)
        samples.twice_bytes.append(twice)
        samples.restart_seconds.append(ready - killed)
        for end, seconds in ((self.near_end, samples.down_seconds), (self.far_end, samples.up_seconds)):
            seconds.append(max(0.0, first_after(killed, end) - ready))

    def _received(self) -> dict[str, int]:
        return {session: client.inner_bytes()[0] for session, client in self.sessions.items()}


def measure(runs: int, kills: int, say: Say) -> list[Row]:
    samples = Samples()
    for number in range(runs):
        with Scene() as scene:
            crashes = Crashes(scene)
            for _ in range(kills):
                crashes.kill(samples)
            if crashes.running.stop() != 0:
                raise LabError("the exit did not end in order")
        say(
            f"{number + 1}/{runs}: {kills} kills, {sum(samples.lost_bytes):.0f} bytes lost, "
            f"{sum(samples.twice_bytes):.0f} charged twice, traffic back after at most "
            f"{max(samples.down_seconds + samples.up_seconds):.2f} s"
        )
    return samples.rows()


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=whole_number(1), default=2, help="kills in each run (default: 2)")


BENCH = Bench(
    name="crash",
    help="kill -9 in mid-transfer: bytes lost or charged twice, and when traffic is back",
    run=lambda options, say: measure(options.runs, options.kills, say),
    add_options=add_options,
    # wireguard-go serves the clients, whatever --peer is: what they received is counted by their interface,
    # and one with offloads, as newer releases have, counts a joined packet's headers once.
    programs=("ip", "wg", "nft", "wireguard-go", "curl", "setpriv"),
)
