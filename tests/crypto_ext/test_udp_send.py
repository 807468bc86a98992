"""Every fallback of sending, on the fault build: the kernel refuses, the packets arrive all the same."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from crypto_ext import Event, Notice
from tests.crypto_ext.conftest import Fault
from tests.crypto_ext.rig import Rig, tcp_super, udp_packet

Faults = Callable[..., None]
Hits = Callable[[Fault], int]


def transfer(rig: Rig) -> None:
    """One superpacket from a to b, whole."""
    whole, packet = tcp_super(47)
    rig.a.tun.send(whole)
    rig.settle()
    assert b"".join(p[packet.header_len :] for _, p in rig.b.read()) == packet.payload


def test_eio_switches_segmentation_off_for_good(faults: Faults, hits: Hits) -> None:
    with Rig(join=True) as rig:
        faults(Fault.SENDMSG_GSO, errno.EIO)
        transfer(rig)
        assert hits(Fault.SENDMSG_GSO) == 1  # one refusal is enough
        assert rig.a.pump.take_events() == Event.NOTICE
        assert rig.a.pump.stats().notices == Notice.UDP_GSO
        rig.pass_time(179)
        transfer(rig)
        rig.pass_time(86400)
        rig.shake()
        transfer(rig)
        assert hits(Fault.SENDMSG_GSO) == 1
        assert rig.a.pump.take_events() == 0  # said once
        assert rig.a.drops == {}


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EMSGSIZE])
def test_a_small_path_switches_it_off_for_ten_minutes(faults: Faults, hits: Hits, error: int) -> None:
    with Rig(join=True) as rig:
        faults(Fault.SENDMSG_GSO, error)
        transfer(rig)
        once = hits(Fault.SENDMSG_GSO)
        assert rig.a.pump.stats().notices == Notice.UDP_GSO_PATH
        rig.pass_time(599)
        rig.shake()
        transfer(rig)
        assert hits(Fault.SENDMSG_GSO) == once
        rig.pass_time(1)
        transfer(rig)
        assert hits(Fault.SENDMSG_GSO) > once  # tried again
        assert rig.a.drops == {}


def test_one_peer_s_path_is_not_another_s(faults: Faults, hits: Hits) -> None:
    with Rig(join=True) as rig:
        faults(Fault.SENDMSG_GSO, errno.EIO, times=1)
        transfer(rig)
        sends = rig.b.pump.stats().udp_sends
        rig.b.write(udp_packet(100, back=True), udp_packet(100, back=True))
        rig.settle()
        assert rig.b.pump.stats().udp_sends - sends == 1  # b's peer still gets two in one
        assert len(rig.a.read()) >= 1


def test_a_new_address_is_a_new_path(faults: Faults, hits: Hits) -> None:
    with Rig(join=True) as rig:
        faults(Fault.SENDMSG_GSO, errno.EIO, times=1)
        transfer(rig)
        rig.a.pump.set_endpoint(rig.a.peer, rig.a_to_b._replace(host=type(rig.a_to_b.host)("127.0.0.2")))
        rig.a.pump.set_endpoint(rig.a.peer, rig.a_to_b)
        sends = rig.a.pump.stats().udp_sends
        transfer(rig)
        assert rig.a.pump.stats().udp_sends - sends == 2


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENETUNREACH])
def test_a_refused_source_is_forgotten(faults: Faults, hits: Hits, error: int) -> None:
    with Rig(gso=False) as rig:
        rig.b.write(udp_packet(100, back=True))  # b heard from a: its source is cached
        rig.settle()
        assert len(rig.a.read()) == 1
        faults(Fault.SENDMSG_SOURCE, error)
        rig.b.write(udp_packet(100, back=True), udp_packet(200, back=True))
        rig.settle()
        assert len(rig.a.read()) == 2
        assert hits(Fault.SENDMSG_SOURCE) == 1
        assert rig.b.pump.stats().notices == Notice.SOURCE
        assert rig.b.drops == {}


def test_segmentation_at_fault_leaves_the_source_alone(faults: Faults, hits: Hits) -> None:
    with Rig(join=True) as rig:
        rig.b.write(udp_packet(100, back=True))
        rig.settle()  # a heard from b: its source is cached
        faults(Fault.SENDMSG_GSO, errno.EINVAL)
        transfer(rig)
        assert rig.a.pump.stats().notices == Notice.UDP_GSO_PATH
        faults(Fault.SENDMSG_SOURCE, errno.EPERM)  # proof: it is still named
        rig.a.write(udp_packet(100))
        rig.settle()
        assert hits(Fault.SENDMSG_SOURCE) == 1


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOBUFS, errno.EHOSTUNREACH, errno.ENETUNREACH])
def test_an_error_costs_the_packet_and_nothing_else(faults: Faults, error: int) -> None:
    with Rig() as rig:
        tx = rig.a.view.tx_bytes
        faults(Fault.SENDMSG, error, times=1)
        rig.a.write(udp_packet(100))
        rig.settle()
        assert rig.a.drops == {"udp_send": 1}
        assert rig.a.view.tx_bytes == tx  # not sent, not counted
        assert rig.a.view.unanswered_at_ns == 0
        rig.a.write(udp_packet(100))
        rig.settle()
        assert len(rig.b.read()) == 1
