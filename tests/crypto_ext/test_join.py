"""join.c: what a run of packets becomes, byte for byte, and where a run ends.

What must stay apart is in test_join_apart.py, the race with a model of the rules in test_join_race.py."""

from __future__ import annotations

import errno

import pytest

from tests.crypto_ext import leaf
from tests.crypto_ext.joining import (
    BOTH,
    TCP_MAY,
    TIMESTAMPS,
    UDP_MAY,
    Item,
    alone,
    build,
    join,
    run_of,
)  # fmt: skip
from tests.crypto_ext.packets import TCP, UDP, V6, Packet, cut

FLOWS = {
    "tcp4": Packet(), "tcp4 with timestamps": Packet(options=TIMESTAMPS, tos=2), "tcp6": Packet(**V6),
    "tcp6 with timestamps": Packet(options=TIMESTAMPS, flow_label=7, tos=0x2A, **V6),
    "udp4": Packet(protocol=UDP), "udp6": Packet(protocol=UDP, flow_label=0xFFFFF, **V6),
}  # fmt: skip
each_flow = pytest.mark.parametrize("flow", FLOWS)


def check_joined(item: Item, packets: list[Packet]) -> None:
    """One item, field by field: header, pseudo-header sum, and all bytes."""
    first = packets[0]
    whole = first.but(
        payload=b"".join(packet.payload for packet in packets), flags=packets[-1].flags | first.flags
    )
    gso_type = 5 if first.protocol == UDP else 1 if first.family == 4 else 4
    sum_offset = 6 if first.protocol == UDP else 16
    assert item.kind == (2 if first.protocol == UDP else 1)
    assert item.header == (1, gso_type, first.header_len, len(first.payload), first.transport_at, sum_offset)
    assert item.data == whole.whole()
    assert item.parts == build(packets)


@each_flow
@pytest.mark.parametrize("sizes", [[1000, 1000], [1000] * 7, [1000, 999], [500] * 40 + [1], [1, 1, 1]])
def test_a_run_becomes_one_item_and_comes_apart_again(flow, sizes):
    packets = run_of(FLOWS[flow], sizes)
    [item] = join(build(packets))
    check_joined(item, packets)
    whole = packets[0].but(payload=b"".join(packet.payload for packet in packets), flags=packets[-1].flags)
    assert [part.build() for part in cut(whole, sizes[0])] == build(packets)


@pytest.mark.parametrize("flow", ["tcp4", "tcp6"])
def test_psh_goes_into_the_item_and_ends_it(flow):
    one = run_of(FLOWS[flow], [800] * 3, last_psh=True)
    two = run_of(FLOWS[flow].but(sequence=FLOWS[flow].sequence + 2400), [800] * 2)
    items = join(build(one + two))
    check_joined(items[0], one)
    check_joined(items[1], two)


@each_flow
def test_nothing_follows_a_shorter_one(flow):
    packets = run_of(FLOWS[flow], [800, 800, 300, 300, 800])
    items = join(build(packets))
    check_joined(items[0], packets[:3])
    assert len(items) == 3  # 800 is longer than 300
    assert all(alone(item) for item in items[1:])


@each_flow
def test_a_longer_one_begins_anew(flow):
    packets = run_of(FLOWS[flow], [500, 600, 600])
    items = join(build(packets))
    assert alone(items[0])
    check_joined(items[1], packets[1:])


def test_interleaved_tcp_flows_each_get_their_item():
    flows = [Packet(ports=(port, 443)) for port in range(5000, 5030)] + [Packet(ports=(9, 9), **V6)]
    runs = [run_of(flow, [700] * 8) for flow in flows]
    items = join(build([packet for row in zip(*runs, strict=True) for packet in row]))
    assert len(items) == len(flows)
    for item, run in zip(items, runs, strict=True):
        check_joined(item, run)


def test_256_flows_in_one_burst():
    packets = [Packet(ports=(n, 1), payload=b"x" * 9) for n in range(256)]
    assert all(alone(item) for item in join(build(packets)))


def test_udp_extends_only_the_newest_item_of_all():
    one = run_of(Packet(protocol=UDP), [400] * 4)
    other = Packet(protocol=UDP, ports=(1, 2), payload=b"between")
    items = join(build([*one[:2], other, *one[2:]]))
    check_joined(items[0], one[:2])
    assert alone(items[1])
    check_joined(items[2], one[2:])
    tcp = run_of(Packet(), [400] * 2)
    items = join(build([one[0], tcp[0], one[1], tcp[1]]))  # TCP may pass over UDP, UDP not over TCP
    assert [len(item.parts) for item in items] == [1, 2, 1]


def test_udp_ends_at_64_segments():
    packets = run_of(Packet(protocol=UDP), [100] * 130)
    assert [len(item.parts) for item in join(build(packets))] == [64, 64, 2]


@pytest.mark.parametrize("flow", ["tcp4", "tcp6", "udp4", "udp6"])
def test_an_item_never_grows_beyond_65535_bytes(flow):
    size = 1400
    fits = (65535 - FLOWS[flow].header_len) // size
    packets = run_of(FLOWS[flow], [size] * (fits + 2))
    items = join(build(packets))
    check_joined(items[0], packets[:fits])
    check_joined(items[1], packets[fits:])
    rest = 65535 - FLOWS[flow].header_len - fits * size
    for last, counts in [(rest, [fits + 1]), (rest + 1, [fits, 1])]:
        packets = run_of(FLOWS[flow], [size] * fits + [last])
        assert [len(item.parts) for item in join(build(packets))] == counts


def test_room_for_256_packets():
    ffi, lib = leaf.load()
    state = ffi.gc(lib.sp_join_new(), lib.sp_join_free)
    lib.sp_join_allow(state, BOTH)
    packet = ffi.from_buffer(Packet(payload=b"x").build())
    for _ in range(lib.SP_JOIN_PACKETS):
        assert lib.sp_join_add(state, packet, len(packet)) == 0
    assert lib.sp_join_add(state, packet, len(packet)) == -errno.ENOBUFS
    assert lib.sp_join_items(state) == lib.SP_JOIN_PACKETS
    lib.sp_join_clear(state)
    assert lib.sp_join_add(state, packet, len(packet)) == 0


@pytest.mark.parametrize(
    ("may", "joined"), [(0, ()), (TCP_MAY, (TCP,)), (UDP_MAY, (UDP,)), (BOTH, (TCP, UDP))]
)
def test_what_is_not_allowed_is_passed_on_alone(may, joined):
    for protocol in (TCP, UDP):
        items = join(build(run_of(Packet(protocol=protocol), [300] * 3)), may)
        if protocol in joined:
            assert len(items) == 1
        else:
            assert [alone(item) for item in items] == [True] * 3
