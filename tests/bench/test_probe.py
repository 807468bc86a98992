"""The round trip prober: what it sends, how it reads the kernel's stamps, and a real run."""

from __future__ import annotations

import json
import socket
import struct
import sys
from pathlib import Path

import pytest

from bench.lab import Lab
from bench.probe import IP_RECVERR, SO_TIMESTAMPING, checksum, request, sent_number, stamp_ns

DROP_HALF = """table ip half {
    chain every_second {
        type filter hook input priority 0
        icmp sequence & 0x1 == 0x1 drop
    }
}
"""
ROOT = Path(__file__).resolve().parents[2]


def test_a_request_is_a_valid_echo_request() -> None:
    message = request(0x1234, 0x1_0007)
    assert len(message) == 64
    assert message[:2] == bytes([8, 0])
    assert struct.unpack("!HH", message[4:8]) == (0x1234, 7)
    assert checksum(message) == 0  # a sum that includes itself


def test_the_software_stamp_is_read_from_its_control_message() -> None:
    stamp = struct.pack("@qqqqqq", 5, 7, 0, 0, 0, 0)
    controls = [(socket.SOL_SOCKET, 99, b"other"), (socket.SOL_SOCKET, SO_TIMESTAMPING, stamp)]
    assert stamp_ns(controls) == 5_000_000_007
    assert stamp_ns([]) is None


def test_only_stamps_name_a_datagram() -> None:
    def told(origin: int) -> list[tuple[int, int, bytes]]:
        return [(socket.IPPROTO_IP, IP_RECVERR, struct.pack("@IBBBBII", 42, origin, 0, 0, 0, 0, 300))]

    assert sent_number(told(4)) == 300
    assert sent_number(told(2)) is None  # an ICMP error that came back
    assert sent_number([]) is None


@pytest.mark.netns
def test_every_request_on_an_idle_wire_comes_back_timed_unless_lost() -> None:
    with Lab() as lab:
        one, other = lab.host("a"), lab.host("b")
        a, b = lab.wire(one, other)
        one.address(a, "192.0.2.1/24")
        other.address(b, "192.0.2.2/24")
        words = (sys.executable, "-P", "-m", "bench.probe", "192.0.2.2", "100", "500")
        times = json.loads(one.run(*words, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}).stdout)
        assert len(times) == 100
        assert all(0 < ns < 1_000_000_000 for ns in times)
        other.run("nft", "-f", "-", input_text=DROP_HALF)
        assert 20 < len(json.loads(one.run(*words, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}).stdout)) < 80
