"""Two whole devices on the loopback: handshake, data, endings."""

from __future__ import annotations

import threading

import pytest
import trio

from appliance.core.noise import Identity
from appliance.device.device import Device, TunGoneError
from appliance.pump import Pump
from tests.appliance.device.pair import running_pair, running_side, udp_packet

# A number that no open file of a test run has.
NO_DESCRIPTOR = 1_000_000


async def test_first_packet_makes_the_handshake_and_arrives() -> None:
    async with running_pair() as (one, two):
        there = udp_packet("10.9.0.1", "10.9.0.2", b"there")
        await one.send(there)
        assert await two.receive() == there
        back = udp_packet("10.9.0.2", "10.9.0.1", b"and back")
        await two.send(back)
        assert await one.receive() == back
        seen = two.device.pump.peer(next(iter(two.device.peers)).handle)
        assert seen.endpoint is not None
        assert seen.endpoint.port == one.device.listen_port
        with trio.fail_after(10):
            while not seen.handshake_wall_ns:
                await trio.sleep(0.01)
                seen = two.device.pump.peer(next(iter(two.device.peers)).handle)


async def test_different_preshared_keys_never_talk() -> None:
    async with running_pair() as (one, two):
        next(iter(one.device.peers)).brain.set_preshared_key(b"a" * 32)
        await one.send(udp_packet("10.9.0.1", "10.9.0.2", b"there"))
        assert await two.nothing_arrives()
        assert not one.device.pump.peer(next(iter(one.device.peers)).handle).current_index


async def test_equal_preshared_keys_talk() -> None:
    async with running_pair() as (one, two):
        for side in (one, two):
            next(iter(side.device.peers)).brain.set_preshared_key(b"a" * 32)
        packet = udp_packet("10.9.0.1", "10.9.0.2", b"there")
        await one.send(packet)
        assert await two.receive() == packet


async def test_a_packet_from_a_source_that_is_not_the_peers_is_dropped() -> None:
    async with running_pair() as (one, two):
        await one.send(udp_packet("10.9.0.77", "10.9.0.2", b"spoofed"))
        assert await two.dropped("source") == 1
        assert await two.nothing_arrives(0.05)


async def test_a_new_private_key_works_at_once_on_both_sides() -> None:
    async with running_pair() as (one, two):
        await one.send(udp_packet("10.9.0.1", "10.9.0.2", b"old key"))
        await two.receive()
        fresh = Identity(b"\x42" * 32)
        old = two.device.peers.find(one.identity.public_key)
        assert old is not None
        two.device.peers.remove(old)
        one.device.set_identity(fresh)
        one.identity = fresh
        two.connect(one, with_endpoint=False)
        packet = udp_packet("10.9.0.1", "10.9.0.2", b"new key")
        await one.send(packet)
        assert await two.receive() == packet


async def test_a_removed_peer_is_silent_from_that_moment() -> None:
    async with running_pair() as (one, two):
        await one.send(udp_packet("10.9.0.1", "10.9.0.2", b"1"))
        await two.receive()
        two.device.peers.remove(next(iter(two.device.peers)))
        await one.send(udp_packet("10.9.0.1", "10.9.0.2", b"2"))
        assert await two.dropped("unknown_index") == 1
        assert await two.nothing_arrives(0.05)


async def test_the_port_moves_while_running_and_a_busy_one_is_refused() -> None:
    async with running_pair() as (one, two):
        before = two.device.listen_port
        with pytest.raises(Exception, match=str(before)):
            one.device.set_listen_port(before)
        one.device.set_listen_port(0)
        packet = udp_packet("10.9.0.1", "10.9.0.2", b"from the new port")
        await one.send(packet)
        assert await two.receive() == packet


async def test_cancelling_joins_the_pump_thread() -> None:
    before = threading.active_count()
    async with running_side("10.9.0.1"):
        pass
    # Trio keeps idle worker threads for a while; none of them may still be in C.
    assert threading.active_count() <= before + 1


async def test_a_deleted_interface_ends_the_device() -> None:
    device = Device(Pump(seed=1))
    device.pump.set_tun(NO_DESCRIPTOR, 0, 1420)  # EBADF, as EBADFD of a TUN that is deleted
    try:
        with trio.fail_after(10), pytest.raises(TunGoneError):
            await device.run()
    finally:
        device.close()


async def test_a_device_without_a_key_answers_nothing_and_learns_one_later() -> None:
    async with running_side("10.9.0.1") as one, running_side("10.9.0.2", with_key=False) as two:
        one.connect(two, with_endpoint=True)
        two.connect(one, with_endpoint=False)
        await one.send(udp_packet("10.9.0.1", "10.9.0.2", b"hello?"))
        assert await two.nothing_arrives()
        two.device.set_identity(two.identity)
        # The initiation above was refused at the gate; the retransmit 5 s later is answered.
        assert await two.receive(30) == udp_packet("10.9.0.1", "10.9.0.2", b"hello?")
