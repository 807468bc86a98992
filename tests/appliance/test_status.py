"""What a running exit tells of itself: with a real device whose TUN is a socket pair, and parts that hang."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
import trio

from appliance import status
from appliance.control.views import Keys, OldKey
from appliance.device.sessions import SessionPeers
from appliance.errors import UserError
from appliance.log import event
from appliance.status import Inside, RecentWarnings
from tests.appliance.device.pair import Side, running_side, udp_packet
from tests.appliance.device.test_sessions import empty_slot

LOG = logging.getLogger("sallyport.test")
WORDS = {"interface": "sally0", "endpoint": "192.0.2.1:1", "public_key": "K=", "api": "http://127.0.0.1:1"}


class _Row:
    def __init__(self, public_key: bytes) -> None:
        self.id = "tb_a"
        self.public_key = base64.b64encode(public_key).decode()


class _Control:
    def __init__(self) -> None:
        self.draining = False
        self.rows: list[_Row] = []
        self.old: OldKey | None = None
        self.failure: Exception | None = None
        self.gate: trio.Event | None = None

    async def list_sessions(self) -> list[_Row]:
        return self.rows

    async def keys(self) -> Keys:
        return Keys("K=", self.old)

    async def check_storage(self) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure


@asynccontextmanager
async def asked(
    side: Side, control: Any, refused: Callable[[], dict[str, int]] | None = None
) -> AsyncIterator[Inside]:
    async with trio.open_nursery() as nursery:
        pool = IPv4Network("10.9.0.0/24")
        yield Inside(
            control,
            side.device,
            RecentWarnings(),
            pool,
            WORDS,
            nursery,
            ipv6="translated",
            refused=refused or (lambda: {"host": 0, "too_many_flows": 7}),
        )
        nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second between the readings; and all patience with parts that are well, if a little late."""
    monkeypatch.setattr(status, "READINGS_APART_SECONDS", 0.2)
    monkeypatch.setattr(status, "PATIENCE_SECONDS", 30.0)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch, soon: None) -> None:
    """Little patience, where a part hangs. It is asked in a moment, so no less than this."""
    monkeypatch.setattr(status, "PATIENCE_SECONDS", 0.5)


def between_readings(
    monkeypatch: pytest.MonkeyPatch, inside: Inside, do: Callable[[], Awaitable[None]]
) -> None:
    """Have this done after the first reading of the counters and before the second."""
    read = inside._read
    before: list[object] = []

    async def reading() -> Any:
        if before:
            await do()
        before.append(None)
        return await read()

    monkeypatch.setattr(inside, "_read", reading)


async def test_an_idle_exit() -> None:
    async with running_side("10.9.0.1") as side, asked(side, _Control()) as inside:
        told = await inside.status()
    assert {name: told[name] for name in WORDS} == WORDS
    assert told["health"] == {"well": True, "pump": "ok", "database": "ok"}
    assert told["sessions"] == {"live": 0, "addresses_free": 253, "static_peers": 0}
    assert told["draining"] is False
    assert (told["ipv6"], told["refused"]) == ("translated", {"too_many_flows": 7})
    assert (told["drops"], told["warnings"], told["uptime_seconds"]) == ({}, [], 0)
    rates = told["rates"]
    assert 0.2 <= rates.pop("over_seconds") < 30
    assert set(rates.values()) == {0}


@pytest.mark.usefixtures("hasty")
async def test_rules_that_cannot_be_read() -> None:
    def fail() -> dict[str, int]:
        raise UserError("nft failed: busy")

    hung = threading.Event()

    def hang() -> dict[str, int]:
        hung.wait(10)
        return {}

    async with running_side("10.9.0.1") as side:
        for refused in (fail, hang):
            async with asked(side, _Control(), refused) as inside:
                told = await inside.status()
                assert told["refused"] is None
                assert told["health"]["well"] is True
    hung.set()


async def test_traffic_peers_and_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    control = _Control()
    async with (
        running_side("10.9.0.1") as side,
        running_side("10.9.0.2") as client,
        asked(side, control) as told,
    ):
        key = client.identity.public_key
        static = side.device.peers.add(bytes(range(32)))
        side.device.peers.allow(static, IPv4Network("10.9.9.9/32"))
        await SessionPeers(side.device).add_session(key, IPv4Address("10.9.0.2"), empty_slot())
        control.rows = [_Row(key)]
        client.connect(side, with_endpoint=True)
        before, theirs = await told.peers()
        assert before == {
            "public_key": base64.b64encode(bytes(range(32))).decode(),
            "session": None,
            "has_endpoint": False,
            "last_handshake": None,
            "handshake_age_seconds": None,
            "received_bytes": 0,
            "sent_bytes": 0,
            "allowed_ips": ["10.9.9.9/32"],
        }
        assert (theirs["session"], theirs["has_endpoint"], theirs["last_handshake"]) == ("tb_a", False, None)

        async def traffic() -> None:
            await client.send(udp_packet("10.9.0.2", "10.9.0.1", b"up" * 500))
            await side.receive()
            await side.send(udp_packet("10.9.0.1", "10.9.0.2", b"down"))
            await client.receive()
            await side.send(udp_packet("10.9.0.1", "10.77.0.1", b"to nobody"))
            await side.dropped("no_peer")

        between_readings(monkeypatch, told, traffic)
        shown = await told.status()
        rates = shown["rates"]
        assert rates["from_clients_bytes_per_second"] > rates["to_clients_bytes_per_second"] > 0
        assert rates["from_clients_packets_per_second"] > 0
        assert rates["to_clients_packets_per_second"] > 0
        assert shown["drops"] == {"no_peer": 1}
        assert shown["sessions"] == {"live": 1, "addresses_free": 252, "static_peers": 1}

        _, theirs = await told.peers()
        assert theirs["received_bytes"] > theirs["sent_bytes"] > 0
        assert theirs["has_endpoint"] is True
        assert 0 <= theirs["handshake_age_seconds"] < 60
        assert theirs["last_handshake"].endswith("Z")
        told_words = repr(theirs) + repr(shown)
        assert "127.0.0.1:" + str(client.device.listen_port) not in told_words
        assert str(client.device.listen_port) not in told_words


async def test_a_peer_that_leaves_between_the_readings_is_no_negative_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        running_side("10.9.0.1") as side,
        running_side("10.9.0.2") as client,
        asked(side, _Control()) as inside,
    ):
        record = side.connect(client, with_endpoint=False)
        client.connect(side, with_endpoint=True)
        await client.send(udp_packet("10.9.0.2", "10.9.0.1", b"up"))
        await side.receive()

        async def leave() -> None:
            side.device.peers.remove(record)

        between_readings(monkeypatch, inside, leave)
        shown = await inside.status()
        assert min(shown["rates"].values()) >= 0


@pytest.mark.usefixtures("hasty")
async def test_parts_that_hang_or_fail_are_named_and_block_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    control = _Control()
    async with running_side("10.9.0.1") as side, asked(side, control) as told:
        control.gate = trio.Event()
        for _ in range(2):  # the second question does not pile up on the first
            with trio.fail_after(20):
                health = (await told.status())["health"]
            assert health["database"] == "no answer"
            assert health["well"] is False
        monkeypatch.setattr(status, "PATIENCE_SECONDS", 30.0)
        control.gate.set()
        control.failure = ValueError("secret words")
        await trio.testing.wait_all_tasks_blocked(0.05)
        health = (await told.status())["health"]
        assert health == {"well": False, "pump": "ok", "database": "failed (ValueError)"}
        control.failure = None
        assert (await told.status())["health"]["well"]


@pytest.mark.usefixtures("hasty")
async def test_a_pump_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_side("10.9.0.1") as side, asked(side, _Control()) as inside:
        monkeypatch.setattr(side.device.pump, "ping", lambda: None)
        health = (await inside.status())["health"]
        assert (health["well"], health["pump"]) == (False, "no answer")


async def test_the_watchdog_and_we_share_an_answer() -> None:
    async with running_side("10.9.0.1") as side:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(side.device.pump_answers)


async def test_a_key_that_was_rotated() -> None:
    control = _Control()
    control.old = OldKey("O=", 2, 1, datetime(2026, 5, 28, 14, 2, 14, tzinfo=UTC))
    async with running_side("10.9.0.1") as side, asked(side, control) as inside:
        told = await inside.status()
    assert told["public_key"] == "K="
    assert told["old_key"] == {
        "public_key": "O=",
        "sessions": 2,
        "static_peers": 1,
        "until": "2026-05-28T14:02:14Z",
    }


def test_warnings_are_counted_by_kind_and_bounded() -> None:
    with RecentWarnings.kept() as recent:
        LOG.setLevel(logging.DEBUG)
        event(LOG, logging.INFO, "nothing special")
        event(LOG, logging.WARNING, "odd", number=1)
        event(LOG, logging.ERROR, "bad")
        event(LOG, logging.WARNING, "odd", number=2)
        bad, odd = recent.told()
        assert (bad["count"], odd["count"]) == (1, 2)
        assert odd["line"].endswith('level=warning part=test msg="odd" number=2')
        for number in range(100):
            event(LOG, logging.WARNING, f"kind {number} " + "x" * 1000)
        kinds = recent.told()
        assert len(kinds) == 20
        assert "kind 99" in kinds[-1]["line"]
        assert max(len(kind["line"]) for kind in kinds) == 500
    event(LOG, logging.WARNING, "afterwards")
    assert "afterwards" not in repr(recent.told())
