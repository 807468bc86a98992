"""What is asked of iperf3 and which of its numbers is taken."""

from __future__ import annotations

import pytest

from bench.iperf import Load, arguments, figure
from bench.process import LabError


def test_tcp_counts_what_the_receiver_got():
    report = {"end": {"sum_sent": {"bits_per_second": 9e9}, "sum_received": {"bits_per_second": 5e9}}}
    assert figure(report, Load()) == 5.0


def test_udp_counts_datagrams_that_arrived():
    received = {"bytes": 1300 * 500, "seconds": 2.0, "packets": 900, "lost_packets": 400}
    assert figure({"end": {"sum_received": received}}, Load(udp_bytes=1300)) == 250


def test_an_error_report_is_an_error():
    with pytest.raises(LabError, match="busy"):
        figure({"error": "the server is busy"}, Load())


def test_arguments_name_direction_streams_and_size():
    line = arguments(Load(streams=4, reverse=True), "10.7.0.2", 3)
    assert line[line.index("-P") + 1] == "4"
    assert line[line.index("-t") + 1] == "3"
    assert "-R" in line
    assert "-u" not in line
    udp = arguments(Load(udp_bytes=1300), "10.7.0.2", 3)
    assert udp[udp.index("-l") + 1] == "1300"
    assert udp[udp.index("-b") + 1] == "0"
    assert "-R" not in udp
    assert "-C" not in udp
