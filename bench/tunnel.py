"""`bench tunnel`: how fast is a tunnel with us at both ends, next to a peer at both ends?

Three roads are built for each topology, alike but for the program: ours, the peer, and none (bare
wires, which gives `limit`). They stand side by side while one run after the other goes over them in turns
(ours, peer, ours, peer ...), so that whatever else the machine does hits all alike.

    pair      [ left 10.7.0.1 ]==== tunnel ====[ right 10.7.0.2 ]         iperf3 at the tunnel's two ends
              192.0.2.1  ------- veth -------  192.0.2.2

    exit      [ client 10.7.0.2 ]== tunnel ==[ exit 10.7.0.1 ]            the exit forwards and masquerades;
              192.0.2.2 ---- veth ---- 192.0.2.1 | 198.51.100.1           download: outside -> client
                                                  \\-- veth -- [ outside 198.51.100.2 ]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import iperf, wireguard
from bench.iperf import Load
from bench.lab import Host, Lab
from bench.registry import Bench, Say, whole_number
from bench.rows import Row

WARM_UP_SECONDS = 1
BARE_RUNS = 3  # first, middle and last round: enough for a limit and to see it drift
UDP_BYTES = 1300
LISTEN_PORT = 51820
NAT = """table ip bench {{
    chain nat {{
        type nat hook postrouting priority srcnat
        oifname "{egress}" masquerade
    }}
}}
"""


@dataclass(frozen=True)
class Measure:
    """A row before it is measured."""

    name: str
    load: Load
    gate: float | None
    aim: float | None


TOPOLOGIES: dict[str, tuple[Measure, ...]] = {
    "pair": (
        Measure("pair tcp 1 stream", Load(streams=1), 1.0, 3.8),
        Measure("pair tcp 4 streams", Load(streams=4), None, 3.8),
        Measure("pair udp 1300 B", Load(udp_bytes=UDP_BYTES), None, 4.5),
    ),
    "exit": (
        Measure("exit download tcp 1 stream", Load(streams=1, reverse=True), 1.0, 3.5),
        Measure("exit download tcp 4 streams", Load(streams=4, reverse=True), None, 3.5),
        Measure("exit download udp 1300 B", Load(udp_bytes=UDP_BYTES, reverse=True), None, 4.5),
        Measure("exit upload tcp 1 stream", Load(streams=1), None, 3.5),
        Measure("exit upload tcp 4 streams", Load(streams=4), None, 3.5),
        Measure("exit upload udp 1300 B", Load(udp_bytes=UDP_BYTES), None, 4.5),
    ),
}


@dataclass(frozen=True)
class Road:
    """From where to where traffic goes."""

    client: Host
    server: iperf.Server
    address: str

    def measure(self, load: Load, seconds: int) -> float:
        return iperf.measure(self.client, self.server, self.address, load, seconds)


def _join(
    near: Host,
    far: Host,
    far_outer: str,
    implementation: Path,
    allowed: tuple[str, str],
    inner: tuple[str, str],
) -> tuple[str, str]:
    """A tunnel between two hosts; `near` knows where `far` is. Gives the interface names."""
    a, b = wireguard.start(near, implementation), wireguard.start(far, implementation)
    key_a, key_b = wireguard.new_keys(), wireguard.new_keys()
    endpoint = f"{far_outer}:{LISTEN_PORT}"
    b.configure(wireguard.config(key_b, wireguard.peer(key_a.public, allowed[1]), listen_port=LISTEN_PORT))
    a.configure(wireguard.config(key_a, wireguard.peer(key_b.public, allowed[0], endpoint)))
    a.up(inner[0])
    b.up(inner[1])
    return a.name, b.name


def build_pair(lab: Lab, implementation: Path | None) -> Road:
    left, right = lab.host("l"), lab.host("r")
    a, b = lab.wire(left, right)
    left.address(a, "192.0.2.1/24")
    right.address(b, "192.0.2.2/24")
    address = "192.0.2.2"
    if implementation is not None:
        _join(
            left,
            right,
            "192.0.2.2",
            implementation,
            ("10.7.0.2/32", "10.7.0.1/32"),
            ("10.7.0.1/24", "10.7.0.2/24"),
        )
        address = "10.7.0.2"
    return Road(left, iperf.Server(right), address)


def build_exit(lab: Lab, implementation: Path | None) -> Road:
    client, gate, outside = lab.host("c"), lab.host("e"), lab.host("o")
    a, b = lab.wire(client, gate)
    egress, far = lab.wire(gate, outside)
    client.address(a, "192.0.2.2/24")
    gate.address(b, "192.0.2.1/24")
    gate.address(egress, "198.51.100.1/24")
    outside.address(far, "198.51.100.2/24")
    gate.sysctl("net.ipv4.ip_forward", "1")
    gate.run("nft", "-f", "-", input_text=NAT.format(egress=egress))
    if implementation is None:
        client.route("198.51.100.0/24", "via", "192.0.2.1")
    else:
        tunnel, _ = _join(
            client,
            gate,
            "192.0.2.1",
            implementation,
            ("0.0.0.0/0", "10.7.0.2/32"),
            ("10.7.0.2/24", "10.7.0.1/24"),
        )
        client.route("198.51.100.0/24", "dev", tunnel)
    return Road(client, iperf.Server(outside), "198.51.100.2")


BUILDERS: dict[str, Callable[[Lab, Path | None], Road]] = {"pair": build_pair, "exit": build_exit}


def bare_rounds(runs: int) -> frozenset[int]:
    """In which of `runs` rounds the bare wires are measured too: spread from first to last."""
    count = min(BARE_RUNS, runs)
    return frozenset(round(i * (runs - 1) / max(count - 1, 1)) for i in range(count))


def measure(
    topologies: Sequence[str], ours: Path, peer: Path, runs: int, seconds: int, say: Say
) -> list[Row]:
    """All rows of these topologies, each road measured `runs` times in turns."""
    rows = []
    for topology in topologies:
        with Lab() as lab:
            build = BUILDERS[topology]
            roads = {"ours": build(lab, ours), "peer": build(lab, peer), "bare": build(lab, None)}
            say(f"{topology}: built, warming up")
            for road in roads.values():
                road.measure(Load(), WARM_UP_SECONDS)
            rows += _measure_rounds(TOPOLOGIES[topology], roads, runs, seconds, say)
    return rows


def _measure_rounds(
    measures: Sequence[Measure], roads: dict[str, Road], runs: int, seconds: int, say: Say
) -> list[Row]:
    samples: dict[tuple[str, str], list[float]] = {(m.name, r): [] for m in measures for r in roads}
    bare = bare_rounds(runs)
    for number in range(runs):
        for item in measures:
            words = []
            for name, road in roads.items():
                if name == "bare" and number not in bare:
                    continue
                value = road.measure(item.load, seconds)
                samples[item.name, name].append(value)
                words.append(f"{name} {value:,.{0 if value >= 1000 else 2}f}")
            say(f"{number + 1}/{runs} {item.name}: {', '.join(words)} {item.load.unit}")
    return [
        Row(
            m.name, m.load.unit, "higher", tuple(samples[m.name, "ours"]), tuple(samples[m.name, "peer"]),
            tuple(samples[m.name, "bare"]), m.gate, m.aim,
        )
        for m in measures
    ]  # fmt: skip


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topology", choices=tuple(TOPOLOGIES), help="pair or exit (default: both)")
    parser.add_argument("--seconds", type=whole_number(1), default=2, help="length of a run (default: 2)")


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
