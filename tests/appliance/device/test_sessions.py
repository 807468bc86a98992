"""The interface as the session door sees it: counters in the slot, endpoint taken up again from it."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest

from appliance.core.accounting import Purse
from appliance.device.sessions import SessionPeers, endpoint_in_slot
from appliance.pump import Endpoint
from tests.appliance.device.pair import running_side, udp_packet


def empty_slot() -> memoryview:
    return memoryview(bytearray(256)).cast("Q")


async def test_a_session_counts_into_its_slot_and_leaves_its_endpoint_there() -> None:
    slot = empty_slot()
    async with running_side("10.9.0.1") as exit_side, running_side("10.9.0.2") as client:
        sessions = SessionPeers(exit_side.device)
        await sessions.add_session(client.identity.public_key, IPv4Address("10.9.0.2"), slot)
        client.connect(exit_side, with_endpoint=True)
        up = udp_packet("10.9.0.2", "10.9.0.1", b"up")
        await client.send(up)
        assert await exit_side.receive() == up
        down = udp_packet("10.9.0.1", "10.9.0.2", b"down, longer")
        await exit_side.send(down)
        assert await client.receive() == down
        assert (slot[6], slot[7]) == (len(down), len(up))
        assert endpoint_in_slot(slot) == Endpoint(IPv4Address("127.0.0.1"), client.device.listen_port)

        await sessions.remove_session(client.identity.public_key)
        final = slot.tobytes()
        await client.send(up)
        assert await exit_side.nothing_arrives()
        assert slot.tobytes() == final
        await sessions.remove_session(client.identity.public_key)  # gone already: no error


async def test_with_an_ipv6_network_a_session_has_the_address_of_its_lease() -> None:
    async with running_side("10.9.0.1") as exit_side:
        sessions = SessionPeers(exit_side.device, IPv6Network("fd00:1:2::/64"))
        await sessions.add_session(bytes(range(32)), IPv4Address("10.9.0.2"), empty_slot())
        record = exit_side.device.peers.find(bytes(range(32)))
        assert record is not None
        assert [str(network) for network in record.allowed_ips] == ["10.9.0.2/32", "fd00:1:2::a09:2/128"]
        await sessions.remove_session(bytes(range(32)))
        assert exit_side.device.peers.owner_of(IPv6Network("fd00:1:2::a09:2/128")) is None


async def test_a_slot_left_by_a_killed_process_lets_the_exit_speak_first() -> None:
    slot = empty_slot()
    async with running_side("10.9.0.1") as exit_side, running_side("10.9.0.2") as client:
        client.connect(exit_side, with_endpoint=False)
        left = struct.pack("=HHI16s", 4, client.device.listen_port, 0, IPv4Address("127.0.0.1").packed)
        slot[13:16] = memoryview(left).cast("Q")
        slot[6] = 1000
        await SessionPeers(exit_side.device).add_session(
            client.identity.public_key, IPv4Address("10.9.0.2"), slot
        )
        down = udp_packet("10.9.0.1", "10.9.0.2", b"after the crash")
        await exit_side.send(down)
        assert await client.receive() == down
        assert slot[6] == 1000 + len(down)


async def test_a_key_that_is_a_peer_already_is_refused_and_changes_nothing() -> None:
    async with running_side("10.9.0.1") as exit_side:
        sessions = SessionPeers(exit_side.device)
        await sessions.add_session(b"k" * 32, IPv4Address("10.9.0.2"), empty_slot())
        with pytest.raises(ValueError, match="peer already"):
            await sessions.add_session(b"k" * 32, IPv4Address("10.9.0.3"), empty_slot())
        with pytest.raises(ValueError, match="our own"):
            await sessions.add_session(exit_side.identity.public_key, IPv4Address("10.9.0.3"), empty_slot())
        assert len(exit_side.device.peers) == 1


async def test_sessions_of_one_account_pay_from_one_purse() -> None:
    slots = [empty_slot(), empty_slot()]
    reported: list[str] = []
    async with (
        running_side("10.9.0.1", on_purse_shut=reported.append) as exit_side,
        running_side("10.9.0.2") as one,
        running_side("10.9.0.3") as two,
    ):
        sessions = SessionPeers(exit_side.device)
        up = [udp_packet(f"10.9.0.{host}", "10.9.0.1", b"x" * 72) for host in (2, 3)]
        size = len(up[0])
        # Room for two packets of 100 bytes; the second session's word on what is left is not asked for.
        for client, slot, left in zip((one, two), slots, (2 * size + 50, 10**9), strict=True):
            address = IPv4Address(f"10.9.0.{2 if client is one else 3}")
            purse = Purse("ac_1", left)
            await sessions.add_session(client.identity.public_key, address, slot, purse)
            client.connect(exit_side, with_endpoint=True)
        for client, packet in zip((one, two), up, strict=True):
            await client.send(packet)
            assert await exit_side.receive() == packet
        assert reported == []
        await one.send(up[0])
        assert await exit_side.nothing_arrives()
        assert reported == ["ac_1", "ac_1"]  # once per peer
        # Shut for good, for whatever would fit and for both.
        await two.send(udp_packet("10.9.0.3", "10.9.0.1", b""))
        assert await exit_side.nothing_arrives()
        assert [slot[7] for slot in slots] == [size, size]
        for client in (one, two):
            await sessions.remove_session(client.identity.public_key)
        # The last one took the purse with it: the next brings a new one.
        reported.clear()
        await sessions.add_session(
            one.identity.public_key, IPv4Address("10.9.0.2"), slots[0], Purse("ac_1", 10 * size)
        )
        assert exit_side.device.pump.purse(1) == (10 * size, False)
        await sessions.remove_session(one.identity.public_key)
        with pytest.raises(OSError, match="No such file"):
            exit_side.device.pump.purse(1)
        assert reported == []


async def test_an_account_whose_last_peer_leaves_with_a_shut_purse_is_reported() -> None:
    reported: list[str] = []
    async with (
        running_side("10.9.0.1", on_purse_shut=reported.append) as exit_side,
        running_side("10.9.0.2") as client,
    ):
        sessions = SessionPeers(exit_side.device)
        key, address = client.identity.public_key, IPv4Address("10.9.0.2")
        await sessions.add_session(key, address, empty_slot(), Purse("ac_1", 0))
        client.connect(exit_side, with_endpoint=True)
        await client.send(udp_packet("10.9.0.2", "10.9.0.1", b"up"))
        assert await exit_side.nothing_arrives()
        assert exit_side.device.pump.purse(1) == (0, True)
        reported.clear()
        await sessions.remove_session(key)
        assert reported == ["ac_1"]


async def test_a_peer_that_is_refused_leaves_no_purse() -> None:
    async with running_side("10.9.0.1") as exit_side:
        sessions = SessionPeers(exit_side.device)
        address, own = IPv4Address("10.9.0.2"), exit_side.identity.public_key
        with pytest.raises(ValueError, match="our own"):
            await sessions.add_session(own, address, empty_slot(), Purse("ac_1", 5))
        with pytest.raises(OSError, match="No such file"):
            exit_side.device.pump.purse(1)


def test_an_ipv6_endpoint_is_read_with_its_scope() -> None:
    slot = empty_slot()
    address = IPv6Address("fe80::1")
    slot[13:16] = memoryview(struct.pack("=HHI16s", 6, 51820, 3, address.packed)).cast("Q")
    assert endpoint_in_slot(slot) == Endpoint(address, 51820, 3)
    assert endpoint_in_slot(empty_slot()) is None
