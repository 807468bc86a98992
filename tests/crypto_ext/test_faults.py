"""Faults: the calls that shall fail do, no others, and they are counted."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable

from crypto_ext import Pump
from tests.crypto_ext.conftest import HANGS, Fault
from tests.crypto_ext.rig import Rig, udp_packet


def test_skip_and_times(faults: Callable[..., None], hits: Callable[[Fault], int]) -> None:
    with Rig(gso=False) as rig:
        faults(Fault.SENDMSG, errno.EPERM, skip=2, times=3)
        rig.a.write(*(udp_packet(60 + 40 * n) for n in range(8)))
        rig.settle()
        assert [len(p) for _, p in rig.b.read()] == [60, 100, 260, 300, 340]
        assert hits(Fault.SENDMSG) == 3


def test_kinds_are_told_apart(faults: Callable[..., None], hits: Callable[[Fault], int]) -> None:
    with Rig() as rig:
        faults(Fault.SENDMSG_GSO, errno.EPERM)
        faults(Fault.SENDMSG_SOURCE, errno.EPERM)
        rig.a.write(udp_packet(100))  # alone, and from no particular source
        rig.settle()
        assert len(rig.b.read()) == 1
        assert (hits(Fault.SENDMSG_GSO), hits(Fault.SENDMSG_SOURCE)) == (0, 0)


def test_a_call_that_hangs_goes_on_when_it_is_let_go(
    faults: Callable[..., None], hits: Callable[[Fault], int]
) -> None:
    pump = Pump(seed=1)
    faults(Fault.POLL, HANGS)
    thread = threading.Thread(target=pump.run)
    thread.start()
    while hits(Fault.POLL) == 0:
        time.sleep(0.001)
    pump.stop()
    thread.join(0.1)
    assert thread.is_alive()
    faults(Fault.POLL, 0, times=0)
    thread.join(10)
    assert not thread.is_alive()
    pump.close()
