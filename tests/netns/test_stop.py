"""Every end: within five seconds, with everything put back; and the start after an end that was none."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from bench.process import wait_for
from tests.netns.scene import PROGRAM, WEB, Scene
from tests.stopwatch import Stopwatch

pytestmark = pytest.mark.netns

STOP_SECONDS = 5.0
PATIENCE_SECONDS = 30.0  # for what hangs
SIGNALS = (signal.SIGINT, signal.SIGTERM)

OTHER_RULES = """
table inet other {
    chain c {
        type filter hook forward priority 5
    }
}
"""
HALF_A_REQUEST = """
import socket, time
idle = socket.create_connection(("127.0.0.1", 8080))
half = socket.create_connection(("127.0.0.1", 8080))
half.send(b"POST /v1/sessions HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 100\\r\\n\\r\\n{")
print("sent", flush=True)
time.sleep(60)
"""

WATCH_FOR_A_GAP = (
    "while :; do if nft list ruleset | grep -q masquerade; then echo nat; else echo gap; fi; done"
)


@pytest.fixture
def scene():
    """A stage for each test: what is compared is the whole host, before and after."""
    with Scene() as stage:
        # Somebody else's rules and values, which must come through unharmed.
        stage.exit.run("nft", "-f", "-", input_text=OTHER_RULES)
        stage.exit.sysctl(f"net.ipv4.conf.{stage.egress}.rp_filter", "2")
        yield stage


def stop_in_time(process, number):
    process.send(number)
    return ended_in_time(process)


def ended_in_time(process):
    watch = Stopwatch()
    code = process.wait(PATIENCE_SECONDS)
    assert watch.seconds() < STOP_SECONDS
    return code


@pytest.mark.parametrize("number", SIGNALS)
def test_all_is_put_back(scene, number):
    client = scene.client()
    before = scene.traces()
    running = scene.up()
    client.up(running.create()["wg_config"])
    assert client.download(1_000_000) == 1_000_000
    during = scene.traces()
    assert "table inet other" in during["rules"]
    assert [name for name in before if during[name] == before[name]] == ["policy"]
    assert stop_in_time(running.process, number) == 0
    assert running.process.stdout.count("\n") == 1
    assert "Traceback" not in running.process.stderr
    assert scene.traces() == before


@pytest.mark.parametrize("number", SIGNALS)
def test_in_the_middle_of_everything(scene, number):
    """A download at full speed, a request that is never finished, an idle connection."""
    client = scene.client()
    before = scene.traces()
    running = scene.up()
    client.up(running.create()["wg_config"])
    client.host.start("curl", "-sS", "-o", "/dev/null", f"{WEB}/bytes/20000000000")
    holder = scene.exit.start(PROGRAM[0], "-c", HALF_A_REQUEST)
    wait_for(lambda: holder.stdout, "the half request is sent")
    wait_for(lambda: client.inner_bytes()[0] > 2_000_000, "the download runs")
    assert stop_in_time(running.process, number) == 0
    assert scene.traces() == before


@pytest.mark.parametrize("number", SIGNALS)
def test_as_soon_as_there_is_something_to_put_back(scene, number):
    before = scene.traces()
    words = ("up", "--state-dir", str(scene.state), "--interface", scene.interface)
    process = scene.exit.start(*PROGRAM, *words)
    wait_for(
        lambda: scene.exit.has_interface(scene.interface), "the interface", poll_seconds=0.001, seconds=20
    )
    assert stop_in_time(process, number) == 0
    assert "Traceback" not in process.stderr
    assert scene.traces() == before


def catches(process, number):
    """Whether it handles the signal by now (before, Python's own start cannot be helped)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return int(mask, 16) >> (number - 1) & 1


def test_at_every_stage_of_a_start(scene):
    before = scene.traces()
    words = ("up", "--state-dir", str(scene.state), "--interface", scene.interface)
    for delay_seconds in (0, 0.1, 0.3, 0.5, 0.7, 1.0):
        process = scene.exit.start(*PROGRAM, *words)
        wait_for(lambda process=process: catches(process, signal.SIGTERM), "its handlers", poll_seconds=0.001)
        time.sleep(delay_seconds)
        assert stop_in_time(process, signal.SIGINT) == 0, delay_seconds
        assert process.stderr.count("Traceback") == 0
        assert scene.traces() == before


def test_twice_ctrl_c_does_not_cut_the_clean_up_short(scene):
    before = scene.traces()
    running = scene.up()
    running.process.send(signal.SIGINT)
    running.process.send(signal.SIGINT)
    assert ended_in_time(running.process) == 0
    assert scene.traces() == before


def test_after_a_crash_the_next_start_takes_over_and_the_stop_puts_back_the_oldest(scene):
    client = scene.client()
    before = scene.traces()
    running = scene.up()
    made = running.create()
    client.up(made["wg_config"])
    assert client.download(100_000) == 100_000
    running.process.kill()
    crashed = scene.traces()
    assert crashed["rules"] != before["rules"]
    # NAT stays without a moment's gap: the table is replaced by the next start, in one transaction.
    watcher = scene.exit.start("sh", "-c", WATCH_FOR_A_GAP)
    wait_for(lambda: watcher.stdout, "somebody watches")
    again = scene.up()
    wait_for(lambda: watcher.stdout.count("nat") > 10, "a few more looks")
    watcher.kill()
    assert set(watcher.stdout.split()) == {"nat"}
    client.again(made["wg_config"])
    assert client.download(100_000) == 100_000
    assert scene.traces()["rules"].count("masquerade") == crashed["rules"].count("masquerade")
    assert again.public_key == running.public_key
    assert again.token == running.token
    assert again.stop() == 0
    assert scene.traces() == before


def test_a_crash_and_a_start_with_another_egress_forgets_no_old_value(scene):
    """The first egress was changed by the killed one; the next start uses another and still puts it back."""
    before = scene.traces()
    scene.up().process.kill()
    other, far = scene.lab.wire(scene.exit, scene.outside)
    scene.exit.address(other, "203.0.113.1/24")
    scene.outside.address(far, "203.0.113.2/24")
    running = scene.up("--egress", other)
    assert running.stop() == 0
    after = scene.traces()
    kept = [line for line in after["sysctls"].splitlines() if f"/{other}/" not in line]
    assert kept == before["sysctls"].splitlines()
    assert after["rules"] == before["rules"]


def test_conntrack_of_others_survives_a_restart(scene):
    running = scene.up()
    client = scene.client()
    client.up(running.create()["wg_config"])
    assert client.download(1000) == 1000
    listed = ("conntrack", "-L", "--dst", "198.51.100.2", "-p", "tcp")
    assert scene.exit.output(*listed).count("dport=80") >= 1
    running.process.kill()
    scene.up()
    assert scene.exit.output(*listed).count("dport=80") >= 1


def test_the_link_deleted_by_somebody_else_ends_it(scene):
    before = scene.traces()
    running = scene.up()
    scene.exit.run("ip", "link", "del", running.interface)
    assert ended_in_time(running.process) == 1
    last = running.process.stderr.splitlines()[-1]
    assert last.startswith("sallyport: ")
    assert running.interface in last
    assert scene.traces() == before


def test_systemd_hears_ready_and_stopping(scene):
    path = scene.lab.directory() / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bus:
        bus.bind(str(path))
        bus.settimeout(10)
        running = scene.up(env={"NOTIFY_SOCKET": str(path)})
        assert "READY=1" in bus.recv(4096).decode().splitlines()
        assert running.stop() == 0
        assert "STOPPING=1" in bus.recv(4096).decode().splitlines()


@pytest.mark.parametrize("first", [0, 1])
def test_two_exits_of_one_host_leave_it_as_the_first_found_it(scene, first):
    before = scene.traces()
    other = scene.lab.name("y")
    exits = [
        scene.up("--api", "127.0.0.1:0", "--listen-port", "0"),
        scene.up(
            *("--api", "127.0.0.1:0", "--listen-port", "0"),
            *("--interface", other, "--state-dir", str(scene.lab.directory() / "second")),
        ),
    ]
    assert exits.pop(first).stop() == 0
    assert scene.exit.output("sysctl", "-n", f"net.ipv4.conf.{scene.egress}.forwarding").strip() == "1"
    assert exits.pop().stop() == 0
    assert scene.traces() == before
