"""Sessions made and ended in a loop leave nothing: memory, descriptors, rules, leases, slots, peers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from appliance.slots import default_path
from bench import books
from bench.process import wait_for
from tests.netns.scene import Exit, Scene

pytestmark = [pytest.mark.netns, pytest.mark.timeout(600)]

MEMORY_BYTES = 2 * 1024 * 1024
# Every address of the pool is used more than once in a warm-up: something is kept for each.
POOL = "10.66.0.0/26"
WARM_UP = 70

# On one connection and on many; with keys of ours, of the client's, and repeated.
LOOP = """
import base64, http.client, json, os, sys
where, token, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
link = http.client.HTTPConnection(where, timeout=20)
def ask(method, path, body=None):
    link.request(method, path, body, {"Authorization": "Bearer " + token})
    answer = link.getresponse()
    content = json.loads(answer.read())
    assert answer.status == 200, (answer.status, content)
    return content
known = base64.b64encode(os.urandom(32)).decode()
for number in range(rounds):
    fields = [{}, {"client_public_key": base64.b64encode(os.urandom(32)).decode()},
              {"client_public_key": known}][number % 3]
    body = json.dumps({"region": "local", **fields})
    made = ask("POST", "/v1/sessions", body)
    if number % 6 == 2:
        made = ask("POST", "/v1/sessions", body)  # supersedes the one before
    ask("GET", "/v1/sessions/" + made["id"])
    ask("DELETE", "/v1/sessions/" + made["id"])
    if number % 10 == 0:
        link.close()
"""


def loop(running: Exit, rounds: int) -> None:
    words = (running.api_address, running.token, str(rounds))
    running.scene.exit.run(sys.executable, "-c", LOOP, *words, seconds=400)
    # The last connection is closed by whoever asked; the exit does so when it has seen that.
    connections = ("ss", "-Htn", "state", "established", "state", "close-wait")
    wait_for(lambda: not running.scene.exit.output(*connections).strip(), "no connection is left")


def memory_bytes(running: Exit) -> int:
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def held(running: Exit) -> dict[str, object]:
    """Everything that a session takes, as it stands now."""
    scene, process = running.scene, Path(f"/proc/{running.process.pid}")
    return {
        "descriptors": sorted(str(link.readlink()).split(":")[0] for link in (process / "fd").iterdir()),
        "leases": books.ledger(scene.database).leases,
        "slots": books.counters(default_path(scene.state)),
        "peers": scene.exit.output("wg", "show", running.interface, "peers"),
        "tracked": scene.exit.output("sh", "-c", "conntrack -L 2>/dev/null | grep -c 10.66.0. || :"),
        **scene.traces(),
    }


@pytest.mark.parametrize("rounds", [50, pytest.param(1000, marks=pytest.mark.soak)])
def test_sessions_in_a_loop_leave_nothing(rounds: int) -> None:
    with Scene() as scene:
        running = scene.up("--pool", POOL)
        loop(running, WARM_UP)
        before, memory_before = held(running), memory_bytes(running)
        loop(running, rounds)
        assert held(running) == before
        assert memory_bytes(running) - memory_before <= MEMORY_BYTES
        assert running.stop() == 0
