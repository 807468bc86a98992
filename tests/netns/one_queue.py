"""Wires that keep the order of what is sent over them.

A veth pair by itself does not: what is sent waits in a queue of the CPU that sent it, a sender may be moved
to another CPU, and the queues are served as it happens. Told to use the queue of one CPU (receive packet
steering, in the kernel's Documentation/networking/scaling.rst) it does.
"""

from __future__ import annotations

import json

from bench.lab import Host

ONE_CPU = "1"  # a mask of CPUs: the first alone


def keep_order(host: Host) -> None:
    """Have this host take what its wires bring in the order in which it was sent."""
    links = json.loads(host.output("ip", "-json", "link", "show", "type", "veth"))
    assert links, f"{host.name} has no wire"
    for link in links:
        queue = f"/sys/class/net/{link['ifname']}/queues/rx-0/rps_cpus"
        host.run("sh", "-c", f"echo {ONE_CPU} > {queue}")
