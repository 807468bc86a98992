"""join.c and split.c against the kernel itself, in a namespace that forwards between TUNs (forwarder.py).

A superpacket that join.c made, forwarded to a TUN without offloads, leaves as the packets that the kernel
cuts it into: they must be those that were joined. Forwarded to a TUN with offloads, it comes out whole: what
split.c makes of it must be what the kernel cut. Cases chosen by hand; test_offload_property.py draws them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.crypto_ext import forwarder as place
from tests.crypto_ext.forwarder import Forwarder
from tests.crypto_ext.joining import TIMESTAMPS, build, join, run_of
from tests.crypto_ext.packets import ACK, CWR, FIN, PSH, TCP, UDP, V6, Packet, cut
from tests.crypto_ext.test_split import ECN, Header, header_of, split

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def forwarder() -> Iterator[Forwarder]:
    with Forwarder(f"sp-leaf-{os.getpid()}") as forwarder:
        yield forwarder


def check(forwarder: Forwarder, header: Header, data: bytes, originals: list[Packet]) -> None:
    expected = build([packet.but(ttl=packet.ttl - 1) for packet in originals])
    assert forwarder.cut([(header, data)]) == expected, "the kernel cuts it into what was joined"
    [(came_with, whole)] = forwarder.whole([(header, data)])
    assert came_with.gso_type == header.gso_type, "it came out in one piece"
    assert split(whole, came_with) == expected, "split.c cuts it as the kernel does"


@pytest.mark.parametrize("sizes", [[1368, 1368], [1000] * 20 + [17], [1340] * 47])
@pytest.mark.parametrize("flow", [
    Packet(ident=65500), Packet(options=TIMESTAMPS, tos=2, ident=9),
    Packet(options=TIMESTAMPS, flow_label=5, **V6), Packet(protocol=UDP, ident=3),
    Packet(protocol=UDP, tos=0x28, **V6),
], ids=["tcp4", "tcp4 with timestamps", "tcp6", "udp4", "udp6"])  # fmt: skip
def test_joined_packets(forwarder, flow, sizes):
    if flow.protocol == UDP:
        forwarder.needs_uso()
    originals = run_of(flow, sizes, last_psh=flow.protocol == TCP)
    [item] = join(build(originals))
    check(forwarder, Header(*item.header), item.data, originals)


@pytest.mark.parametrize("family", [4, 6])
def test_a_superpacket_with_flags_that_are_never_joined(forwarder, family):
    packet = Packet(payload=bytes(3500), flags=ACK | CWR | PSH | FIN, tos=2, **(V6 if family == 6 else {}))
    header = header_of(packet, 1000)
    check(forwarder, header._replace(gso_type=header.gso_type | ECN), packet.whole(), cut(packet, 1000))


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("family", [4, 6])
def test_one_packet_whose_checksum_is_left_to_the_device(forwarder, family, protocol):
    packet = Packet(protocol=protocol, payload=b"odd length: 15b", **(V6 if family == 6 else {}))
    header = header_of(packet, 0)._replace(gso_type=0)
    check(forwarder, header, packet.whole(), [packet])


@pytest.mark.parametrize(("release", "outcome"), [((6, 1), pytest.xfail.Exception), ((6, 2), AssertionError)])
def test_a_kernel_may_lack_uso_only_where_linux_had_none(monkeypatch, release, outcome):
    monkeypatch.setattr(place, "kernel", lambda: release)
    old = Forwarder("never entered")
    old.uso = False
    with pytest.raises(outcome, match="USO"):
        old.needs_uso()
    old.uso = True
    old.needs_uso()
