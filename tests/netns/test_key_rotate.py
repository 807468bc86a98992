"""`key rotate` under clients: who knows the old key notices nothing, newcomers get the new one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.process import LabError, Process, wait_for
from tests.netns.scene import OUTSIDE, WEB, Client, Exit, Scene

pytestmark = pytest.mark.netns

PLENTY_BYTES = 10**12
RATE = "4M"  # leaves the machine to others


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as stage:
        yield stage


def public_key_in(config: str) -> str:
    (line,) = [line for line in config.splitlines() if line.startswith("PublicKey")]
    return line.removeprefix("PublicKey = ")


def rotate(scene: Scene) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(key_rotate(scene, "--json").stdout)
    return told


def key_rotate(scene: Scene, *options: str, check: bool = True) -> Any:
    return scene.command("key", "rotate", *options, "--state-dir", str(scene.state), check=check)


def status(scene: Scene) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(
        scene.command("status", "--json", "--state-dir", str(scene.state)).stdout
    )
    return told


def shown_key(running: Exit) -> str:
    return running.scene.exit.output("wg", "show", running.interface, "public-key").strip()


def last_handshake(client: Client) -> int:
    """In whole seconds since 1970, as the client has it; 0 when there was none."""
    return int(client.host.output("wg", "show", client.interface, "latest-handshakes").split()[1])


def old_key_file(scene: Scene) -> Path:
    return scene.state / "private.key.old"


def reaches_out(client: Client) -> bool:
    wait_for(lambda: client.pings(OUTSIDE), "a ping")
    return True


def shakes_hands(client: Client, after: int = 0) -> bool:
    wait_for(lambda: last_handshake(client) > after, "a handshake", seconds=20)
    return True


def goes_on(client: Client, download: Process) -> bool:
    """Whether more of the download comes, on the connection that it began with."""
    before = client.inner_bytes()[0]
    wait_for(lambda: client.inner_bytes()[0] > before + 1_000_000, "more of the download", seconds=20)
    return download.poll() is None


def test_old_clients_go_on_new_ones_get_the_new_key_and_the_old_key_ends_with_the_last(scene: Scene) -> None:
    running, a = scene.up(), scene.client()
    made_a = running.create()
    first = running.public_key
    assert public_key_in(made_a["wg_config"]) == first == shown_key(running)
    a.up(made_a["wg_config"])
    reaches_out(a)

    # A download that lasts over the rotation, a SIGKILL and the next start.
    a.keep_little_in_flight()
    download = a.host.start(
        "curl", "-sS", "--limit-rate", RATE, "-o", "/dev/null", f"{WEB}/bytes/{PLENTY_BYTES}"
    )
    assert goes_on(a, download)
    told = rotate(scene)
    second = told["public_key"]
    assert second != first
    assert told["old_key"] | {"until": ""} == {
        "public_key": first,
        "sessions": 1,
        "static_peers": 0,
        "until": "",
    }
    assert shown_key(running) == second
    assert goes_on(a, download)
    assert [row["old_key"] for row in json.loads(sessions_list(scene))] == [True]
    for name in ("private.key", "private.key.old"):
        assert (scene.state / name).stat().st_mode & 0o777 == 0o600

    refused = key_rotate(scene, check=False)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert "the key before this one is still in use by 1 session (the last session ends by " in refused.stderr

    b, made_b = scene.client(), running.create()
    assert public_key_in(made_b["wg_config"]) == second
    b.up(made_b["wg_config"])
    assert reaches_out(b)

    assert goes_on(a, download)
    running.process.kill()
    running = scene.up()
    assert running.public_key == second == shown_key(running)
    assert goes_on(a, download), download.stderr
    download.kill()
    assert reaches_out(b)

    # The exit speaks first: both are silent, and only a handshake that it asks for can come about.
    for client, key in ((a, first), (b, second)):
        client.host.run("wg", "set", client.interface, "peer", key, "persistent-keepalive", "0")
    before = {client: last_handshake(client) for client in (a, b)}
    running.process.kill()
    running = scene.up()
    for client in (a, b):
        assert shakes_hands(client, after=before[client])
        assert reaches_out(client)

    # The client speaks first, with nothing known of the tunnel before.
    a.again(made_a["wg_config"])
    assert reaches_out(a)
    told = status(scene)
    assert told["public_key"] == second
    assert (told["old_key"]["public_key"], told["old_key"]["sessions"]) == (first, 1)

    running.end(made_a["id"])
    wait_for(lambda: not old_key_file(scene).exists(), "the old key is erased")
    told = status(scene)
    assert told["old_key"] is None
    before_mac1 = told["drops"].get("mac1", 0)
    a.again(made_a["wg_config"])
    assert not a.pings(OUTSIDE)
    wait_for(lambda: status(scene)["drops"].get("mac1", 0) > before_mac1, "its initiation is dropped")
    assert last_handshake(a) == 0
    assert reaches_out(b)
    assert old_keys_on_disk(scene, first) == []
    assert running.stop() == 0


def old_keys_on_disk(scene: Scene, public_key: str) -> list[str]:
    """Files that hold the private half of a key."""
    found = []
    for file in scene.state.glob("*private.key*"):
        half = scene.exit.run("sh", "-c", f"wg pubkey <{file}").stdout.strip()
        found += [file.name] if half == public_key else []
    return found


def sessions_list(scene: Scene) -> str:
    return scene.command("sessions", "list", "--json", "--state-dir", str(scene.state)).stdout


def test_while_no_exit_runs_and_over_a_restore(scene: Scene) -> None:
    running, client = scene.up(), scene.client()
    made = running.create()
    client.up(made["wg_config"])
    assert reaches_out(client)
    first = running.public_key
    assert running.stop() == 0
    second = rotate(scene)["public_key"]
    where = ("--state-dir", str(scene.state))
    backup = str(scene.state.parent / "exit.backup")
    told = json.loads(scene.command("backup", backup, "--json", *where).stdout)
    assert {"private.key", "private.key.old"} < set(told["contains"])

    # A session whose key is nowhere would be lost: not by a slip.
    kept = old_key_file(scene).read_text()
    old_key_file(scene).unlink()
    with pytest.raises(LabError, match="1 live sessions know another key of this exit"):
        scene.up()
    old_key_file(scene).write_text(kept)

    # The last one that knows the old key ends while the exit is down.
    scene.command("sessions", "end", made["id"], *where)
    assert not old_key_file(scene).exists()

    scene.command("restore", backup, *where)
    running = scene.up()
    assert running.public_key == second != first
    assert status(scene)["old_key"]["public_key"] == first
    client.again(made["wg_config"])
    assert reaches_out(client)
    assert running.stop() == 0


def test_a_static_peer_keeps_the_old_key_until_it_uses_the_new_one_or_is_removed(scene: Scene) -> None:
    running = scene.up()
    first = running.public_key
    one, two = _Static(running, "10.77.0.1"), _Static(running, "10.77.0.2")
    second = rotate(scene)["public_key"]
    assert status(scene)["old_key"]["static_peers"] == 2
    for peer in (one, two):
        peer.client.up(peer.config(first))
        assert shakes_hands(peer.client)
    assert "still in use by 2 static peers: " in key_rotate(scene, check=False).stderr
    one.client.again(one.config(second))
    assert shakes_hands(one.client)
    wait_for(lambda: status(scene)["old_key"]["static_peers"] == 1, "one of them has left the old key")
    scene.exit.run("wg", "set", running.interface, "peer", two.public_key, "remove")
    wait_for(lambda: not old_key_file(scene).exists(), "the old key is erased")
    one.client.again(one.config(second))
    assert shakes_hands(one.client)
    assert running.stop() == 0


class _Static:
    """A peer that the operator added with `wg`, and whose configuration somebody wrote by hand."""

    def __init__(self, running: Exit, address: str) -> None:
        host = running.scene.exit
        self.client = running.scene.client()
        self._private_key = host.output("wg", "genkey").strip()
        self.public_key = host.output("sh", "-c", f"echo {self._private_key} | wg pubkey").strip()
        self._address, self._endpoint = address, running.endpoint
        host.run("wg", "set", running.interface, "peer", self.public_key, "allowed-ips", f"{address}/32")

    def config(self, exit_key: str) -> str:
        return (
            f"[Interface]\nPrivateKey = {self._private_key}\nAddress = {self._address}/24\n"
            f"[Peer]\nPublicKey = {exit_key}\nAllowedIPs = 0.0.0.0/0\nEndpoint = {self._endpoint}\n"
            "PersistentKeepalive = 1\n"
        )
