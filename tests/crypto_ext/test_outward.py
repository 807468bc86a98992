"""From the TUN to the network: routing, staging, purses in mid-superpacket, keepalives."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_ext import Aead, Pending
from tests.crypto_ext.packets import TCP, UDP, Packet, cut
from tests.crypto_ext.rig import Rig, between, install, network, tcp_super, udp_packet


def test_no_peer_no_endpoint_no_packet() -> None:
    with Rig() as rig:
        rig.a.write(udp_packet(100, destination=bytes([192, 0, 2, 1])), b"\x00" * 40, b"")
        rig.settle()
        assert rig.a.drops == {"no_peer": 1, "tun_malformed": 2}
        rig.a.pump.set_endpoint(rig.a.peer, None)
        rig.a.write(udp_packet(100))
        rig.settle()
        assert rig.a.drops == {"no_peer": 1, "tun_malformed": 2, "no_endpoint": 1}
        assert rig.b.read() == []


def test_an_offload_header_that_lies_is_malformed() -> None:
    with Rig() as rig:
        whole, _ = tcp_super(3)
        rig.a.tun.send(struct.pack("=BBHHHH", 1, 1, 52, 0, 20, 16) + whole[10:])  # segments of nothing
        rig.a.tun.send(struct.pack("=BBHHHH", 1, 1, 52, 1368, 9999, 16) + whole[10:])
        rig.a.tun.send(struct.pack("=BBHHHH", 0, 77, 0, 0, 0, 0) + whole[10:])
        rig.settle()
        assert rig.a.drops["tun_malformed"] >= 2
        assert rig.a.pump.stats().udp_datagrams_out == 1  # the handshake's keepalive


def test_packets_wait_for_a_key_and_leave_in_order() -> None:
    with Rig(keys=False) as rig:
        sent = [udp_packet(100 + i) for i in range(5)]
        rig.a.write(*sent)
        rig.settle()
        assert rig.a.view.staged == 5
        assert rig.a.pump.take_pending() == [(rig.a.peer, Pending.KEY)]
        rig.shake()
        assert rig.a.view.staged == 0
        assert [p for _, p in rig.b.read()] == sent
        assert rig.a.view.send_counter == 5  # data proves the key as well as a keepalive does


def test_a_superpacket_waits_as_its_segments() -> None:
    with Rig(join=True, keys=False) as rig:
        whole, packet = tcp_super(47)
        rig.a.tun.send(whole)
        rig.settle()
        assert rig.a.view.staged == 47
        rig.shake()
        ((_, joined),) = rig.b.read()
        assert joined[packet.header_len :] == packet.payload


def superpacket(packet: Packet, size: int) -> bytes:
    """With its vnet header in front."""
    kind, field = (5, 6) if packet.protocol == UDP else (1 if packet.family == 4 else 4, 16)
    header = struct.pack("=BBHHHH", 1, kind, packet.header_len, size, packet.transport_at, field)
    return header + packet.whole()


SUPERPACKET = st.tuples(
    st.sampled_from([TCP, UDP]),
    st.booleans(),  # IPv6
    st.sampled_from([0, 12, 40]),  # bytes of TCP options
    st.one_of(st.integers(2, 12), st.just(40)),  # segments
    st.one_of(st.sampled_from([1208, 1300, 1340]), st.integers(1, 1300)),  # bytes of each
    st.integers(1, 1300),  # of the last
)


@settings(max_examples=60)
@given(shapes=st.lists(SUPERPACKET, min_size=1, max_size=3), mtu=st.sampled_from([1420, 1424, 9000]))
def test_superpackets_leave_as_the_packets_they_stand_for(shapes: list[tuple[int, ...]], mtu: int) -> None:
    """Short ones are copied, long ones sealed from where the TUN was read to; the next read uses it."""
    with Rig(mtu=mtu) as rig:
        expected = []
        for number, (protocol, six, options, segments, size, last) in enumerate(shapes):
            payload = bytes((i * 7 + number) % 251 for i in range((segments - 1) * size + min(size, last)))
            packet = between(six=bool(six)).but(protocol=protocol, payload=payload, ident=500 * number)
            if protocol == TCP:
                packet = packet.but(options=bytes([1]) * options)
            rig.a.tun.send(superpacket(packet, size))
            expected += [part.build() for part in cut(packet, size)]
        rig.settle()
        assert [data for _, data in rig.b.read()] == expected
        assert rig.a.drops == rig.b.drops == {}


@pytest.mark.parametrize("segments", [3, 30])
@pytest.mark.parametrize("size", [1001, 1368])
def test_what_pads_a_segment_is_zeros_whatever_stood_behind_it(segments: int, size: int) -> None:
    with Rig(gso=False) as rig:
        whole, packet = tcp_super(segments, size, last=777)
        rig.a.tun.send(tcp_super(47)[0])  # the buffer is full of something else
        rig.settle()
        rig.b.read()
        rig.a.tun.send(whole)
        rig.a.pump.step(rig.now)
        key = bytes([rig.a.index // 2 % 251, 1] * 16)
        for part, datagram in zip(cut(packet, size), rig.b.datagrams(), strict=True):
            plain = Aead().open(key, struct.unpack_from("<Q", datagram, 8)[0], datagram[16:])
            assert plain is not None
            expected = part.build()
            assert plain == expected + bytes(min(-len(expected) % 16, 1420 - len(expected)))


def test_python_is_asked_for_a_key_once_in_five_seconds() -> None:
    with Rig(keys=False) as rig:
        asked = []
        for second in range(11):
            rig.a.write(udp_packet(100))
            rig.settle()
            if rig.a.pump.take_pending():
                asked.append(second)
            rig.pass_time(1)
        assert asked == [0, 5, 10]
        rig.a.pump.drop_staged(rig.a.peer)  # given up: the next packet starts over at once
        rig.a.write(udp_packet(100))
        rig.settle()
        assert rig.a.pump.take_pending() == [(rig.a.peer, Pending.KEY)]
        assert rig.a.drops == {"staged_lost": 11}


@pytest.mark.parametrize("limit", [0, 51, 1420, 10 * 1420, 10 * 1420 + 1419, 46 * 1420, 47 * 1420])
def test_a_purse_is_exact_in_the_middle_of_a_superpacket(limit: int) -> None:
    with Rig() as rig:
        purse = rig.a.pump.new_purse(limit)
        rig.a.pump.remove_peer(rig.a.peer)
        slot = memoryview(bytearray(256))
        rig.a.peer = rig.a.pump.add_peer(bytes([2]) * 32, slot, purse)
        rig.a.pump.allow(rig.a.peer, network("10.0.0.2/32"))
        rig.a.pump.set_endpoint(rig.a.peer, rig.a_to_b)
        rig.shake()
        whole, _ = tcp_super(47)  # each segment is 1420 bytes long
        rig.a.tun.send(whole)
        rig.settle()
        fits = min(limit // 1420, 47)
        words = slot.cast("Q")
        assert (words[6], words[8]) == (fits * 1420, fits)
        assert rig.b.pump.stats().tun_packets_out == fits
        assert rig.a.pump.purse(purse) == (limit - fits * 1420, fits < 47)
        assert rig.a.drops == ({"purse": 47 - fits} if fits < 47 else {})
        assert rig.a.pump.take_pending() == ([(rig.a.peer, Pending.PURSE)] if fits < 47 else [])


def test_staged_packets_are_billed_when_they_leave_and_only_once() -> None:
    with Rig(keys=False) as rig:
        slot = memoryview(bytearray(256))
        rig.a.pump.remove_peer(rig.a.peer)
        rig.a.peer = rig.a.pump.add_peer(bytes([2]) * 32, slot)
        rig.a.pump.allow(rig.a.peer, network("10.0.0.2/32"))
        rig.a.pump.set_endpoint(rig.a.peer, rig.a_to_b)
        rig.a.write(udp_packet(100), udp_packet(203))
        rig.settle()
        words = slot.cast("Q")
        assert (words[6], words[8]) == (0, 0)
        rig.shake()
        assert (words[6], words[8]) == (303, 2)
        rig.a.write(udp_packet(100))
        rig.pass_time(200)  # the key is too old: staged, and lost
        rig.settle()
        rig.a.pump.drop_staged(rig.a.peer)
        assert (words[6], words[8]) == (303, 2)


def test_a_shut_purse_asks_for_no_key() -> None:
    with Rig(keys=False) as rig:
        purse = rig.a.pump.new_purse(50)
        rig.a.pump.remove_peer(rig.a.peer)
        rig.a.peer = rig.a.pump.add_peer(bytes([2]) * 32, None, purse)
        rig.a.pump.allow(rig.a.peer, network("10.0.0.2/32"))
        rig.a.pump.set_endpoint(rig.a.peer, rig.a_to_b)
        rig.shake()
        rig.a.write(udp_packet(100))
        rig.settle()
        assert rig.a.pump.take_pending() == [(rig.a.peer, Pending.PURSE)]
        rig.a.pump.erase_keys(rig.a.peer)
        rig.a.write(udp_packet(40))
        rig.settle()
        assert rig.a.pump.take_pending() == []
        assert rig.a.drops == {"purse": 2}
        assert rig.a.view.staged == 0


def test_the_initiator_keeps_its_key_fresh_and_the_responder_does_not() -> None:
    with Rig() as rig:
        rig.b.pump.take_pending()
        for after, wanted in ((120, False), (0.000000001, True)):
            rig.pass_time(after)
            rig.a.write(udp_packet(100))
            rig.b.write(udp_packet(100, back=True))
            rig.settle()
            assert bool(rig.a.pump.take_pending()) is wanted
        assert rig.b.pump.take_pending() == []


def test_the_initiator_asks_in_the_last_minute_when_it_only_receives() -> None:
    with Rig() as rig:
        rig.pass_time(165)
        rig.b.write(udp_packet(100, back=True))
        rig.settle()
        assert rig.a.pump.take_pending() == []
        rig.pass_time(1)
        for _ in range(3):
            rig.b.write(udp_packet(100, back=True))
            rig.settle()
        assert rig.a.pump.take_pending() == [(rig.a.peer, Pending.KEY)]
        rig.pass_time(6)
        rig.b.write(udp_packet(100, back=True))
        rig.settle()
        assert rig.a.pump.take_pending() == []  # once per key


def test_nothing_is_sent_on_a_key_of_180_seconds() -> None:
    with Rig() as rig:
        rig.pass_time(179.999999999)
        rig.a.write(udp_packet(100))
        rig.settle()
        assert len(rig.b.read()) == 1
        rig.pass_time(0.000000001)
        rig.a.write(udp_packet(100))
        rig.settle()
        assert rig.b.read() == []
        assert rig.a.view.staged == 1


def test_a_new_key_as_responder_carries_nothing_before_it_was_used() -> None:
    with Rig() as rig:
        install(rig.a, 90, first=False, now=rig.now)
        rig.a.write(udp_packet(100))
        rig.settle()
        assert len(rig.b.read()) == 1  # on the current key still
        assert rig.a.view.next_index != 0
