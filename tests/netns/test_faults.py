"""Every part of a real exit raises or hangs once: what is fatal, what is started again, who notices nothing.

The exit is the real program with faults around its parts (faulty.py). docs/operating.md has the table.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.core.primitives import mac, mac1_key
from bench import exit_scene
from bench.process import wait_for
from tests.crypto_ext.conftest import faulty_module
from tests.netns.scene import WEB, Scene
from tests.stopwatch import Stopwatch

pytestmark = [pytest.mark.netns, pytest.mark.timeout(300)]

STOP_SECONDS = 5.0
UNAVAILABLE = (503, {"error": "storage unavailable"})
CUT_SHORT = (
    "sallyport: stopping took too long and was cut short; the network is put back, what was counted is kept"
)


class Stage:
    """An exit whose parts fail on order, and one client that is through."""

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch
        self.scene = Scene()

    def __enter__(self):
        self.scene.__enter__()
        self._fifo = self.scene.lab.directory() / "orders"
        os.mkfifo(self._fifo)
        self.client = self.scene.client()
        self.before = self.scene.traces()
        return self

    def __exit__(self, *failure):
        self.scene.__exit__(*failure)

    def up(self, *seam, env=None):
        file = Path(__file__).with_name("faulty.py")
        with self._monkeypatch.context() as patch:
            patch.setattr(exit_scene, "PROGRAM", (sys.executable, "-P", str(file), str(self._fifo), *seam))
            self.running = self.scene.up(env=env)
        self.made = self.running.create()
        self.client.up(self.made["wg_config"])
        assert self.client.download(100_000) == 100_000
        return self.running

    def order(self, text):
        orders = os.open(self._fifo, os.O_WRONLY)
        os.write(orders, f"{text}\n".encode())
        os.close(orders)
        answer = f"fault: {text}\n"
        wait_for(lambda: answer in self.running.process.stderr, answer)

    def stream(self):
        """A download that goes on beside whatever happens."""
        self.client.keep_little_in_flight()
        stream = self.client.host.start(
            "curl", "-sS", "--limit-rate", "500K", "-o", "/dev/null", f"{WEB}/bytes/1000000000"
        )
        self.flows()
        return stream

    def flows(self, count=200_000):
        """Packets come through, now."""
        seen = self.client.inner_bytes()[0]
        wait_for(lambda: self.client.inner_bytes()[0] > seen + count, "packets for the client", seconds=15)

    def status(self):
        return json.loads(self.scene.command("status", "--json", "--state-dir", str(self.scene.state)).stdout)

    def ended(self, code):
        """The exit has ended by itself with this code, and the host is as before; its last line."""
        assert self.running.process.wait(30) == code
        assert "Traceback" not in self.running.process.stderr
        assert self.scene.traces() == self.before
        return self.running.process.stderr.splitlines()[-1]

    def stop(self):
        """The exit's code and last line after SIGTERM, in time and with everything put back."""
        watch = Stopwatch()
        code = self.running.process.stop(seconds=30)
        assert watch.seconds() < STOP_SECONDS
        assert self.scene.traces() == self.before
        return code, self.running.process.stderr.splitlines()[-1]

    def nothing_lost(self):
        """The next start goes on with the session, and bills what the client counted."""
        received, sent = self.client.inner_bytes()
        running = self.scene.up()
        shown = running.session(self.made["id"])
        assert "terminated_at" not in shown
        assert shown["bytes_in"] >= received
        assert shown["bytes_out"] <= sent
        assert running.stop() == 0


@pytest.fixture
def stage(monkeypatch):
    with Stage(monkeypatch) as stage:
        yield stage


def test_parts_that_serve_are_started_again_and_the_tunnel_goes_on(stage):
    running = stage.up()
    stream = stage.stream()
    for part in ("api", "uapi", "operator"):
        stage.order(f"{part} raise")
        wait_for(lambda part=part: f"failed={part} " in running.process.stderr, "the log names the part")
    assert 'error="Fault: on order" delay_seconds=0.5' in running.process.stderr
    stage.flows()

    def all_answer():
        asked = (
            "curl",
            "-sS",
            "--max-time",
            "5",
            "-o",
            "/dev/null",
            f"http://{running.api_address}/v1/regions",
        )
        uapi = stage.scene.exit.run("wg", "show", running.interface, check=False)
        operator = stage.scene.command("drain", "--state-dir", str(stage.scene.state), check=False)
        http = stage.scene.exit.run(*asked, check=False)
        return uapi.returncode == operator.returncode == http.returncode == 0

    wait_for(all_answer, "all three answer again", seconds=20)
    assert "terminated_at" not in running.session(stage.made["id"])
    assert [kind["count"] for kind in stage.status()["warnings"] if "started again" in kind["line"]] == [3]
    assert stream.poll() is None
    # One that does not answer keeps no other from it, and nobody from stopping.
    stage.order("api hang")
    stage.flows()
    assert stage.status()["health"]["well"] is True
    stage.order("api go")
    stage.order("uapi hang")
    stage.order("operator hang")
    assert running.create()["id"]
    assert stage.stop()[0] == 0


def test_a_failing_store_thread_is_the_end(stage):
    running = stage.up()
    stage.order("store raise")
    # A status is no change: it is answered. The next change is the end.
    assert "terminated_at" not in running.session(stage.made["id"])
    stage.scene.command("token", "create", "--state-dir", str(stage.scene.state), check=False)
    line = stage.ended(1)
    assert line == f"sallyport: the database in {stage.scene.state} cannot be used: its thread failed: Fault"
    stage.nothing_lost()


def test_a_store_that_hangs_refuses_in_time_and_its_queue_is_bounded(stage):
    running = stage.up()
    stream = stage.stream()
    stage.order("queue 4")
    stage.order("store hang")
    began = time.monotonic()
    with ThreadPoolExecutor(12) as clients:
        asked = [clients.submit(running.api, "POST", "/v1/sessions", {"region": "local"}) for _ in range(12)]
        assert [one.result() for one in asked] == [UNAVAILABLE] * 12
    assert time.monotonic() - began < 14  # each had 5 s; the rest is curl's
    assert "the database does not answer" in running.process.stderr
    assert "too many changes wait for the database" in running.process.stderr
    headers = running.scene.exit.output(
        "curl", "-sS", "-i", "-X", "POST", "-d", '{"region":"local"}',
        "-H", f"Authorization: Bearer {running.token}", f"http://{running.api_address}/v1/sessions",
    )  # fmt: skip
    assert "retry-after: 5" in headers.lower()
    # Who is in lives on and is counted; who asks is told.
    stage.flows()
    assert "terminated_at" not in running.session(stage.made["id"])
    health = {"well": False, "pump": "ok", "database": "failed (StorageUnavailable)"}
    assert stage.status()["health"] == health
    # Back again: nothing is left of those who were refused, and nothing is lost.
    stage.order("store go")
    made = wait_for(lambda: _created(running), "a session", seconds=15)
    wait_for(lambda: stage.status()["sessions"]["live"] == 2, "the refused ones are gone", seconds=15)
    assert "the database answers again" in running.process.stderr
    running.end(made["id"])
    # And once more, to the end.
    stage.order("store hang")
    assert running.api("POST", "/v1/sessions", {"region": "local"}) == UNAVAILABLE
    assert stream.poll() is None
    code, _ = stage.stop()
    assert code == 0
    assert "the ledger did not take the last counts" in running.process.stderr
    stage.nothing_lost()


def _created(running):
    status, body = running.api("POST", "/v1/sessions", {"region": "local"})
    return body if status == 200 else None


def test_a_failing_device_is_the_end(stage):
    stage.up()
    stage.order("device raise")
    assert stage.ended(1).startswith("sallyport: stopped by an unexpected failure: Fault: on order (")
    stage.nothing_lost()


def test_a_failing_pump_is_the_end(stage):
    faulty_module()
    stage.up("--c")
    stage.order("pump POLL ENOMEM")
    stage.client.pings("198.51.100.2")  # wakes it
    line = stage.ended(1)
    assert line == (
        "sallyport: the packet pump failed: Cannot allocate memory; what was counted is kept, start it again"
    )
    stage.nothing_lost()


class Manager:
    """What systemd hears."""

    def __init__(self, lab):
        path = str(lab.directory() / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        lab.on_close(self._socket.close)
        self._socket.bind(path)
        self.env = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"}

    def is_fed(self, seconds=20):
        """Whether the watchdog is fed in that time, from now on."""
        self._forget()
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                if self._socket.recv(4096) == b"WATCHDOG=1":
                    return True
            except TimeoutError:
                break
        return False

    def _forget(self):
        """Whatever was said before."""
        self._socket.settimeout(0)
        try:
            while True:
                self._socket.recv(4096)
        except BlockingIOError:
            pass


def test_a_hanging_pump_is_noticed_and_said(stage):
    faulty_module()
    manager = Manager(stage.scene.lab)
    running = stage.up("--c", env=manager.env)
    assert manager.is_fed()
    stage.order("pump POLL hang")
    wait_for(lambda: "the packet pump does not answer" in running.process.stderr, "the log", seconds=15)
    assert not manager.is_fed(3)
    assert stage.status()["health"] == {"well": False, "pump": "no answer", "database": "ok"}
    assert running.process.stderr.count("the packet pump does not answer") == 1
    stage.order("pump POLL go")
    wait_for(lambda: "the packet pump answers again" in running.process.stderr, "the log", seconds=15)
    assert manager.is_fed()
    assert stage.client.download(100_000) == 100_000
    stage.order("pump POLL hang")
    stage.client.pings("198.51.100.2")
    assert stage.stop() == (1, CUT_SHORT)
    stage.nothing_lost()


@pytest.mark.parametrize("order", ["trio hang", pytest.param("pump RECVMMSG hang", marks=pytest.mark.soak)])
def test_what_holds_up_everything_is_not_fed_and_still_ends(stage, order):
    """The pump hangs in the middle of a burst, and whoever asks it hangs, too; or all of Python does."""
    faulty_module()
    manager = Manager(stage.scene.lab)
    running = stage.up("--c", env=manager.env)
    stream = stage.stream()
    stage.order(order)
    if order == "trio hang":
        stage.flows()  # no Python is needed for a packet
        assert stream.poll() is None
    else:
        stage.scene.exit.run("timeout", "1", "wg", "show", running.interface, check=False)
    manager.is_fed(1.5)  # a ping that was under way, perhaps
    assert not manager.is_fed(2.5)
    assert stage.stop() == (1, CUT_SHORT)
    stage.nothing_lost()


FLOOD = """
import os, socket, sys
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
messages = [bytes.fromhex(line) for line in sys.stdin.read().split()]
for message in messages:
    out.sendto(message, (sys.argv[1], int(sys.argv[2])))
"""


def test_a_full_ring_drops_handshakes_and_no_data(stage):
    running = stage.up()
    stream = stage.stream()
    stage.order("device hang")
    host, _, port = running.endpoint.rpartition(":")
    key = mac1_key(base64.b64decode(running.public_key))
    messages = []
    for _ in range(600):
        unsigned = b"\x01\0\0\0" + os.urandom(112)
        messages.append((unsigned + mac(key, unsigned) + bytes(16)).hex())
    stage.scene.outside.run(sys.executable, "-c", FLOOD, host, port, input_text="\n".join(messages))
    stage.flows()
    # What the ring has no place for is dropped and counted: 256 wait, the others are gone.
    assert stage.status()["drops"]["ring_full"] == 600 - 256
    stage.order("device go")
    assert stream.poll() is None
    stage.client.again(stage.made["wg_config"])
    assert stage.client.download(100_000) == 100_000
    assert stage.stop()[0] == 0


STUCK = """
import socket, sys, time
held = []
def hold(address, family, sent, number, small=False):
    for _ in range(number):
        one = socket.socket(family, socket.SOCK_STREAM)
        if small:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        one.settimeout(3)
        try:
            one.connect(address)
            one.sendall(sent)
        except OSError:
            pass
        held.append(one)
host, port = sys.argv[1].split(":")
api = (host, int(port))
hold(api, socket.AF_INET, b"POST /v1/sessions HTTP/1.1\\r\\nHost: x\\r\\nX-Slow: ", 40)
hold(api, socket.AF_INET, b"POST /v1/sessions HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 9\\r\\n\\r\\n{", 40)
hold(api, socket.AF_INET, b"GET /openapi.json HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" * 300, 20, small=True)
hold(sys.argv[2], socket.AF_UNIX, b"set=1\\nprivate_", 60)
hold(sys.argv[2], socket.AF_UNIX, b"get=1\\n\\n" * 2000, 60)
hold(sys.argv[3], socket.AF_UNIX, b'{"verb":', 20)
print("stuck", flush=True)
time.sleep(100)
"""


def test_clients_that_are_stuck_block_nobody(stage):
    running = stage.up()
    stream = stage.stream()
    uapi = f"/var/run/wireguard/{running.interface}.sock"
    sockets = (running.api_address, uapi, str(stage.scene.state / "operator.sock"))
    stuck = stage.scene.exit.start(sys.executable, "-c", STUCK, *sockets)
    wait_for(lambda: stuck.stdout, "the clients are stuck", seconds=40)
    for _ in range(3):
        assert "terminated_at" in running.end(running.create()["id"])
        assert stage.scene.exit.output("timeout", "5", "wg", "show", running.interface, "peers")
        assert stage.status()["health"]["well"] is True
    stage.flows()
    assert stream.poll() is None
    assert stage.stop()[0] == 0
