"""One sendmsg: where it goes, what it carries beside the data, and how long it is tried."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from tests.crypto_ext.conftest import Fault
from tests.crypto_ext.rig import Rig, endpoint, tcp_super, udp_packet, udp_socket

Faults = Callable[..., None]
Hits = Callable[[Fault], int]


def test_a_full_buffer_is_waited_for_and_then_given_up(faults: Faults, hits: Hits) -> None:
    with Rig() as rig:
        faults(Fault.SENDMSG, errno.EAGAIN, times=2)
        rig.a.write(udp_packet(100))
        rig.settle()
        assert len(rig.b.read()) == 1
        faults(Fault.SENDMSG, errno.EAGAIN)
        rig.a.write(udp_packet(100), udp_packet(100))
        rig.settle()
        assert rig.b.read() == []
        assert rig.a.drops == {"udp_send": 2}


def test_a_train_waits_once_for_all_its_sends(faults: Faults, hits: Hits) -> None:
    """Ten waits of a millisecond in all, with the table lock held, however many sends it takes."""
    with Rig(join=True, gso=False) as rig:
        faults(Fault.SENDMSG, errno.EAGAIN)
        faults(Fault.POLL, errno.EINTR)  # counts them
        rig.a.tun.send(tcp_super(30)[0])
        rig.settle()
        assert hits(Fault.POLL) == 10
        assert hits(Fault.SENDMSG) == 30 + 10
        assert rig.a.drops == {"udp_send": 30}
        faults(Fault.SENDMSG, 0)
        rig.a.tun.send(tcp_super(30)[0])
        rig.settle()
        assert len(rig.b.packets()) == 30
        assert rig.a.drops == {"udp_send": 30}


def test_what_waits_does_not_come_at_the_price_of_the_rest(faults: Faults, hits: Hits) -> None:
    """A buffer that has room again after a wait takes all that follows."""
    with Rig(join=True, gso=False) as rig:
        faults(Fault.SENDMSG, errno.EAGAIN, times=9)
        rig.a.tun.send(tcp_super(30)[0])
        rig.settle()
        assert len(rig.b.packets()) == 30
        assert rig.a.drops == {}


def test_old_news_of_a_closed_port_is_not_an_error(faults: Faults) -> None:
    with Rig() as rig:
        faults(Fault.SENDMSG, errno.ECONNREFUSED, times=1)
        rig.a.write(udp_packet(100))
        rig.settle()
        assert len(rig.b.read()) == 1
        assert rig.a.drops == {}


def test_without_the_peer_s_family_nothing_is_sent() -> None:
    with Rig() as rig:
        rig.a.pump.set_udp(-1, rig.a.udp.fileno(), 0)
        rig.a.write(udp_packet(100))
        rig.settle()
        assert rig.a.drops == {"udp_send": 1}


def test_two_families_at_once() -> None:
    with Rig() as rig:
        six = udp_socket("::1")
        rig.b.pump.set_udp(rig.b.udp.fileno(), six.fileno(), 0)
        other = udp_socket("::1")
        rig.a.pump.set_udp(rig.a.udp.fileno(), other.fileno(), 0)
        rig.a.pump.set_endpoint(rig.a.peer, endpoint(six))
        rig.a.write(udp_packet(100))
        rig.settle()
        assert len(rig.b.read()) == 1
        assert rig.b.view.endpoint == endpoint(other)  # it roamed from IPv4 to IPv6
        rig.b.write(udp_packet(100, back=True))
        rig.settle()
        assert len(rig.a.read()) == 1
        six.close()
        other.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_carries_what_it_needs_and_no_more(faults: Faults, hits: Hits, host: str) -> None:
    """The faults count what a message carries; EAGAIN is only tried again."""
    with Rig(host) as rig:
        for fault in (Fault.SENDMSG_GSO, Fault.SENDMSG_SOURCE):
            faults(fault, errno.EAGAIN, times=1)
        rig.a.pump.forget_source(rig.a.peer)
        rig.a.write(udp_packet(100))
        rig.settle()
        assert (hits(Fault.SENDMSG_GSO), hits(Fault.SENDMSG_SOURCE)) == (0, 0)  # one packet, no address known
        rig.a.write(udp_packet(100), udp_packet(100))
        rig.settle()
        assert (hits(Fault.SENDMSG_GSO), hits(Fault.SENDMSG_SOURCE)) == (1, 0)
        rig.b.write(udp_packet(100, back=True))
        rig.settle()  # b answers from where a reached it
        assert hits(Fault.SENDMSG_SOURCE) == 1
        assert len(rig.b.read()) >= 1
        assert len(rig.a.read()) == 1
        assert (rig.a.drops, rig.b.drops) == ({}, {})
