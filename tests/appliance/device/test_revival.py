"""After a restart the exit speaks first to whoever was there lately, and to nobody else."""

from __future__ import annotations

import os
import struct
from ipaddress import IPv4Address
from itertools import pairwise

import pytest
import trio

from appliance.clock import boottime_ns
from appliance.device import revival
from appliance.device.peers import PeerRecord
from appliance.device.revival import RECENT_NS, revive
from appliance.device.sessions import SessionPeers
from tests.appliance.device.pair import Side, running_side, udp_packet

SECOND = 1_000_000_000


def slot_left_by_a_killed_exit(client: Side, seen_ns: int) -> memoryview:
    slot = memoryview(bytearray(256)).cast("Q")
    left = struct.pack("=HHI16s", 4, client.device.listen_port, 0, IPv4Address("127.0.0.1").packed)
    slot[13:16] = memoryview(left).cast("Q")
    slot[16] = seen_ns
    return slot


async def test_a_client_of_a_moment_ago_gets_a_key_without_a_packet_from_anybody() -> None:
    async with running_side("10.9.0.1") as exit_side, running_side("10.9.0.2") as client:
        record = client.connect(exit_side, with_endpoint=False)
        slot = slot_left_by_a_killed_exit(client, boottime_ns() - SECOND)
        key = client.identity.public_key
        await SessionPeers(exit_side.device).add_session(key, IPv4Address("10.9.0.2"), slot)
        await revive(exit_side.device)
        for _ in range(500):
            await trio.sleep(0.01)
            if client.device.pump.peer(record.handle).current_index:
                return
        pytest.fail("no key within five seconds")


@pytest.mark.parametrize("age_ns", [RECENT_NS + SECOND, None])
async def test_one_that_was_silent_for_long_is_left_alone(age_ns: int | None) -> None:
    async with running_side("10.9.0.1") as exit_side, running_side("10.9.0.2") as client:
        client.connect(exit_side, with_endpoint=False)
        # The virtual machine of a test may have booted less than three minutes ago.
        seen = 0 if age_ns is None else max(1, boottime_ns() - age_ns)
        slot = slot_left_by_a_killed_exit(client, seen)
        key = client.identity.public_key
        await SessionPeers(exit_side.device).add_session(key, IPv4Address("10.9.0.2"), slot)
        if age_ns is None or boottime_ns() - seen > RECENT_NS:
            await revive(exit_side.device)
        assert client.device.pump.stats().handshakes_up == 0


async def test_many_are_asked_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a thousand of them take, they are no burst."""
    pace_seconds, many = 0.05, 6
    monkeypatch.setattr(revival, "_PACE_SECONDS", pace_seconds)
    async with running_side("10.9.0.1") as exit_side, running_side("10.9.0.2") as client:
        sessions = SessionPeers(exit_side.device)
        for number in range(many):
            slot = slot_left_by_a_killed_exit(client, boottime_ns() - SECOND)
            await sessions.add_session(os.urandom(32), IPv4Address(f"10.9.1.{number}"), slot)
        asked: list[float] = []
        perform = exit_side.device.perform

        def noted(record: PeerRecord) -> None:
            asked.append(trio.current_time())
            perform(record)

        monkeypatch.setattr(exit_side.device, "perform", noted)
        await revive(exit_side.device)
        assert len(asked) == many
        assert all(later - earlier >= pace_seconds for earlier, later in pairwise(asked))


async def test_the_old_key_of_a_silent_client_wakes_the_exit() -> None:
    async with running_side("10.9.0.2") as client:
        async with running_side("10.9.0.1") as before:
            before.connect(client, with_endpoint=False)
            client.connect(before, with_endpoint=True)
            await client.send(udp_packet("10.9.0.2", "10.9.0.1", b"while it lived"))
            await before.receive()
            port, identity = before.device.listen_port, before.identity
        async with running_side("10.9.0.1") as after:
            after.device.set_identity(identity)
            after.device.set_listen_port(port)
            slot = slot_left_by_a_killed_exit(client, 1)
            key = client.identity.public_key
            await SessionPeers(after.device).add_session(key, IPv4Address("10.9.0.2"), slot)
            await client.send(udp_packet("10.9.0.2", "10.9.0.1", b"on a key that is lost"))
            assert await after.nothing_arrives(0.5)
            packet = udp_packet("10.9.0.2", "10.9.0.1", b"on the new one")
            await client.send(packet)
            assert await after.receive(4) == packet  # by itself it would wait for five
