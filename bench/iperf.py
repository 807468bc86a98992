"""iperf3 as a measuring instrument: one run, one number, always as the *receiver* counted it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.lab import Host
from bench.process import LabError, Process, wait_for

PORT = 5201
LEAST_GBIT_PER_SECOND = 0.05  # under "full load"; what carries less stands still
# What Linux ships. Some machines are set to bbr, whose pacing would measure bbr; a root may choose.
CONGESTION_CONTROL = "cubic"


@dataclass(frozen=True)
class Load:
    """What to send: TCP over some streams, or UDP datagrams as fast as the sender can.

    `reverse` lets the server send, which makes it a download from the client's point of view.
    """

    streams: int = 1
    udp_bytes: int | None = None
    reverse: bool = False

    @property
    def unit(self) -> str:
        return "Gb/s" if self.udp_bytes is None else "packets/s"


def arguments(load: Load, address: str, seconds: int) -> list[str]:
    """The command line of the client."""
    line = ["iperf3", "-c", address, "-p", str(PORT), "-t", str(seconds), "-P", str(load.streams), "-J"]
    if load.reverse:
        line.append("-R")
    if load.udp_bytes is None:
        line += ["-C", CONGESTION_CONTROL]
    else:
        line += ["-u", "-b", "0", "-l", str(load.udp_bytes)]
    return line


def figure(report: dict[str, Any], load: Load) -> float:
    """The one number of iperf3's JSON report: received Gb/s, or datagrams delivered per second."""
    received = report["end"]["sum_received"]
    if load.udp_bytes is None:
        return float(received["bits_per_second"]) / 1e9
    # Counted by what arrived: a loss at the very end leaves no gap that could be counted as lost.
    return received_bytes(report) / load.udp_bytes / float(received["seconds"])


class Server:
    """`iperf3 -s` on a host, kept running; a client may come again and again."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._process = self._start()

    def _start(self) -> Process:
        process = self.host.start("iperf3", "-s", "-p", str(PORT))
        wait_for(lambda: self.host.listens(PORT), "iperf3 server listens")
        return process

    def restart(self) -> None:
        """A server whose client vanished may stay busy with it: take a new one."""
        self._process.kill()
        wait_for(lambda: not self.host.listens(PORT), "the old iperf3 server is gone")
        self._process = self._start()


def measure(client: Host, server: Server, address: str, load: Load, seconds: int) -> float:
    """One run from `client` to the server at `address`, as one figure."""
    return figure(run(client, server, address, load, seconds), load)


def run(
    client: Host,
    server: Server,
    address: str,
    load: Load,
    seconds: int,
    before_try: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """The report of one run; tried twice: a lost control packet spoils a run.

    `before_try` is called before each try: who reads clocks wants those of the one that is reported.
    """
    before_try()
    try:
        return _run(client, address, load, seconds)
    except LabError:
        server.restart()
        before_try()
        return _run(client, address, load, seconds)


def _run(client: Host, address: str, load: Load, seconds: int) -> dict[str, Any]:
    done = client.run(*arguments(load, address, seconds), check=False, seconds=seconds + 20)
    return parsed(done.stdout, done.stderr)


def parsed(stdout: str, stderr: str) -> dict[str, Any]:
    """The report of a client that has ended; LabError when it says that there is none."""
    try:
        report = json.loads(stdout)
    except ValueError:
        raise LabError(f"iperf3: no report: {stderr.strip()[:200]}") from None
    if "error" in report:
        raise LabError(f"iperf3: {report['error']}")
    if "sum_received" not in report.get("end", {}):
        raise LabError("iperf3: a report without what arrived")
    return dict(report)


def enough(gbit_per_second: float, what: str) -> float:
    """The same; LabError when it is so little that `what` was no load at all."""
    if gbit_per_second < LEAST_GBIT_PER_SECOND:
        raise LabError(f"{what} stood still: {gbit_per_second * 1000:.1f} Mb/s")
    return gbit_per_second


def received_bytes(report: dict[str, Any]) -> int:
    """How much text arrived."""
    return int(report["end"]["sum_received"]["bytes"])
