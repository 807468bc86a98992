"""Handshake messages through the pump: endpoint, source, counters, timers."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from crypto_ext import Datagram
from tests.crypto_ext.rig import SECOND, Rig, endpoint, refused, udp_socket
from tests.crypto_ext.test_gate import KEYS, message


def received(rig: Rig, data: bytes) -> Datagram:
    """That message, sent by a stranger who proves to be a's peer at b."""
    rig.b.pump.set_mac1_keys(KEYS)
    with udp_socket("127.0.0.1") as client:
        client.sendto(data, rig.b.udp.getsockname())
        rig.settle()
    (up,) = rig.b.pump.take_datagrams()
    return up


def test_out_goes_to_the_endpoint_and_counts_as_traffic() -> None:
    with Rig(keys=False) as rig:
        rig.a.pump.set_keepalive(rig.a.peer, 25, rig.now)
        rig.pass_time(5)
        rig.a.pump.handshake_out(rig.a.peer, message(1, 148), retry=False, now_ns=rig.now)
        assert rig.b.datagrams() == [message(1, 148)]
        assert rig.a.view.tx_bytes == 148
        assert rig.a.view.persistent_at_ns == rig.now + 25 * SECOND
        assert rig.a.view.unanswered_at_ns == 0


def test_out_without_an_endpoint_is_refused() -> None:
    with Rig(keys=False) as rig:
        rig.a.pump.set_endpoint(rig.a.peer, None)
        with refused(errno.EDESTADDRREQ):
            rig.a.pump.handshake_out(rig.a.peer, bytes(148), retry=False, now_ns=rig.now)


@pytest.mark.parametrize("length", [0, 193])
def test_out_takes_handshake_messages_only(length: int) -> None:
    with Rig(keys=False) as rig, refused(errno.EINVAL):
        rig.a.pump.handshake_out(rig.a.peer, bytes(length), retry=False, now_ns=rig.now)


def test_a_retry_forgets_the_source_first() -> None:
    with Rig() as rig:
        wide = udp_socket("0.0.0.0")
        rig.b.udp.close()
        rig.b.udp = wide
        rig.b.pump.set_udp(wide.fileno(), -1, 0)
        rig.a.pump.set_endpoint(rig.a.peer, endpoint(wide, "127.0.0.9"))
        rig.shake()
        sources = []
        for retry in (False, True):
            rig.b.pump.handshake_out(rig.b.peer, bytes(148), retry=retry, now_ns=rig.now)
            sources.append(rig.a.udp.recvfrom(2000)[1][0])
        assert sources == ["127.0.0.9", "127.0.0.1"]


def test_in_moves_the_peer_and_cancels_unanswered_data() -> None:
    with Rig() as rig:
        from tests.crypto_ext.rig import udp_packet

        rig.b.write(udp_packet(100, back=True))
        rig.b.pump.step(rig.now)
        assert rig.b.view.unanswered_at_ns != 0
        before = rig.b.view
        up = received(rig, message(2, 92))
        assert rig.b.view.endpoint == before.endpoint  # not yet: only Python knows whose it is
        rig.pass_time(1)
        rig.b.pump.handshake_in(rig.b.peer, up, rig.now)
        assert rig.b.view.endpoint == up.source
        assert rig.b.view.rx_bytes == before.rx_bytes + 92
        assert rig.b.view.unanswered_at_ns == 0
        assert rig.b.view.seen_ns == rig.now


def test_done_is_what_wg_shows() -> None:
    with Rig() as rig:
        rig.a.pump.handshake_done(rig.a.peer, 1_700_000_000 * SECOND)
        assert replace(rig.a.view, handshake_wall_ns=0) == replace(
            rig.a.view, handshake_wall_ns=rig.a.view.handshake_wall_ns - 1_700_000_000 * SECOND
        )


def test_a_removed_peer_has_no_handshakes() -> None:
    with Rig() as rig:
        up = received(rig, message(1, 148))
        rig.b.pump.remove_peer(rig.b.peer)
        for door in (
            lambda: rig.b.pump.handshake_in(rig.b.peer, up, rig.now),
            lambda: rig.b.pump.handshake_out(rig.b.peer, bytes(148), retry=False, now_ns=rig.now),
            lambda: rig.b.pump.handshake_done(rig.b.peer, 1),
        ):
            with pytest.raises(FileNotFoundError):
                door()
