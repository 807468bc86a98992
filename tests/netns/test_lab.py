"""The laboratory itself, on real namespaces: it cleans up, also after the killed, and counts exactly."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench import wireguard
from bench.capture import Capture, totals
from bench.lab import CONTROL_SOCKETS, NAMESPACES, Lab
from bench.process import run, wait_for
from tests.netns.scene import PEER, ROOT

pytestmark = pytest.mark.netns


def left_by(pid: int) -> list[str]:
    places = [place for place in (NAMESPACES, CONTROL_SOCKETS) if place.exists()]
    return [entry.name for place in places for entry in place.iterdir() if entry.name.startswith(f"sp{pid}")]


def build_and_fail() -> None:
    with Lab() as lab:
        host = lab.host("h")
        host.run(PEER, lab.name("w"))  # detached: nobody's child
        host.start("sleep", "60")
        assert len(left_by(os.getpid())) >= 2
        inside.extend(host.output("ip", "netns", "pids", host.name).split())
        raise ZeroDivisionError


inside: list[str] = []


def test_nothing_is_left_when_the_block_ends_with_an_error():
    before = left_by(os.getpid())
    with pytest.raises(ZeroDivisionError):
        build_and_fail()
    assert left_by(os.getpid()) == before
    assert len(inside) >= 2
    # init may take a moment to bury the detached one
    wait_for(lambda: not [pid for pid in inside if Path(f"/proc/{pid}").exists()], "all programs are gone")


def test_the_leftovers_of_a_killed_lab_are_swept_by_the_next():
    script = (
        "import os; from bench.lab import Lab\n"
        "lab = Lab().__enter__(); host = lab.host('h')\n"
        f"host.run('{PEER}', lab.name('w')); host.start('sleep', '60')\n"
        "print(os.getpid(), flush=True); os.kill(os.getpid(), 9)"
    )
    pid = int(run([sys.executable, "-c", script], check=False, cwd=ROOT).stdout)
    assert left_by(pid)
    with Lab():
        assert left_by(pid) == []


def test_a_capture_counts_what_the_interface_counts():
    with Lab() as lab:
        one, two = lab.host("a"), lab.host("b")
        a, b = lab.wire(one, two)
        one.address(a, "192.0.2.1/24")
        two.address(b, "192.0.2.2/24")
        keys_a, keys_b = wireguard.new_keys(), wireguard.new_keys()
        left, right = wireguard.start(one, PEER), wireguard.start(two, PEER)
        right.configure(
            wireguard.config(keys_b, wireguard.peer(keys_a.public, "10.7.0.1/32"), listen_port=51820)
        )
        left.configure(
            wireguard.config(keys_a, wireguard.peer(keys_b.public, "10.7.0.2/32", "192.0.2.2:51820"))
        )
        for end, address in ((left, "10.7.0.1/24"), (right, "10.7.0.2/24")):
            # Router solicitations at link-up would be counted by the interface alone.
            end.host.sysctl(f"net.ipv6.conf.{end.name}.disable_ipv6", "1")
            end.up(address)
        with Capture(one, left.name) as capture:
            one.run("ping", "-n", "-c", "5", "-i", "0.05", "-s", "1000", "10.7.0.2")
            # Handshake, then five times 1028 padded to 1040 plus 32: what the kernel's own test counts.
            wait_for(lambda: left.transfer()[0] == 92 + 5 * (1040 + 32), "all answers are back")
            found = totals(capture.stop(), "10.7.0.1")
        assert (found.to_packets, found.from_packets) == (5, 5)
        assert found.to_bytes == found.from_bytes == 5 * 1028
