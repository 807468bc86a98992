"""The life of an exit: ready means everything works, endings are orderly, a failing part is not the end.

The journeys of clients are in tests/netns; here stands what only the composition decides.
"""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import pytest

from appliance.control.errors import StorageUnavailable
from appliance.errors import UserError
from appliance.main import _unexpected, _wind_up
from bench.process import LabError
from tests.netns.scene import EXIT, Scene
from tests.stopwatch import Stopwatch

if TYPE_CHECKING:
    from appliance.control.door import Control


def _network(scene: Scene) -> list[str]:
    # IPv4 only: IPv6 link-local addresses of the wires come when the kernel has probed for twins.
    return [scene.exit.output("nft", "list", "ruleset"), scene.exit.output("ip", "-4", "-o", "addr")]


def test_an_unexpected_failure_is_one_line_that_names_the_place() -> None:
    try:
        raise KeyError("lost")
    except KeyError as failure:
        error = _unexpected(failure)
    assert isinstance(error, UserError)
    assert "KeyError: 'lost' (test_main.py:" in str(error)
    assert "\n" not in str(error)


class Unsettled:
    """A door whose last settling fails."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    async def settle(self) -> None:
        raise self._failure


async def test_the_network_is_put_back_whatever_becomes_of_the_settling() -> None:
    done: list[str] = []
    await _wind_up(cast("Control", Unsettled(StorageUnavailable())), lambda: done.append("storage"))
    with pytest.raises(KeyError, match="a bug"):
        await _wind_up(cast("Control", Unsettled(KeyError("a bug"))), lambda: done.append("a bug"))
    assert done == ["storage", "a bug"]


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as scene:
        yield scene


@pytest.mark.netns
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_five_seconds_and_puts_all_back(scene: Scene, number: signal.Signals) -> None:
    before = _network(scene)
    running = scene.up("--listen-port", "0", "--api", "127.0.0.1:0")
    assert running.endpoint.startswith(f"{EXIT}:")
    assert running.process.stdout.count("\n") == 1
    running.process.send(number)
    watch = Stopwatch()
    assert running.process.wait(30) == 0, running.process.stderr
    assert watch.seconds() < 5
    assert _network(scene) == before
    assert running.process.stdout.count("\n") == 1


@pytest.mark.netns
def test_a_deleted_interface_is_said_in_one_line_and_the_rest_is_put_back(scene: Scene) -> None:
    running = scene.up()
    scene.exit.run("ip", "link", "del", running.interface)
    assert running.process.wait(30) == 1
    last = running.process.stderr.splitlines()[-1]
    assert last == f"sallyport: the interface {running.interface} was deleted by somebody else"
    assert "Traceback" not in running.process.stderr
    assert "sallyport" not in scene.exit.output("nft", "list", "ruleset")


@pytest.mark.netns
def test_the_interface_answers_wg_and_guards_its_sessions(scene: Scene) -> None:
    running = scene.up()
    created = running.create()
    shown = scene.exit.output("wg", "show", running.interface, "dump").splitlines()
    assert running.public_key in shown[0]
    key = shown[1].split("\t")[0]
    refused = scene.exit.run("wg", "set", running.interface, "peer", key, "remove", check=False)
    assert refused.returncode != 0
    assert "not permitted" in refused.stderr
    assert running.session(created["id"]).get("terminated_at") is None


@pytest.mark.netns
def test_without_a_usable_address_the_exit_runs_and_says_none(scene: Scene) -> None:
    scene.exit.run("ip", "route", "del", "default")
    running = scene.up()
    assert running.endpoint == "none"
    status, body = running.api("POST", "/v1/sessions", {"region": "local"})
    assert (status, body) == (503, {"error": "no active nodes"})
    assert json.dumps(running.api("GET", "/v1/regions")[1]) == '{"regions": []}'


@pytest.mark.netns
def test_systemd_hears_ready_and_stopping(scene: Scene) -> None:
    path = str(scene.lab.directory() / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(30)
        running = scene.up(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"})
        assert manager.recv(4096).startswith(b"READY=1\nSTATUS=")
        assert manager.recv(4096) == b"WATCHDOG=1"
        running.process.send(signal.SIGTERM)
        words = [manager.recv(4096)]
        while words[-1] == b"WATCHDOG=1":
            words.append(manager.recv(4096))
        assert words[-1] == b"STOPPING=1"
        assert running.process.wait(30) == 0


@pytest.mark.netns
def test_another_pool_does_not_end_live_sessions_by_a_slip(scene: Scene) -> None:
    running = scene.up("--pool", "10.66.1.0/24")
    created = running.create()
    running.stop()
    with pytest.raises(LabError, match="1 live sessions have addresses outside the pool"):
        scene.up("--pool", "10.66.2.0/24")
    again = scene.up()
    assert "terminated_at" not in again.session(created["id"])
