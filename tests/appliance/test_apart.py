"""Every end comes: of who listens, of who hangs in C or in Python, and with a clean-up that hangs, too."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from appliance import apart

# What is cut short here is meant to be; what is not has all the time, also on a machine that stands still.
SOON, NEVER = 0.3, 60.0

LIFE = """
import sys, threading, time
import trio
from appliance import apart

apart.ORDERLY_SECONDS, apart.STOP_SECONDS = map(float, sys.argv[3:])

async def main(stopping):
    print("up", flush=True)
    how = sys.argv[1]
    if how == "listens":
        await stopping.wait()
        print("orderly", flush=True)
    elif how == "hangs":
        threading.Event().wait()
    elif how == "spins":
        while True:
            pass
    elif how == "raises":
        raise KeyError("lost")

def put_back():
    if sys.argv[2] == "hangs":
        threading.Event().wait()
    if sys.argv[2] == "raises":
        raise OSError("no nft")
    print("put back", flush=True)

resort = apart.LastResort()
resort.put_back = put_back
apart.run_apart(main, resort.begin)
resort.cancel()
for timer in resort._timers:
    timer.join()
print("after", flush=True)
"""


def life(
    how: str,
    put_back: str = "works",
    *,
    signals: int = 1,
    orderly_seconds: float = SOON,
    stop_seconds: float = NEVER,
) -> tuple[int, str, str]:
    limits = str(orderly_seconds), str(stop_seconds)
    with subprocess.Popen(
        [sys.executable, "-P", "-c", LIFE, how, put_back, *limits],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "up\n"
        for number in range(signals):
            process.send_signal((signal.SIGINT, signal.SIGTERM)[number % 2])  # as fast as they come
        said, complaints = process.communicate(timeout=50)
        return process.returncode, said, complaints


@pytest.mark.parametrize("signals", [1, 3, 50])
def test_who_listens_ends_by_itself_and_the_last_resort_with_it(signals: int) -> None:
    assert life("listens", signals=signals, orderly_seconds=NEVER) == (0, "orderly\nafter\n", "")


IMPATIENT = """
import os, signal
import trio
from appliance import apart

heard = []

def on_signal():
    heard.append(len(heard))
    if len(heard) < 3:  # in the middle of the first one, the next
        os.kill(os.getpid(), signal.SIGTERM)

async def main(stopping):
    os.kill(os.getpid(), signal.SIGINT)
    await stopping.wait()

apart.run_apart(main, on_signal)
print(heard)
"""


def test_a_signal_while_the_first_is_heard_does_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", IMPATIENT], capture_output=True, text=True, timeout=20, check=True
    )
    assert (done.stdout, done.stderr) == ("[0]\n", "")


@pytest.mark.parametrize("how", ["hangs", "spins"])
def test_who_is_deaf_is_ended_and_the_network_put_back(how: str) -> None:
    code, said, complaints = life(how)
    assert (code, said) == (1, "put back\n")
    assert complaints == (
        "sallyport: stopping took too long and was cut short; the network is put back, "
        "what was counted is kept\n"
    )


@pytest.mark.parametrize("put_back", ["hangs", "raises"])
def test_even_a_clean_up_that_cannot_end_ends(put_back: str) -> None:
    stop_seconds = 2 * SOON if put_back == "hangs" else NEVER
    code, said, complaints = life("hangs", put_back, stop_seconds=stop_seconds)
    assert (code, said) == (1, "")
    last = "sallyport: stopping took too long and was cut short; the next start repairs it"
    assert complaints.splitlines()[-1] == last


def test_there_is_time_for_the_last_resort_within_the_five_seconds_that_are_promised() -> None:
    assert apart.ORDERLY_SECONDS + 0.5 < apart.STOP_SECONDS < 4.8


def test_a_failure_comes_out_where_it_was_begun() -> None:
    code, said, complaints = life("raises", signals=0)
    assert (code, said) == (1, "")
    assert "KeyError: 'lost'" in complaints.splitlines()[-1]
