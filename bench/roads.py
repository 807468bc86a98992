"""Roads: what traffic goes over in a bench, built of namespaces, alike but for the program at its ends.

    pair      [ left 10.7.0.1 ]==== tunnel ====[ right 10.7.0.2 ]       traffic between the tunnel's two ends
              192.0.2.1  ------- veth -------  192.0.2.2

    exit      [ client 10.7.0.2 ]== tunnel ==[ exit 10.7.0.1 ]            the exit forwards and masquerades;
              192.0.2.2 ---- veth ---- 192.0.2.1 | 198.51.100.1           download: outside -> client
                                                  \\-- veth -- [ outside 198.51.100.2 ]

Outer MTU 1500, inner MTU 1420. Without a program a road is bare wires.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import iperf, wireguard
from bench.iperf import Load
from bench.lab import Host, Lab
from bench.wireguard import Interface

LISTEN_PORT = 51820
NAT = """table ip bench {{
    chain nat {{
        type nat hook postrouting priority srcnat
        oifname "{egress}" masquerade
    }}
}}
"""


@dataclass(frozen=True)
class Road:
    """From where to where traffic goes; `near` and `far` serve the tunnel's ends, None on bare wires."""

    client: Host
    server: iperf.Server
    address: str
    near: Interface | None = None
    far: Interface | None = None

    def measure(self, load: Load, seconds: int) -> float:
        return iperf.measure(self.client, self.server, self.address, load, seconds)


def _join(
    near: Host,
    far: Host,
    far_outer: str,
    programs: tuple[Path, Path],
    allowed: tuple[str, str],
    inner: tuple[str, str],
) -> tuple[Interface, Interface]:
    """A tunnel between two hosts; `near` knows where `far` is."""
    a, b = wireguard.start(near, programs[0]), wireguard.start(far, programs[1])
    key_a, key_b = wireguard.new_keys(), wireguard.new_keys()
    endpoint = f"{far_outer}:{LISTEN_PORT}"
    b.configure(wireguard.config(key_b, wireguard.peer(key_a.public, allowed[1]), listen_port=LISTEN_PORT))
    a.configure(wireguard.config(key_a, wireguard.peer(key_b.public, allowed[0], endpoint)))
    a.up(inner[0])
    b.up(inner[1])
    return a, b


def build_pair(lab: Lab, near: Path | None, far: Path | None = None) -> Road:
    """`near` and `far` are the programs at the two ends, `far` the same unless it is given."""
    left, right = lab.host("l"), lab.host("r")
    a, b = lab.wire(left, right)
    left.address(a, "192.0.2.1/24")
    right.address(b, "192.0.2.2/24")
    if near is None:
        return Road(left, iperf.Server(right), "192.0.2.2")
    a_end, b_end = _join(
        left,
        right,
        "192.0.2.2",
        (near, far or near),
        ("10.7.0.2/32", "10.7.0.1/32"),
        ("10.7.0.1/24", "10.7.0.2/24"),
    )
    return Road(left, iperf.Server(right), "10.7.0.2", a_end, b_end)


def build_exit(lab: Lab, near: Path | None, far: Path | None = None) -> Road:
    """`near` is the client's program, `far` the exit's, the same unless it is given."""
    client, gate, outside = lab.host("c"), lab.host("e"), lab.host("o")
    a, b = lab.wire(client, gate)
    egress, beyond = lab.wire(gate, outside)
    client.address(a, "192.0.2.2/24")
    gate.address(b, "192.0.2.1/24")
    gate.address(egress, "198.51.100.1/24")
    outside.address(beyond, "198.51.100.2/24")
    gate.sysctl("net.ipv4.ip_forward", "1")
    gate.run("nft", "-f", "-", input_text=NAT.format(egress=egress))
    if near is None:
        client.route("198.51.100.0/24", "via", "192.0.2.1")
        return Road(client, iperf.Server(outside), "198.51.100.2")
    a_end, b_end = _join(
        client,
        gate,
        "192.0.2.1",
        (near, far or near),
        ("0.0.0.0/0", "10.7.0.2/32"),
        ("10.7.0.2/24", "10.7.0.1/24"),
    )
    client.route("198.51.100.0/24", "dev", a_end.name)
    return Road(client, iperf.Server(outside), "198.51.100.2", a_end, b_end)


BUILDERS: dict[str, Callable[..., Road]] = {"pair": build_pair, "exit": build_exit}
