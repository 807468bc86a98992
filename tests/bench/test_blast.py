"""Sending and counting datagrams: everything that arrives is counted, and nothing else."""

from __future__ import annotations

import json
import socket
import sys

import pytest

from bench import blast
from bench.process import Process, wait_for


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def receiver():
    port = free_port()
    process = Process([sys.executable, "-m", "bench.blast", "receive", str(port)])
    wait_for(lambda: "ready" in process.stdout, "ready")
    yield port, process
    process.close()


def counted(process):
    assert process.wait() == 0
    return json.loads(process.stdout.split("\n", 1)[1])


@pytest.mark.parametrize("size", [64, 1300])
def test_what_is_sent_on_loopback_is_counted(receiver, size, capsys):
    port, process = receiver
    assert blast.main(["send", "127.0.0.1", str(port), str(size), "0.1"]) == 0
    sent = json.loads(capsys.readouterr().out)["sent"]
    found = counted(process)
    # A receiver that did not get a core for a while may have lost some; it never counts one twice.
    assert 0 < found["received"] <= sent
    assert found["seconds"] < 5


def test_datagrams_have_the_size_asked_for_and_the_time_is_first_to_last(receiver):
    port, process = receiver
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("127.0.0.1", port))
        for _ in range(3):
            one.send(b"x")
    found = counted(process)
    assert found["received"] == 3
    assert found["seconds"] < blast.QUIET_MS / 1000

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two:
        two.bind(("127.0.0.1", port))
        blast.send("127.0.0.1", port, 333, 0.01)
        assert {len(two.recv(2000)) for _ in range(blast.BATCH)} == {333}


def test_words_that_it_does_not_know_are_usage():
    assert blast.main(["blow"]) == 2
