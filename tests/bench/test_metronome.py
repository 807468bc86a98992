"""Two ends that both speak all the time, and what they tell."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

from bench.metronome import BEAT_SECONDS, first_sent_after
from bench.process import Process, wait_for

SCRIPT = str(Path(__file__).parents[2] / "bench" / "metronome.py")


def test_what_was_sent_before_counts_for_nothing_however_late_it_comes():
    said = "1000000000 4000000000\n2500000000 4000000000\n3000000000 5000000000\n35000000"
    assert first_sent_after(2.0, said) == 4.0
    assert first_sent_after(2.5, said) == 5.0
    assert first_sent_after(3.0, said) is None


def test_both_ends_speak_and_go_on_when_nobody_answers():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    near = Process([sys.executable, SCRIPT, port, "127.0.0.1"])
    time.sleep(3 * BEAT_SECONDS)  # refused by ICMP meanwhile
    far = Process([sys.executable, SCRIPT, port])
    try:
        for end in (near, far):
            wait_for(lambda end=end: end.stdout.count("\n") > 5, "the flow goes both ways")
        far.kill()
        moment = time.monotonic()
        time.sleep(5 * BEAT_SECONDS)
        assert near.poll() is None
        assert first_sent_after(moment, near.stdout) is None
    finally:
        near.close()
        far.close()
