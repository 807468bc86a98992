"""From the network to the TUN: what is let through, what is dropped and why, what is counted."""

from __future__ import annotations

import socket
import struct

import pytest

from crypto_ext import Aead, Pending
from tests.crypto_ext.packets import TCP, UDP
from tests.crypto_ext.rig import Rig, between, install, network, tcp_super, udp_packet, udp_socket

UDP_SEGMENT = 103


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("six", [False, True])
def test_packets_arrive_unchanged_and_in_order(host: str, six: bool) -> None:
    with Rig(host) as rig:
        sent = [udp_packet(size, six=six) for size in (60, 61, 64, 1000, 1420, 80)]
        rig.a.write(*sent)
        rig.settle()
        assert [packet for _, packet in rig.b.read()] == sent
        assert rig.a.drops == rig.b.drops == {}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("six", [False, True])
def test_a_superpacket_arrives_as_one_write(host: str, six: bool) -> None:
    segments, size = (48, 1348) if six else (47, 1368)  # what the kernel makes of a TCP flow at MTU 1420
    with Rig(host, join=True) as rig:
        whole, packet = tcp_super(segments, size, six=six)
        rig.a.tun.send(whole)
        rig.settle()
        ((header, joined),) = rig.b.read()
        assert header[:2] == bytes([1, 4 if six else 1])  # NEEDS_CSUM, TCPv6 or TCPv4
        assert joined[packet.header_len :] == packet.payload
        stats = rig.b.pump.stats()
        assert (stats.tun_writes, stats.tun_packets_out) == (1, segments)
        assert stats.udp_receives == 1 + 2  # the keepalive of the handshake, then two GRO batches


def test_without_vnet_header_each_packet_is_written_alone() -> None:
    with Rig(vnet=False) as rig:
        sent = [udp_packet(1420) for _ in range(5)]
        rig.a.write(*sent)
        rig.settle()
        assert [packet for _, packet in rig.b.read()] == sent


def test_a_replayed_datagram_is_dropped_after_authentication() -> None:
    with Rig() as rig:
        rig.a.write(udp_packet(100))
        rig.a.pump.step(rig.now)
        (datagram,) = rig.b.datagrams()
        for _ in range(3):
            rig.a.udp.sendto(datagram, rig.b.udp.getsockname())
        forged = datagram[:-1] + bytes([datagram[-1] ^ 1])
        rig.a.udp.sendto(forged, rig.b.udp.getsockname())
        rig.settle()
        assert len(rig.b.read()) == 1
        assert rig.b.drops == {"replay": 2, "forged": 1}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "malformed"),
        (b"\x04", "malformed"),
        (b"\x04\x00\x00\x01" + bytes(28), "malformed"),  # reserved bytes
        (b"\x04\x00\x00\x00" + bytes(27), "malformed"),  # shorter than a keepalive
        (b"\x05\x00\x00\x00" + bytes(28), "malformed"),
        (b"\x01\x00\x00\x00" + bytes(143), "malformed"),  # an initiation has 148 bytes
        (b"\x01\x00\x00\x00" + bytes(144), "mac1"),
        (b"\x02\x00\x00\x00" + bytes(88), "mac1"),
        (b"\x04\x00\x00\x00" + bytes(28), "unknown_index"),
        (b"\x04\x00\x00\x00" + bytes(65503), "unknown_index"),
    ],
)
def test_garbage_is_counted_and_changes_nothing(data: bytes, reason: str) -> None:
    with Rig() as rig, udp_socket("127.0.0.1") as stranger:
        before = rig.b.view
        stranger.sendto(data, rig.b.udp.getsockname())
        rig.settle()
        assert rig.b.drops == {reason: 1}
        assert rig.b.view == before


def test_the_source_must_be_the_peer_s_by_longest_prefix() -> None:
    with Rig() as rig:
        other = rig.b.pump.add_peer(bytes(32))
        rig.b.pump.allow(rig.b.peer, network("10.0.0.0/8"))
        rig.b.pump.allow(other, network("10.0.0.1/32"))  # more specific, and somebody else's
        rig.a.write(udp_packet(100))
        rig.settle()
        assert rig.b.read() == []
        assert rig.b.drops == {"source": 1}
        assert rig.b.view.rx_bytes > 32  # authentic all the same


def sealed(rig: Rig, plain: bytes, counter: int = 5) -> bytes:
    """A transport message to b as a would make it, around any plaintext."""
    n = rig.a.index // 2
    key = bytes([n % 251, 1] * 16)
    return struct.pack("<IIQ", 4, rig.b.index, counter) + Aead().seal(key, counter, plain)


@pytest.mark.parametrize(
    "plain",
    [
        b"\x00",
        b"\x45" + bytes(18),  # shorter than an IPv4 header
        b"\x35" + bytes(30),  # no IP version
        b"\x44" + bytes(30),  # IHL below five words
        b"\x45\x00\xff\xff" + bytes(40),  # longer than what came
        b"\x60\x00\x00\x00\xff\xff" + bytes(40),
    ],
)
def test_an_authentic_packet_that_is_none_is_dropped(plain: bytes) -> None:
    with Rig() as rig:
        rig.a.udp.sendto(sealed(rig, plain), rig.b.udp.getsockname())
        rig.settle()
        assert rig.b.read() == []
        assert rig.b.drops == {"inner_malformed": 1}


def test_padding_is_cut_and_a_keepalive_is_no_packet() -> None:
    with Rig() as rig:
        packet = udp_packet(61)
        for counter, plain in enumerate([packet + bytes(3), b"", packet + bytes(19)], start=3):
            rig.a.udp.sendto(sealed(rig, plain, counter), rig.b.udp.getsockname())
        rig.settle()
        assert [p for _, p in rig.b.read()] == [packet, packet]


def test_an_old_key_or_counter_is_refused_before_opening() -> None:
    with Rig() as rig:
        rig.a.udp.sendto(sealed(rig, b"", 2**64 - 2**13), rig.b.udp.getsockname())
        rig.settle()
        assert rig.b.drops == {"expired": 1}
        rig.pass_time(180)
        rig.a.udp.sendto(sealed(rig, b"", 7), rig.b.udp.getsockname())
        rig.settle()
        assert rig.b.drops == {"expired": 2}


def test_the_peer_is_where_it_last_spoke_from() -> None:
    with Rig() as rig, udp_socket("127.0.0.1") as elsewhere, udp_socket("127.0.0.1") as liar:
        elsewhere.sendto(sealed(rig, udp_packet(100)), rig.b.udp.getsockname())
        rig.settle()
        assert rig.b.view.endpoint.port == elsewhere.getsockname()[1]
        assert rig.b.view.seen_ns == rig.now
        liar.sendto(sealed(rig, udp_packet(100)), rig.b.udp.getsockname())  # a replay
        liar.sendto(sealed(rig, udp_packet(100))[:-1] + b"x", rig.b.udp.getsockname())
        rig.settle()
        assert rig.b.view.endpoint.port == elsewhere.getsockname()[1]


def test_the_endpoint_roams_even_when_the_source_check_fails() -> None:
    with Rig() as rig, udp_socket("127.0.0.1") as elsewhere:
        elsewhere.sendto(sealed(rig, udp_packet(100, back=True)), rig.b.udp.getsockname())
        rig.settle()
        assert rig.b.drops == {"source": 1}
        assert rig.b.view.endpoint.port == elsewhere.getsockname()[1]


def test_the_first_packet_confirms_the_key_and_frees_what_waited() -> None:
    with Rig(keys=False) as rig:
        rig.b.write(udp_packet(100, back=True))
        rig.settle()
        assert rig.b.view.staged == 1
        assert rig.b.pump.take_pending() == [(rig.b.peer, Pending.KEY)]
        install(rig.b, 77, first=False, now=rig.now)  # b answered a's initiation
        rig.settle()
        assert rig.b.view.staged == 1  # never sends on a key that was not confirmed
        install(rig.a, 77, first=True, now=rig.now)  # and now a sends its keepalive
        rig.settle()
        assert rig.b.pump.take_pending() == [(rig.b.peer, Pending.CONFIRMED)]
        assert rig.b.view.staged == 0
        assert [p for _, p in rig.a.read()] == [udp_packet(100, back=True)]


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("six", [False, True])
def test_a_wrong_inner_checksum_is_delivered_as_it_is(protocol: int, six: bool) -> None:
    """It is neither repaired nor joined; what comes before and after it is."""
    with Rig(join=True) as rig:
        first = between(six=six).but(protocol=protocol, payload=bytes(500))
        run = [first.but(sequence=first.sequence + 500 * i) for i in range(6)]
        sent = [packet.build(checksum=0x1234 if i == 2 else None) for i, packet in enumerate(run)]
        rig.a.write(*sent)
        rig.a.pump.step(rig.now)
        rig.settle()
        got = rig.b.read()
        assert [header[1] != 0 for header, _ in got] == [True, False, True]
        assert got[1] == (bytes(10), sent[2])
        assert [packet[first.header_len :] for _, packet in got[::2]] == [bytes(1000), bytes(1500)]


def cut_payload(header: bytes, packet: bytes) -> list[bytes]:
    """What the kernel makes of the UDP payload behind an IPv4 header, by gso_size."""
    payload = packet[28:]
    size = struct.unpack_from("=H", header, 4)[0] if header[1] else len(payload)
    return [payload[at : at + size] for at in range(0, len(payload), size)]


def test_a_gro_batch_may_hold_several_peers_and_nothing_is_joined_across_them() -> None:
    """Behind one NAT they have one address. A flow is its owner's alone: what a neighbour sends in its name
    is dropped, even where it would adjoin.
    """
    with Rig(join=True) as rig, udp_socket("127.0.0.1") as nat:
        neighbour, number = rig.b.pump.add_peer(bytes([3]) * 32), 100
        rig.b.pump.allow(neighbour, network("10.0.0.3/32"))
        rig.b.pump.install(
            neighbour, send_key=bytes(32), receive_key=bytes([7]) * 32, local_index=number, remote_index=1,
            created_ns=rig.now, is_initiator=False, now_ns=rig.now,
        )  # fmt: skip
        first = between().but(protocol=TCP, payload=b"a" * 400)
        second = first.but(sequence=first.sequence + 400, payload=b"b" * 400)
        third = second.but(sequence=second.sequence + 400, payload=b"c" * 400)
        own = first.but(source=bytes([10, 0, 0, 3]))

        def by_neighbour(plain: bytes, counter: int) -> bytes:
            return struct.pack("<IIQ", 4, number, counter) + Aead().seal(bytes([7]) * 32, counter, plain)

        batch = [
            sealed(rig, first.build(), 5),
            by_neighbour(third.build(), 0),
            by_neighbour(own.build(), 1),
            sealed(rig, second.build(), 6),
        ]
        segment = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", len(batch[0])))]
        before = rig.b.pump.stats().udp_receives
        nat.sendmsg(batch, segment, 0, rig.b.udp.getsockname())
        rig.b.pump.step(rig.now)
        assert rig.b.pump.stats().udp_receives == before + 1, "it came as one batch"
        joined, alone = rig.b.read()
        assert joined[1][40:] == b"a" * 400 + b"b" * 400
        assert alone[1] == own.build()
        assert rig.b.drops == {"source": 1}


def test_one_batch_may_hold_more_packets_than_one_join_or_one_aead_batch() -> None:
    with Rig(join=True) as rig:
        texts = [struct.pack(">H", i) * (20 + i % 3) for i in range(600)]
        sent = [udp_packet(text) for text in texts]
        for at in range(0, 600, 8):
            rig.a.write(*sent[at : at + 8])
            rig.a.pump.step(rig.now)  # b does not read meanwhile
        rig.settle()
        got = rig.b.read()
        assert len(got) < 600, "some were joined"
        assert [text for header, packet in got for text in cut_payload(header, packet)] == texts
        assert rig.b.pump.stats().tun_packets_out == 600
        assert rig.b.drops == {}
