"""The operator's commands against a real exit while a client downloads through it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.store.backup import verify
from bench.process import wait_for
from tests.netns.scene import EXIT, WEB, Exit, Scene

pytestmark = pytest.mark.netns


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as scene:
        yield scene


def asked(scene: Scene, *words: str) -> Any:
    return json.loads(scene.command(*words, "--json", "--state-dir", str(scene.state)).stdout)


def test_status_peers_drain_backup_and_restore(scene: Scene) -> None:
    running = scene.up("--listen-port", "0", "--api", "127.0.0.1:0")
    client = scene.client()
    made = running.create()
    client.up(made["wg_config"])
    assert client.download(1000) == 1000

    with_traffic(scene, client)
    the_peers(scene, made["id"])
    file = scene.lab.directory() / "x.backup"
    told = asked(scene, "backup", str(file))
    assert set(told["contains"]) == {"sallyport.db", "private.key", "pool", "operator.token"}
    verify(file)
    refused = scene.command("restore", str(file), "--state-dir", str(scene.state), check=False)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (4, "", 1)

    assert asked(scene, "drain", "on") == {"draining": True, "sessions": 1}
    drains(running)
    running.process.send(signal.SIGKILL)
    running.process.wait(5)
    running = scene.up("--listen-port", running.endpoint.split(":")[1], "--api", "127.0.0.1:0")
    drains(running)
    assert asked(scene, "status")["draining"] is True
    assert client.download(100_000, seconds=30) == 100_000
    assert asked(scene, "drain", "off") == {"draining": False, "sessions": 1}
    assert running.api("GET", "/v1/regions")[0] == 200
    second = running.create()
    port = running.endpoint.split(":")[1]
    assert running.stop() == 0

    assert asked(scene, "restore", str(file))["live_sessions"] == 1
    running = scene.up("--listen-port", port, "--api", "127.0.0.1:0")
    assert [row["id"] for row in asked(scene, "sessions", "list")] == [made["id"]]
    assert asked(scene, "sessions", "show", made["id"])["terminated_at"] is None
    assert running.api("GET", f"/v1/sessions/{second['id']}")[0] == 404
    assert client.download(100_000, seconds=30) == 100_000
    assert running.stop() == 0


def with_traffic(scene: Scene, client: Any) -> None:
    download = client.host.start("curl", "-sS", "-o", "/dev/null", f"{WEB}/bytes/{1 << 34}")

    def flows() -> bool:
        rates = asked(scene, "status")["rates"]
        speeds = (rates["to_clients_bytes_per_second"], 1000 * rates["to_clients_packets_per_second"])
        return bool(min(speeds) > 1_000_000)

    wait_for(flows, "the rates show the download", seconds=20)
    told = asked(scene, "status")
    assert told["health"] == {"well": True, "pump": "ok", "database": "ok"}
    assert told["sessions"]["live"] == 1
    assert told["endpoint"].startswith(EXIT)
    assert "192.0.2." not in json.dumps(told)  # where clients come from
    download.stop()


def the_peers(scene: Scene, session: str) -> None:
    (peer,) = asked(scene, "peers")
    assert (peer["session"], peer["has_endpoint"]) == (session, True)
    assert 0 <= peer["handshake_age_seconds"] < 60
    assert peer["sent_bytes"] > 1_000_000
    words = ("peers", "--state-dir", str(scene.state))
    assert "192.0.2." not in json.dumps(peer) + scene.command(*words).stdout


def drains(running: Exit) -> None:
    assert running.api("POST", "/v1/sessions", {"region": "local"}) == (503, {"error": "no active nodes"})
    status, regions = running.api("GET", "/v1/regions")
    assert status == 200
    assert "local" not in json.dumps(regions)
