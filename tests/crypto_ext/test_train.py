"""The train: what shares a send, in which sizes, and how packets are padded."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto_ext.rig import Rig, network, tcp_super, udp_packet


def padded(length: int, mtu: int) -> int:
    """The kernel's rule (send.c, calculate_skb_padding), as it is told."""
    if mtu == 0:
        return -(-length // 16) * 16
    last = length % mtu if length > mtu else length
    return length - last + min(mtu, -(-last // 16) * 16)


@settings(max_examples=60)
@given(length=st.integers(28, 3000), mtu=st.sampled_from([0, 576, 1280, 1281, 1420, 1500, 8920]))
def test_padding_is_the_kernel_s(length: int, mtu: int) -> None:
    with Rig(gso=False, mtu=mtu) as rig:
        rig.a.write(udp_packet(length))
        rig.a.pump.step(rig.now)
        (datagram,) = rig.b.datagrams()
        assert len(datagram) == 32 + padded(length, mtu)
        rig.a.udp.sendto(datagram, rig.b.udp.getsockname())
        rig.settle()
        assert [p for _, p in rig.b.read()] == [udp_packet(length)]


@pytest.mark.parametrize(
    ("segments", "size", "expected"),
    [
        (2, 1368, 1),
        (45, 1368, 1),  # 45 x 1452 = 65,340 bytes just fit
        (46, 1368, 2),
        (47, 1368, 2),
        (64, 100, 1),
        (65, 100, 2),  # 64 segments are what old kernels take
        (120, 400, 2),
        (300, 200, 5),  # more than a train holds: 192 + 108
    ],
)
def test_a_superpacket_leaves_in_as_few_sends_as_fit(segments: int, size: int, expected: int) -> None:
    with Rig(join=True) as rig:
        whole, packet = tcp_super(segments, size)
        before = rig.a.pump.stats().udp_sends
        rig.a.tun.send(whole)
        rig.settle()
        assert rig.a.pump.stats().udp_sends - before == expected
        got = b"".join(p[packet.header_len :] for _, p in rig.b.read())
        assert got == packet.payload
        assert rig.b.drops == {}


def test_47_leave_as_24_and_23() -> None:
    with Rig() as rig:
        whole, _ = tcp_super(47)
        rig.a.tun.send(whole)
        rig.a.pump.step(rig.now)
        lengths = [len(rig.b.udp.recv(1 << 16)) for _ in range(2)]
        assert lengths == [24 * 1452, 23 * 1452]


def test_three_superpackets_that_wait_leave_in_four_sends() -> None:
    with Rig() as rig:
        whole, _ = tcp_super(47)
        for _ in range(4):
            rig.a.tun.send(whole)
        rig.a.pump.step(rig.now)
        lengths = [len(rig.b.udp.recv(1 << 16)) for _ in range(4)]
        assert lengths == [count * 1452 for count in (36, 35, 35, 35)]
        rig.a.pump.step(rig.now)  # the fourth is of the next burst
        lengths = [len(rig.b.udp.recv(1 << 16)) for _ in range(2)]
        assert lengths == [24 * 1452, 23 * 1452]


def test_a_superpacket_by_itself_waits_for_no_other() -> None:
    with Rig() as rig:
        rig.a.tun.send(tcp_super(10)[0])
        rig.a.pump.step(rig.now)
        assert len(rig.b.udp.recv(1 << 16)) == 10 * 1452


def test_small_packets_of_one_peer_share_a_send() -> None:
    with Rig() as rig:
        before = rig.a.pump.stats()
        rig.a.write(*(udp_packet(60) for _ in range(16)))
        rig.a.pump.step(rig.now)
        after = rig.a.pump.stats()
        assert after.udp_sends - before.udp_sends == 1
        assert after.udp_datagrams_out - before.udp_datagrams_out == 16


def test_a_shorter_one_ends_the_train_and_a_longer_one_begins_another() -> None:
    with Rig() as rig:
        sizes = [1000, 1000, 500, 500, 600, 600, 100, 1420]
        before = rig.a.pump.stats().udp_sends
        rig.a.write(*(udp_packet(size) for size in sizes))
        rig.settle()
        assert rig.a.pump.stats().udp_sends - before == 4  # 1000 1000 500 | 500 | 600 600 100 | 1420
        assert [len(p) for _, p in rig.b.read()] == sizes


def test_counters_start_at_zero_and_never_skip() -> None:
    with Rig(gso=False) as rig:
        rig.a.write(*(udp_packet(60 + i * 40) for i in range(8)))
        rig.a.pump.step(rig.now)
        counters = [struct.unpack_from("<Q", d, 8)[0] for d in rig.b.datagrams()]
        assert counters == list(range(1, 9))  # 0 was the keepalive that proved the key


def test_peers_in_turn_do_not_mix() -> None:
    with Rig() as rig:
        other = rig.a.pump.add_peer(bytes(32))
        rig.a.pump.allow(other, network("10.0.0.9/32"))
        rig.a.pump.set_endpoint(other, rig.a_to_b)
        rig.a.pump.install(
            other, send_key=bytes(32), receive_key=bytes(32), local_index=999_999, remote_index=424242,
            created_ns=rig.now, is_initiator=True, now_ns=rig.now,
        )  # fmt: skip
        rig.b.datagrams()
        packets = [udp_packet(100, destination=bytes([10, 0, 0, 2 + 7 * (i % 2)])) for i in range(8)]
        rig.a.write(*packets)
        rig.settle()
        assert rig.b.drops == {"unknown_index": 4}
        assert [p for _, p in rig.b.read()] == packets[::2]
