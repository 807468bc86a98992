"""A device with two private keys: everybody is spoken to under the one that they know, in both roles."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

import pytest
import trio

from appliance.clock import boottime_ns, wall_ns
from appliance.core.noise import Identity
from appliance.device.peers import PeerRecord, PeerTable
from appliance.device.sessions import SessionPeers
from appliance.pump import Endpoint, Pump
from tests.appliance.device.pair import LOOPBACK, Side, running_side, udp_packet

NEW = Identity(b"\x42" * 32)


def empty_slot() -> memoryview:
    return memoryview(bytearray(256)).cast("Q")


def knows(client: Side, exit_side: Side, own: Identity) -> PeerRecord:
    """The exit as this client is configured: under that key of the exit's."""
    record = client.device.peers.add(own.public_key)
    client.device.peers.allow(record, ip_network("10.9.0.1/32"))
    client.device.pump.set_endpoint(record.handle, Endpoint(LOOPBACK, exit_side.device.listen_port))
    return record


async def up_and_down(client: Side, exit_side: Side, word: bytes) -> None:
    up = udp_packet(client.address, "10.9.0.1", b"up " + word)
    await client.send(up)
    assert await exit_side.receive() == up
    down = udp_packet("10.9.0.1", client.address, b"down " + word)
    await exit_side.send(down)
    assert await client.receive() == down


async def exit_asks(exit_side: Side, client: Side, at_client: PeerRecord) -> None:
    """The exit initiates, and a handshake comes of it."""
    before = client.device.pump.peer(at_client.handle).current_created_ns
    record = exit_side.device.peers.find(client.identity.public_key)
    assert record is not None
    record.brain._sent_at_ns = None  # what it answered lately does not keep it from asking
    record.brain.key_wanted(boottime_ns(), wall_ns())
    exit_side.device.perform(record)
    for _ in range(1000):
        await trio.sleep(0.01)
        if client.device.pump.peer(at_client.handle).current_created_ns != before:
            return
    pytest.fail("no handshake within ten seconds")


async def test_old_and_new_clients_side_by_side_in_both_roles() -> None:
    async with (
        running_side("10.9.0.1") as exit_side,
        running_side("10.9.0.2") as a,
        running_side("10.9.0.3") as b,
    ):
        sessions = SessionPeers(exit_side.device)
        old = exit_side.identity
        await sessions.add_session(a.identity.public_key, IPv4Address(a.address), empty_slot())
        at_a = knows(a, exit_side, old)
        await up_and_down(a, exit_side, b"before")
        index = a.device.pump.peer(at_a.handle).current_index

        await sessions.add_key(NEW.private_key)
        assert exit_side.device.peers.identity is not None
        assert exit_side.device.peers.identity.public_key == NEW.public_key
        await up_and_down(a, exit_side, b"after")
        assert a.device.pump.peer(at_a.handle).current_index == index  # nobody had to shake hands for it

        await sessions.add_session(
            b.identity.public_key, IPv4Address(b.address), empty_slot(), own_key=NEW.public_key
        )
        at_b = knows(b, exit_side, NEW)
        await up_and_down(b, exit_side, b"new")  # the exit answered under the new key
        await exit_asks(exit_side, a, at_a)  # and asks the one under the old, the other under the new
        await exit_asks(exit_side, b, at_b)
        await up_and_down(a, exit_side, b"a, once more")
        await up_and_down(b, exit_side, b"b, once more")


async def test_a_client_of_the_old_key_that_comes_later_is_answered_until_the_key_is_dropped() -> None:
    async with running_side("10.9.0.1") as exit_side, running_side("10.9.0.2") as a:
        sessions, old = SessionPeers(exit_side.device), exit_side.identity.public_key
        await sessions.add_key(NEW.private_key)
        key = a.identity.public_key
        await sessions.add_session(key, IPv4Address(a.address), empty_slot(), own_key=old)
        knows(a, exit_side, exit_side.identity)
        await up_and_down(a, exit_side, b"late")
        assert not await sessions.drop_key(old)  # somebody knows it
        await sessions.remove_session(key)
        assert await sessions.drop_key(old)
        assert await sessions.drop_key(old)  # gone is gone
        assert not await sessions.drop_key(NEW.public_key)
        with pytest.raises(ValueError, match="not ours"):
            await sessions.add_session(key, IPv4Address(a.address), empty_slot(), own_key=old)

    async with running_side("10.9.0.1") as exit_side, running_side("10.9.0.2") as a:
        sessions, old = SessionPeers(exit_side.device), exit_side.identity.public_key
        await sessions.add_key(NEW.private_key)
        assert await sessions.drop_key(old)
        exit_side.connect(a, with_endpoint=False)
        knows(a, exit_side, exit_side.identity)
        await a.send(udp_packet(a.address, "10.9.0.1", b"to a key that is gone"))
        assert await exit_side.dropped("mac1") == 1
        assert await exit_side.nothing_arrives(0.05)
        assert exit_side.device.pump.stats().handshakes_up == 0


async def test_a_session_keeps_to_the_key_of_its_configuration() -> None:
    async with running_side("10.9.0.1") as exit_side, running_side("10.9.0.2") as a:
        sessions = SessionPeers(exit_side.device)
        await sessions.add_session(a.identity.public_key, IPv4Address(a.address), empty_slot())
        await sessions.add_key(NEW.private_key)
        knows(a, exit_side, NEW)
        await a.send(udp_packet(a.address, "10.9.0.1", b"under a key it was not told"))
        assert await exit_side.nothing_arrives()
        record = exit_side.device.peers.find(a.identity.public_key)
        assert record is not None
        assert record.brain.identity is exit_side.identity


async def test_a_static_peer_moves_to_the_key_it_shakes_hands_under_and_that_is_told() -> None:
    left: list[None] = []
    async with running_side("10.9.0.1") as exit_side, running_side("10.9.0.2") as a:
        exit_side.device._on_static_left = lambda: left.append(None)
        sessions, old = SessionPeers(exit_side.device), exit_side.identity.public_key
        exit_side.connect(a, with_endpoint=False)
        await sessions.add_key(NEW.private_key)
        assert (await sessions.static_peers(old), await sessions.static_peers(NEW.public_key)) == (1, 0)
        assert not await sessions.drop_key(old)
        at_a = knows(a, exit_side, exit_side.identity)
        await up_and_down(a, exit_side, b"old")
        assert left == []
        a.device.peers.remove(at_a)
        knows(a, exit_side, NEW)
        await trio.sleep(0.06)  # the flood limit, and a stamp that is newer
        await up_and_down(a, exit_side, b"new")
        assert len(left) == 1
        assert (await sessions.static_peers(old), await sessions.static_peers(NEW.public_key)) == (0, 1)
        assert await sessions.drop_key(old)
        assert await sessions.static_peers(old) == 0
        await up_and_down(a, exit_side, b"still")


def test_the_gate_holds_two_and_a_third_changes_nothing() -> None:
    pump = Pump(seed=1)
    try:
        table = PeerTable(pump, bytes)
        one, two, three = (Identity(bytes([n]) * 32) for n in (1, 2, 3))
        table.set_identity(one, 0)
        record = table.add(b"p" * 32)
        table.add_identity(two)
        assert record.brain.identity is one
        assert table.add(b"q" * 32).brain.identity is two
        with pytest.raises(OSError, match="Invalid"):
            table.add_identity(three)
        assert table.identities == (one, two)
        assert all(table.is_own_key(own.public_key) for own in (one, two))
        with pytest.raises(ValueError, match="our own"):
            table.add(one.public_key)
        assert not table.drop_identity(one.public_key)
        table.remove(record)
        assert table.drop_identity(one.public_key)
        assert table.identities == (two,)
    finally:
        pump.close()
