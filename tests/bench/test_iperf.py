"""What is asked of iperf3 and which of its numbers is taken."""

from __future__ import annotations

import pytest

from bench.iperf import Load, arguments, enough, figure, measure, parsed, received_bytes, run
from bench.process import LabError


def test_tcp_counts_what_the_receiver_got():
    report = {"end": {"sum_sent": {"bits_per_second": 9e9}, "sum_received": {"bits_per_second": 5e9}}}
    assert figure(report, Load()) == 5.0


def test_udp_counts_datagrams_that_arrived():
    received = {"bytes": 1300 * 500, "seconds": 2.0, "packets": 900, "lost_packets": 400}
    assert figure({"end": {"sum_received": received}}, Load(udp_bytes=1300)) == 250


class Host:
    """A client whose iperf3 answers with these texts, one run after the other."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def run(self, *words, **_):
        class Done:
            stdout = self.answers.pop(0)
            stderr = "words"

        return Done


class Server:
    restarts = 0

    def restart(self):
        self.restarts += 1


GOOD = '{"end": {"sum_received": {"bytes": 7, "bits_per_second": 5e9}}}'
BUSY = '{"error": "the server is busy"}'


@pytest.mark.parametrize("first", [BUSY, "no json"])
def test_a_spoilt_run_is_tried_once_more_with_a_new_server(first):
    server = Server()
    tries = []
    report = run(Host(first, GOOD), server, "a", Load(), 1, lambda: tries.append(server.restarts))
    assert received_bytes(report) == 7
    assert tries == [0, 1]
    assert measure(Host(GOOD), server, "a", Load(), 1) == 5.0


def test_an_error_report_is_an_error():
    with pytest.raises(LabError, match="busy"):
        run(Host(BUSY, BUSY), Server(), "a", Load(), 1)
    with pytest.raises(LabError, match="no report: words"):
        run(Host("", ""), Server(), "a", Load(), 1)


@pytest.mark.parametrize("text", ["", "{", BUSY, '{"end": {}}', "{}"])
def test_a_report_without_a_figure_is_an_error(text):
    with pytest.raises(LabError, match="iperf3"):
        parsed(text, "words")
    assert parsed(GOOD, "") == {"end": {"sum_received": {"bytes": 7, "bits_per_second": 5e9}}}


def test_a_load_that_stands_still_is_an_error():
    assert enough(1.0, "the load") == 1.0
    with pytest.raises(LabError, match="the load stood still: 49"):
        enough(0.049, "the load")


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
