"""`bench api`: how long does the session API take, while the tunnel rests and while it runs at full speed?

    clients (http_load.py) --loopback-- [ exit: sallyport up ] ---- outside: iperf3 -s
                                            ‖ a session's tunnel
                                        client: iperf3 -c -R, four streams

Everything shares this machine's cores: the API, the packet pump of the same process, the session's client and
both ends of iperf3. A create counts only when it is real: after each run every session that was answered must
stand in the database and its key in `wg show`; otherwise there is no figure. Sessions are ended between runs.

One sample of a row is one percentile of one run (percentiles.py), its latencies counted from the moment at
which each request was due. `limit` is such questions to a socket that always answers the same.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench import books, http_load, iperf
from bench.exit_client import OUTSIDE
from bench.exit_scene import OURS, Exit, Scene
from bench.http_load import Outcome, Plan
from bench.iperf import Load
from bench.percentiles import percentile
from bench.process import LabError, run, wait_for
from bench.registry import Bench, Say, whole_number
from bench.rows import Row

ROOT: Final = Path(__file__).resolve().parent.parent
CREATES_PER_SECOND: Final = 20.0
STATUSES_PER_SECOND: Final = 100.0
POOL: Final = "10.77.0.0/20"
FULL_SPEED: Final = Load(streams=4, reverse=True)
LOAD_AHEAD_SECONDS: Final = 1  # before the first request: TCP has found its speed
LOAD_AT_MOST_SECONDS: Final = 600  # it is ended with the last request
BARE_SECONDS: Final = 2  # of the socket that always answers the same
CHECKED_AT_ONCE: Final = 5


@dataclass
class Samples:
    """A figure per run, by name of the row."""

    found: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.found.setdefault(name, []).append(value)

    def add_latencies(self, name: str, outcome: Outcome) -> None:
        for percent in (50, 99):
            self.add(f"{name} p{percent}", percentile(outcome.latencies_us, percent) / 1000)

    def rows(self) -> list[Row]:
        return [
            self._row("create full speed p99", "ms", "bare full speed p99", bound=50, aim=20),
            self._row("create full speed p50", "ms", "bare full speed p50"),
            self._row("status full speed p99", "ms", "bare full speed p99", bound=100),
            self._row("status full speed p50", "ms", "bare full speed p50"),
            self._row("create idle p99", "ms"),
            self._row("create idle p50", "ms"),
            Row("status idle", "requests/s", "higher", tuple(self.found["status idle"]),
                limit=tuple(self.found["bare idle"]), bound=1500),
            Row("carried beside them at full speed", "Gb/s", "higher", tuple(self.found["carried"])),
        ]  # fmt: skip

    def _row(
        self,
        name: str,
        unit: str,
        limit: str | None = None,
        bound: float | None = None,
        aim: float | None = None,
    ) -> Row:
        bare = tuple(self.found[limit]) if limit else ()
        return Row(name, unit, "lower", tuple(self.found[name]), limit=bare, bound=bound, aim=aim)


class Asked:
    """The API of an exit under a load, and a socket that always answers the same."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.running: Exit = scene.up("--pool", POOL)
        self.token = self.running.token
        self._port = int(self.running.api_address.rpartition(":")[2])
        client = scene.client()
        self.client = client.host
        made = self.running.create()
        client.up(made["wg_config"], OURS)
        self.session = f"/v1/sessions/{made['id']}"
        self.outside = iperf.Server(scene.outside)
        bare = scene.exit.start(*_program("--answer"), cwd=ROOT, env=_ENVIRONMENT)
        wait_for(lambda: bare.stdout.endswith("\n"), "the bare server listens")
        self._bare_port = int(bare.stdout)

    def ask(self, plan: Plan) -> Outcome:
        """Carry out a plan on the exit's host."""
        done = self.scene.exit.run(
            *_program(), input_text=http_load.plan_text(plan), cwd=ROOT, env=_ENVIRONMENT, seconds=120,
            check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise LabError(f"{plan.method} {plan.paths[0]}: {done.stderr.strip()[-300:]}")
        return http_load.read_outcome(done.stdout)

    def creates(self, count: int) -> Outcome:
        """So many creates at the rate; each is checked, and ended again."""
        plan = Plan(
            self._port, ("/v1/sessions",), self.token, "POST", '{"region":"local"}',
            rate=CREATES_PER_SECOND, count=count, connections=32, keep_bodies=True,
        )  # fmt: skip
        outcome = self.ask(plan)
        made = [json.loads(body) for body in outcome.bodies]
        self.check(made)
        paths = tuple(f"/v1/sessions/{each['id']}" for each in made)
        self.ask(Plan(self._port, paths, self.token, "DELETE", count=len(paths)))
        return outcome

    def statuses(self, count: int, *, bare: bool = False) -> Outcome:
        """So many questions at the rate."""
        port = self._bare_port if bare else self._port
        return self.ask(
            Plan(port, (self.session,), self.token, rate=STATUSES_PER_SECOND, count=count, connections=32)
        )

    def as_many(self, seconds: int, *, bare: bool = False) -> float:
        """How many questions are answered in a second."""
        port = self._bare_port if bare else self._port
        return self.ask(Plan(port, (self.session,), self.token, seconds=seconds)).per_second

    def carried_bytes(self) -> int:
        """What the session has downloaded, as it is billed."""
        return int(self.running.session(self.session.rpartition("/")[2])["bytes_in"])

    def check(self, made: list[dict[str, Any]]) -> None:
        """LabError unless all these sessions are in the database, and their peers on the interface."""
        ledger = books.ledger(self.scene.database)
        shown = self.scene.exit.output("wg", "show", self.running.interface, "peers").split()
        for each in made:
            entry = ledger.sessions.get(each["id"])
            if entry is None or entry.ended is not None:
                raise LabError(f"session {each['id']} was answered and is not in the database")
            key = base64.b64encode(entry.public_key).decode()
            if key not in shown or key != public_key(each["wg_config"]):
                raise LabError(f"session {each['id']} was answered and its key is not on the interface")

    def create_and_check(self) -> None:
        """Creates one by one, each looked for as soon as it is answered."""
        for _ in range(CHECKED_AT_ONCE):
            made = self.running.create()
            self.check([made])
            self.running.end(made["id"])


_ENVIRONMENT: Final = {"PYTHONPATH": str(ROOT)}


def _program(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", "bench.http_load", *words)


def public_key(config: str) -> str:
    """The key of a configuration's interface, as `wg` computes it."""
    line = next(line for line in config.splitlines() if line.startswith("PrivateKey"))
    return run(["wg", "pubkey"], input_text=line.partition("=")[2].strip()).stdout.strip()


def at_full_speed(asked: Asked, seconds: int, samples: Samples) -> float:
    """All that is asked while the tunnel runs at full speed; gives the Gb/s that it carried meanwhile."""
    load = asked.client.start(*iperf.arguments(FULL_SPEED, OUTSIDE, LOAD_AT_MOST_SECONDS))
    try:
        time.sleep(LOAD_AHEAD_SECONDS)
        before, begin = asked.carried_bytes(), time.monotonic()
        samples.add_latencies("create full speed", asked.creates(int(CREATES_PER_SECOND * seconds)))
        samples.add_latencies("status full speed", asked.statuses(int(STATUSES_PER_SECOND * seconds)))
        samples.add_latencies(
            "bare full speed",
            asked.statuses(int(STATUSES_PER_SECOND * min(seconds, BARE_SECONDS)), bare=True),
        )
        if load.poll() is not None:
            raise LabError(f"the load ended before the last request: {load.stdout[-300:]}")
        carried = (asked.carried_bytes() - before) * 8 / (time.monotonic() - begin) / 1e9
        samples.add("carried", iperf.enough(carried, "the download beside the API"))
        return carried
    finally:
        load.close()
        asked.outside.restart()


def measure(runs: int, seconds: int, say: Say) -> list[Row]:
    samples = Samples()
    with Scene() as scene:
        asked = Asked(scene)
        say("built, warming up")
        asked.create_and_check()
        asked.as_many(1)
        for number in range(runs):
            samples.add("bare idle", asked.as_many(1, bare=True))
            samples.add("status idle", asked.as_many(seconds))
            samples.add_latencies("create idle", asked.creates(int(CREATES_PER_SECOND * seconds)))
            carried = at_full_speed(asked, seconds, samples)
            latest = {name: values[-1] for name, values in samples.found.items()}
            say(
                f"{number + 1}/{runs} idle: {latest['status idle']:,.0f} statuses/s"
                f" of {latest['bare idle']:,.0f}, create p99 {latest['create idle p99']:.1f} ms;"
                f" at {carried:.1f} Gb/s: create p99 {latest['create full speed p99']:.1f} ms,"
                f" status p99 {latest['status full speed p99']:.1f} ms,"
                f" bare p99 {latest['bare full speed p99']:.1f} ms"
            )
    return samples.rows()


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=whole_number(1), default=5, help="length of each of a run's parts (default: 5)"
    )


BENCH = Bench(
    name="api",
    help="the session API beside its tunnel: creates, statuses, idle and at full speed",
    run=lambda options, say: measure(options.runs, options.seconds, say),
    add_options=_options,
    programs=("curl", "ip", "iperf3", "nft", "setpriv", "wg"),
)
