"""The system calls: each can be made to fail, and none waits, whatever the descriptor was opened for."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable

import pytest

from tests.crypto_ext.conftest import Fault
from tests.crypto_ext.rig import Rig, tcp_super, udp_packet


@pytest.mark.parametrize("kind", [kind for kind in Fault if kind != Fault.POLL])
def test_each_can_be_made_to_fail(
    faults: Callable[..., None], hits: Callable[[Fault], int], kind: Fault
) -> None:
    with Rig(join=True) as rig:
        rig.b.write(udp_packet(100, back=True))  # the source of what a answers is known then
        rig.settle()
        faults(kind, errno.EAGAIN, times=1)
        for _ in range(3):
            rig.a.tun.send(tcp_super(9)[0])
            rig.settle()
        assert hits(kind) == 1
        assert len(rig.b.read()) >= 2
        assert rig.a.drops == {}


def test_sleeping_can_be_made_to_fail(faults: Callable[..., None], hits: Callable[[Fault], int]) -> None:
    with Rig() as rig:
        faults(Fault.POLL, errno.EINTR, times=1)
        thread = threading.Thread(target=rig.a.pump.run)
        thread.start()
        while hits(Fault.POLL) == 0:
            time.sleep(0.001)
        rig.a.pump.stop()
        thread.join(10)
        assert not thread.is_alive()


def test_a_blocking_socket_is_not_waited_for() -> None:
    with Rig() as rig:
        rig.a.udp.setblocking(True)
        assert rig.a.pump.step(rig.now) == 0
        rig.a.write(udp_packet(100))
        rig.settle()
        assert len(rig.b.read()) == 1
