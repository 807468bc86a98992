"""Receiving: GRO batches, truncation, and the address of ours that a datagram reached."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

from crypto_ext import Offload
from tests.crypto_ext.conftest import Fault
from tests.crypto_ext.rig import Rig, endpoint, udp_packet, udp_socket

UDP_SEGMENT = 103


def test_a_batch_is_split_and_its_odd_tail_too() -> None:
    with Rig() as rig, udp_socket("127.0.0.1") as sender:
        segment = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", 40))]
        sender.sendmsg([b"\x04\0\0\0" + b"x" * 36] * 3 + [b"\x04\0\0\0"], segment, 0, rig.b.udp.getsockname())
        rig.settle()
        assert rig.b.drops == {"unknown_index": 3, "malformed": 1}
        stats = rig.b.pump.stats()
        assert (stats.udp_receives, stats.udp_datagrams_in) == (2, 5)  # one more: the keepalive before


def test_without_gro_it_works_one_by_one() -> None:
    with Rig() as rig:
        plain = udp_socket("127.0.0.1", gro=False)
        rig.b.udp.close()
        rig.b.udp = plain
        rig.b.pump.set_udp(plain.fileno(), -1, Offload.UDP_GSO)
        rig.a.pump.set_endpoint(rig.a.peer, endpoint(plain))
        rig.a.write(*(udp_packet(100) for _ in range(8)))
        rig.settle()
        assert len(rig.b.read()) == 8


def test_the_answer_leaves_from_the_address_that_was_reached() -> None:
    with Rig() as rig:
        wide = udp_socket("0.0.0.0")
        rig.b.udp.close()
        rig.b.udp = wide
        rig.b.pump.set_udp(wide.fileno(), -1, Offload.UDP_GSO)
        for host in ("127.0.0.5", "127.0.0.77"):
            rig.a.pump.set_endpoint(rig.a.peer, endpoint(wide, host))
            rig.a.write(udp_packet(100), udp_packet(100))  # two: GRO keeps them together
            rig.settle()
            assert len(rig.b.read()) == 2
            rig.b.write(udp_packet(100, back=True))
            rig.settle()
            assert str(rig.a.view.endpoint.host) == host
        rig.b.pump.forget_source(rig.b.peer)
        rig.b.write(udp_packet(100, back=True))
        rig.settle()
        assert str(rig.a.view.endpoint.host) == "127.0.0.1"  # the routing table's choice


def test_errors_of_receiving_pass(faults: Callable[..., None]) -> None:
    with Rig() as rig:
        rig.a.write(udp_packet(100))
        rig.a.pump.step(rig.now)
        for error in (errno.ECONNREFUSED, errno.ENETUNREACH, errno.ENOMEM):
            faults(Fault.RECVMMSG, error, times=1)
            assert rig.b.pump.step(rig.now) == 0
        rig.settle()
        assert len(rig.b.read()) == 1
