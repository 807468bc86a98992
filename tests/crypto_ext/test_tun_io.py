"""The TUN: joined writes that the kernel refuses, an interface that is down, one that is gone."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

import pytest

from crypto_ext import Event, Notice
from tests.crypto_ext.conftest import Fault
from tests.crypto_ext.packets import TCP, UDP, cut
from tests.crypto_ext.rig import Rig, between, refused, tcp_super, udp_packet

Faults = Callable[..., None]


def test_a_refused_tcp_superpacket_is_written_in_parts(faults: Faults, hits: Callable[[Fault], int]) -> None:
    with Rig(join=True) as rig:
        whole, packet = tcp_super(20)
        faults(Fault.TUN_WRITE_JOINED, errno.EINVAL)
        for _ in range(2):
            rig.a.tun.send(whole)
            rig.settle()
            got = rig.b.read()
            assert [p for _, p in got] == [part.build() for part in cut(packet, 1368)]
            assert {header for header, _ in got} == {bytes(10)}
        assert hits(Fault.TUN_WRITE_JOINED) == 1
        assert rig.b.pump.stats().notices == Notice.TUN_TCP
        assert rig.b.pump.take_events() == Event.NOTICE
        assert rig.b.drops == {}


def test_only_that_protocol_is_no_longer_joined(faults: Faults) -> None:
    with Rig(join=True) as rig:
        faults(Fault.TUN_WRITE_JOINED, errno.EINVAL, times=1)
        rig.a.write(*(udp_packet(bytes(500)) for _ in range(4)))
        rig.settle()
        assert len(rig.b.read()) == 4
        assert rig.b.pump.stats().notices == Notice.TUN_UDP
        rig.a.write(*(udp_packet(bytes(500)) for _ in range(4)))
        rig.a.tun.send(tcp_super(4)[0])
        rig.settle()
        assert sorted(header[1] for header, _ in rig.b.read()) == [0, 0, 0, 0, 1]


def test_a_joined_udp_write_says_so() -> None:
    with Rig(join=True) as rig:
        rig.a.write(*(udp_packet(bytes([i]) * 500) for i in range(4)))
        rig.settle()
        ((header, packet),) = rig.b.read()
        assert header[1] == 5
        assert struct.unpack_from("=H", header, 4) == (500,)
        assert packet[28:] == b"".join(bytes([i]) * 500 for i in range(4))


def test_an_interface_that_is_down_costs_packets_only(faults: Faults) -> None:
    with Rig() as rig:
        faults(Fault.TUN_WRITE, errno.EIO)
        rig.a.write(udp_packet(100), udp_packet(100))
        rig.settle()
        assert rig.b.drops == {"tun_write": 2}
        faults(Fault.TUN_READ, errno.EIO)
        assert rig.b.pump.step(rig.now) == 0
        faults(Fault.TUN_WRITE, 0, times=0)
        faults(Fault.TUN_READ, 0, times=0)
        rig.a.write(udp_packet(100))
        rig.settle()
        assert len(rig.b.read()) == 1


@pytest.mark.parametrize("error", [errno.EBADFD, errno.EBADF, errno.ENODEV])
def test_a_deleted_interface_ends_the_turn(faults: Faults, error: int) -> None:
    with Rig() as rig:
        faults(Fault.TUN_READ, error)
        with refused(errno.ESHUTDOWN):
            rig.a.pump.step(rig.now)


@pytest.mark.parametrize("error", [errno.EBADFD, errno.EPIPE])
def test_a_write_may_be_the_first_to_notice(faults: Faults, error: int) -> None:
    with Rig() as rig:
        faults(Fault.TUN_WRITE, error)
        rig.a.write(udp_packet(100))
        rig.a.pump.step(rig.now)
        with refused(errno.ESHUTDOWN):
            rig.b.pump.step(rig.now)
        assert rig.b.drops == {"tun_write": 1}


def test_the_other_end_of_a_socket_pair_closing_is_the_same() -> None:
    with Rig() as rig:
        rig.a.tun.close()
        with refused(errno.ESHUTDOWN):
            rig.a.pump.step(rig.now)


def test_checksums_that_the_kernel_left_to_us_are_completed() -> None:
    with Rig() as rig:
        for protocol, offset in ((TCP, 16), (UDP, 6)):
            packet = between().but(protocol=protocol, payload=b"half a checksum")
            header = struct.pack("=BBHHHH", 1, 0, 0, 0, packet.transport_at, offset)
            rig.a.tun.send(header + packet.whole())
            rig.settle()
            assert [p for _, p in rig.b.read()] == [packet.build()]


def test_taking_the_tun_away_drops_what_comes() -> None:
    with Rig() as rig:
        rig.b.pump.set_tun(-1, 0, 1420)
        rig.a.write(udp_packet(100))
        rig.settle()
        assert rig.b.drops == {"tun_write": 1}
