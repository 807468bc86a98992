"""Death at random moments: SIGKILL, and a fault inside C; the money survives (docs/accounting.md).

The long test dies 200 times and is for `--soak`; a short one of the same kind runs always. The dice are
seeded and the seed is printed: SALLYPORT_SOAK_SEED rolls the same dice again (though the machine's own timing
is another), SALLYPORT_SOAK_DEATHS says how often to die.
"""

from __future__ import annotations

import os
import signal
import time
from random import Random

import pytest

from tests.netns.lives import Lives
from tests.netns.scene import Scene

pytestmark = pytest.mark.netns

DEATHS = int(os.environ.get("SALLYPORT_SOAK_DEATHS", "200"))
LOOK_EVERY = 20


def survive(deaths, kinds, say, near_ticks=0.0):
    seed = int(os.environ.get("SALLYPORT_SOAK_SEED") or int.from_bytes(os.urandom(4), "little"))
    say(f"seed {seed}, {deaths} deaths")
    dice = Random(seed)
    began = time.monotonic()
    with Scene() as scene:
        lives = Lives(scene, dice, near_ticks)
        lives.begin()
        for number in range(1, deaths + 1):
            lives.die(kinds[number % len(kinds)])
            if number % LOOK_EVERY == 0 or number == deaths:
                lives.last_look()
                say(f"{number} deaths in {time.monotonic() - began:.0f} s; {lives.summary()}")
        assert lives.running.stop() == 0
    return lives


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_two_hundred_deaths(capsys):
    def say(line):
        with capsys.disabled():
            print(f"\nsoak: {line}", end="", flush=True)

    lives = survive(DEATHS, (signal.SIGKILL, signal.SIGSEGV), say, near_ticks=0.06)
    # The dice brought what this is about.
    assert any(len(accounts) > 1 for accounts in lives.tenants.values())
    assert sum(number for what, number in lives.found.items() if what.startswith("fault in _native.")) > 0


@pytest.mark.timeout(300)
def test_a_few_faults_inside_c():
    survive(5, (signal.SIGSEGV,), print)
