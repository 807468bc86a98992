"""The fault seam: it fails the calls it is told to, no others, and counts them."""

from __future__ import annotations

import errno
from collections.abc import Callable

from tests.crypto_ext.conftest import Fault
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
