"""A restart without drama: whoever speaks first, traffic is back at once; no session is lost.

WireGuard alone would leave a client mute for 15 s (that is how long it waits for an answer before it tries a
new handshake), so the two seconds asked for below tell apart an exit that knows its clients from one that
does not; they do not measure the machine.
"""

from __future__ import annotations

import sys
import time
from ipaddress import ip_address

import pytest

from appliance.slots import SlotFile
from bench.process import wait_for
from tests.netns.scene import OUTSIDE, Client, Exit, Scene
from tests.stopwatch import Stopwatch

pytestmark = pytest.mark.netns

BACK_SECONDS = 2.0
# Else a client's kernel asks the tunnel for IPv6 routers when it likes, and the client is not silent.
OPTIONS = ("--ipv6", "off")
WORD_SEEN_NS = 16  # enum sp_slot_word
PORT = 7007
# A connection of the client's on which only the outside sends, its second byte once a file is there.
SERVER = f"""
import os, socket, sys, time
connection, _ = socket.create_server(("0.0.0.0", {PORT})).accept()
connection.sendall(b"1")
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
connection.sendall(b"2")
time.sleep(60)
"""
READER = f"""
import socket
connection = socket.create_connection(("{OUTSIDE}", {PORT}))
print(connection.recv(1), flush=True)
print(connection.recv(1), flush=True)
"""


def connected(scene: Scene) -> tuple[Exit, Client, str]:
    running, client = scene.up(*OPTIONS), scene.client()
    made = running.create()
    client.up(made["wg_config"])
    wait_for(lambda: client.pings(OUTSIDE), "the first ping")
    return running, client, made["id"]


def age_slots(scene: Scene) -> None:
    """Every client was heard last when the machine booted."""
    slots = SlotFile.open(scene.counter_file, 0)
    for slot in slots.bound():
        slot.words[WORD_SEEN_NS] = 1
    slots.close()


def back_after(client: Client) -> float:
    """Seconds until a packet of the client's comes back."""
    watch = Stopwatch()
    client.host.run("ping", "-n", "-c", "1", "-w", "20", "-i", "0.2", OUTSIDE, seconds=30)
    return watch.seconds()


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_client_that_goes_on_sending_is_answered_at_once(scene: Scene, end: str) -> None:
    running, client, session = connected(scene)
    running.process.kill() if end == "kill" else running.stop()
    again = scene.up(*OPTIONS)
    assert back_after(client) < BACK_SECONDS
    assert "terminated_at" not in again.session(session)
    again.stop()


def test_a_client_that_was_silent_for_long_is_known_by_where_it_sends_from(scene: Scene) -> None:
    running, client, _ = connected(scene)
    # With the keepalive it would speak by itself.
    client.host.run("wg", "set", client.interface, "peer", running.public_key, "persistent-keepalive", "0")
    handshakes = ("wg", "show", running.interface, "latest-handshakes")
    before = scene.exit.output(*handshakes)
    running.process.kill()
    age_slots(scene)
    again = scene.up(*OPTIONS)
    time.sleep(1.1)  # the stamps have whole seconds
    assert scene.exit.output(*handshakes) == before, "nobody was asked yet"
    assert back_after(client) < BACK_SECONDS
    again.stop()


def test_the_outside_may_speak_first(scene: Scene) -> None:
    running, client, _ = connected(scene)
    client.host.run("wg", "set", client.interface, "peer", running.public_key, "persistent-keepalive", "0")
    go = scene.lab.directory() / "go"
    server = scene.outside.start(sys.executable, "-c", SERVER, str(go))
    wait_for(lambda: scene.outside.listens(PORT), "the server listens")
    reader = client.host.start(sys.executable, "-c", READER)
    wait_for(lambda: "b'1'" in reader.stdout, "the first byte")
    running.process.kill()
    age_slots(scene)
    again = scene.up(*OPTIONS)
    go.touch()
    watch = Stopwatch()
    wait_for(lambda: "b'2'" in reader.stdout, "the second byte", seconds=20)
    assert watch.seconds() < BACK_SECONDS, server.stderr
    again.stop()


def test_where_a_client_comes_from_is_in_its_slot_and_nowhere_else() -> None:
    """Not in the database, nor in any other file that is kept, nor in the log, whatever its level."""
    with Scene() as scene:
        settings = scene.lab.directory() / "settings.toml"
        settings.write_text('log_level = "debug"\n')
        running, client = scene.up("--config", str(settings)), scene.client()
        made = running.create()
        client.up(made["wg_config"])
        wait_for(lambda: client.pings(OUTSIDE), "the first ping")
        endpoint = scene.exit.output("wg", "show", running.interface, "endpoints").split()[-1]
        address = ip_address(endpoint.rpartition(":")[0])

        def knows(content: bytes) -> bool:
            return str(address).encode() in content or address.packed in content

        assert knows(scene.counter_file.read_bytes()), "the search finds what is there"
        running.process.kill()
        again = scene.up("--config", str(settings))
        assert back_after(client) < BACK_SECONDS
        scene.command("backup", str(scene.state / "backup"), "--state-dir", str(scene.state))
        scene.command("status", "--state-dir", str(scene.state))
        again.end(made["id"])
        assert not knows(scene.counter_file.read_bytes()), "wiped with its session"
        assert again.stop() == 0
        files = [file for file in scene.state.rglob("*") if file.is_file()]
        assert {"backup", scene.database.name} <= {file.name for file in files}
        assert [file for file in files if knows(file.read_bytes())] == []
        for words in (running.process.stderr, again.process.stderr):
            assert "session" in words
            assert str(address) not in words
