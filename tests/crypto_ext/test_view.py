"""The view of one peer, and the byte counters that `wg show` prints, to the byte."""

from __future__ import annotations

import pytest

from crypto_ext import Pump
from tests.crypto_ext.rig import Rig, udp_packet


def test_counters_are_udp_payload_of_authenticated_messages() -> None:
    with Rig(keys=False) as rig:
        rig.a.pump.handshake_out(rig.a.peer, bytes(148), retry=False, now_ns=rig.now)
        rig.shake()  # a keepalive: 32
        for _ in range(10):
            rig.a.write(udp_packet(84))  # padded to 96, and 32 around it
            rig.settle()
        assert rig.a.view.tx_bytes == 148 + 32 + 10 * 128
        assert rig.b.view.rx_bytes == 32 + 10 * 128
        assert (rig.a.view.rx_bytes, rig.b.view.tx_bytes) == (0, 0)


def test_a_fresh_peer_shows_nothing() -> None:
    pump = Pump(seed=1)
    view = pump.peer(pump.add_peer(bytes(32)))
    assert view.endpoint is None
    assert not any(getattr(view, name) for name in type(view).__slots__)
    with pytest.raises(FileNotFoundError):
        pump.peer(12345)
    pump.close()
