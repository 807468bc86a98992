"""`bench idle`: does a program that has nothing to do sleep through?

Three stages stand side by side, each with a session in use a moment ago: a tunnel between two of ours, one
between two of the peer, and `sallyport up` with a session made over its API, whose client has downloaded
something. Then nobody sends anything. When what the last packets called for is done (passive keepalives,
settling), every voluntary context switch of every thread within the time is counted: a thread that sleeps
for good makes none. No watchdog and no persistent keepalive is configured; they are wake-ups by order.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

from bench import wireguard
from bench.exit_client import OUTSIDE, inner_address
from bench.exit_scene import Scene
from bench.lab import Lab
from bench.process import LabError
from bench.registry import Bench, Say, whole_number
from bench.roads import Road, build_pair
from bench.rows import Row
from bench.wireguard import Interface

SWITCHES = re.compile(r"^voluntary_ctxt_switches:\s+(\d+)$", re.MULTILINE)
# Past the passive keepalive (10 s), the settling of what was counted (at most 10 s), and the moments
# after which connections that are closed are forgotten.
REST_SECONDS = 25


def wake_ups(pid: int) -> dict[int, int]:
    """How often each thread of a process gave the processor away by itself, and so had to be woken."""
    try:
        texts = {
            int(thread.name): (thread / "status").read_text()
            for thread in Path(f"/proc/{pid}/task").iterdir()
        }
    except OSError as error:
        raise LabError(f"process {pid} or one of its threads is gone: {error.strerror}") from None
    return {thread: int(match[1]) for thread, text in texts.items() if (match := SWITCHES.search(text))}


def woken(before: dict[int, int], after: dict[int, int]) -> int:
    """How often between the two. A thread that came or went in between ran: that is once, and all it had."""
    found = 0
    for thread in before.keys() | after.keys():
        if thread in before and thread in after:
            found += after[thread] - before[thread]
        else:
            found += 1 + after.get(thread, 0)
    return found


def _quiet(interface: Interface) -> None:
    """Keep the kernel from speaking IPv6 (router solicitations, group reports) into a tunnel by itself."""
    interface.host.sysctl(f"net.ipv6.conf.{interface.name}.disable_ipv6", "1")


def used_pair(lab: Lab, implementation: Path) -> Road:
    """A tunnel that has just carried a round trip."""
    road = build_pair(lab, implementation)
    for end in (road.near, road.far):
        if end is not None:
            _quiet(end)
    road.client.run("ping", "-n", "-c", "3", "-i", "0.2", road.address)
    return road


def used_exit(scene: Scene, client_program: Path) -> int:
    """An exit with one session that has just carried a download; gives the pid of the exit."""
    client, running = scene.client(), scene.up()
    config = running.create()["wg_config"]
    text = "".join(
        f"{line}\n"
        for line in config.splitlines()
        if not line.startswith(("Address", "MTU", "DNS", "PersistentKeepalive"))
    )
    interface = wireguard.start(client.host, client_program, client.interface)
    interface.configure(text)
    interface.up(f"{inner_address(config)}/32")
    _quiet(interface)
    client.host.route(f"{OUTSIDE}/32", "dev", interface.name)
    client.download(100_000)
    return running.process.pid


def pids_of(road: Road) -> list[int]:
    """The programs at the two ends."""
    return [end.process.pid for end in (road.near, road.far) if end is not None]


def measure(ours: Path, peer: Path, seconds: int, say: Say) -> list[Row]:
    """All rows, of one stretch of time."""
    with Lab() as lab, Scene() as scene:
        watched = {
            "ours": pids_of(used_pair(lab, ours)),
            "peer": pids_of(used_pair(lab, peer)),
            "exit": [used_exit(scene, ours)],
        }
        say(f"built; resting {REST_SECONDS} s, then counting for {seconds} s")
        time.sleep(REST_SECONDS)
        before = {name: [wake_ups(pid) for pid in pids] for name, pids in watched.items()}
        time.sleep(seconds)
        after = {name: [wake_ups(pid) for pid in pids] for name, pids in watched.items()}
    found = {
        name: tuple(float(woken(a, b)) for a, b in zip(before[name], after[name], strict=True))
        for name in watched
    }
    say(
        ", ".join(
            f"{name} {' + '.join(f'{count:.0f}' for count in counts)}" for name, counts in found.items()
        )
    )
    unit = f"per {seconds} s"
    return [
        Row(
            "sallyport-wg, wake-ups", unit, "lower", found["ours"], found["peer"], bound=0, aim=0, worst=True
        ),
        Row("sallyport up, wake-ups", unit, "lower", found["exit"], bound=0, aim=0, worst=True),
    ]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=whole_number(1), default=60, help="how long to count (default: 60), once"
    )


def _run(options: argparse.Namespace, say: Say) -> list[Row]:
    return measure(options.ours, options.peer, options.seconds, say)


BENCH = Bench(
    name="idle",
    help="wake-ups of programs that have nothing to do",
    run=_run,
    add_options=_options,
    programs=("curl", "ip", "nft", "ping", "setpriv", "wg"),
    compares=True,
)
