"""An idle exit sleeps: nothing in it wakes up, with sessions that are silent and an API that nobody asks."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench.process import wait_for
from tests.netns.scene import Scene

pytestmark = [pytest.mark.netns, pytest.mark.timeout(300)]


def switches(pid: int) -> dict[str, int]:
    """How often each thread went to sleep of its own will."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        (line,) = [
            line
            for line in (task / "status").read_text().splitlines()
            if line.startswith("voluntary_ctxt_switches:")
        ]
        found[f"{task.name} {(task / 'comm').read_text().strip()}"] = int(line.split()[1])
    return found


def settled(pid: int) -> None:
    """What the start set going has come to rest: counted bytes are settled after ten seconds, a keepalive
    answers after ten, and Trio's spare threads leave after ten."""
    seen = [switches(pid)]

    def rests() -> bool:
        time.sleep(12)
        seen.append(switches(pid))
        return seen[-1] == seen[-2]

    wait_for(rests, "the exit comes to rest", seconds=80)


@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=pytest.mark.soak)])
def test_an_idle_exit_never_wakes_up(seconds: int) -> None:
    with Scene() as scene:
        running = scene.up()
        client = scene.client()
        # Its kernel would ask the tunnel for IPv6 routers, now and then for an hour: that is traffic.
        client.host.sysctl("net.ipv6.conf.default.router_solicitations", "0")
        made = running.create()
        # One session that nobody came to, one whose client is silent (a keepalive would be traffic).
        running.create()
        config = made["wg_config"].splitlines()
        client.up("\n".join(line for line in config if not line.startswith("PersistentKeepalive")) + "\n")
        client.host.output("wg", "show", client.interface)
        pid = running.process.pid
        settled(pid)
        before = switches(pid)
        time.sleep(seconds)
        assert switches(pid) == before
        # It only slept: whoever asks now is answered.
        assert "terminated_at" not in running.session(made["id"])
        assert running.stop() == 0
