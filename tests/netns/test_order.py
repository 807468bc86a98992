"""Order inside a flow, through whole programs: what one end sends reaches the other in the same order.

Linux counts the segments that TCP received before their turn (TCPOFOQueue), and what their sender took for
reordering. Where nothing was lost, there must be none. A true loss makes segments come before their turn as
well, so after a run with retransmissions less is sent, down to so little that only a program which does not
keep the order could fail.

A veth pair does not keep the order itself: what is sent waits in a queue of the CPU that sent it, a sender
may be moved to another CPU, and the two queues are served as it happens. So the wires of these roads are
told to use the queue of one CPU (one_queue.py), and bare wires are measured as well: what comes
out of order here, a program put out of order.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from bench.iperf import PORT as IPERF_PORT
from bench.lab import Host, Lab
from bench.process import LabError, wait_for
from bench.roads import BUILDERS, Road, build_pair
from tests.netns.one_queue import keep_order
from tests.netns.scene import OURS

pytestmark = pytest.mark.netns

MEGABYTES = (200, 50, 10, 2, 2, 2)
WINDOW = "512K"  # what is under way fits every queue: nothing need be lost
OUT_OF_ORDER = ("TCPOFOQueue", "TCPSACKReorder", "TCPTSReorder", "TCPRenoReorder")
PORT = 9000
SOCKETS, DATAGRAMS = 3, 20_000
TRIES = 5  # of which one must bring half of them

# Numbered datagrams of several sockets, in runs of one size, so that some are joined and some stand alone.
GIVE = """
import random, socket, sys, time
address, port, sockets, count = sys.argv[1], *map(int, sys.argv[2:])
out = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(sockets)]
for s in out:
    s.connect((address, port))
numbers, dice = [0] * sockets, random.Random(1)
while sum(numbers) < count:
    which, size = dice.randrange(sockets), dice.choice([4, 60, 600, 1300, 1390])
    for _ in range(dice.randrange(1, 60)):
        out[which].send(numbers[which].to_bytes(4, "big") + bytes(size - 4))
        numbers[which] += 1
    time.sleep(0.001)
for _ in range(100):  # until nobody is there any more, or it is lost ever again
    time.sleep(0.1)
    try:
        out[0].send(b"end")
    except ConnectionRefusedError:
        break
"""
# Prints the numbers that came from each socket, as they came.
TAKE = """
import collections, json, socket, sys
came = collections.defaultdict(list)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: all of them, should we have to wait
    s.bind((sys.argv[1], int(sys.argv[2])))
    while True:
        data, (_, port) = s.recvfrom(65536)
        if data == b"end":
            break
        came[port].append(int.from_bytes(data[:4], "big"))
print(json.dumps(list(came.values())))
"""


def hosts(road: Road) -> list[Host]:
    """Every host of a road, once."""
    between = [end.host for end in (road.near, road.far) if end is not None]
    return list({host.name: host for host in (road.client, road.server.host, *between)}.values())


@pytest.fixture(scope="module", params=[*BUILDERS, "bare wires"])
def road(request: pytest.FixtureRequest) -> Iterator[Road]:
    with Lab() as lab:
        made = build_pair(lab, None) if request.param == "bare wires" else BUILDERS[request.param](lab, OURS)
        for host in hosts(made):
            keep_order(host)
        yield made


def counters(host: Host) -> dict[str, int]:
    """Everything that this host has counted of TCP."""
    lines = host.output("cat", "/proc/net/netstat", "/proc/net/snmp").splitlines()
    pairs = zip(lines[::2], lines[1::2], strict=True)
    tcp = [
        (names.split(), values.split()) for names, values in pairs if names.startswith(("TcpExt:", "Tcp:"))
    ]
    return {name: int(n) for names, values in tcp for name, n in zip(names[1:], values[1:], strict=True)}


def during(road: Road, *command: str) -> dict[str, int]:
    """What both ends counted while the client ran iperf3, if need be with a new server."""
    ends = (road.client, road.server.host)
    before = [counters(host) for host in ends]
    try:
        road.client.run(*command, seconds=60)
    except LabError:  # it has not seen yet that the client before is gone, and says that it is busy
        road.server.restart()
        before = [counters(host) for host in ends]
        road.client.run(*command, seconds=60)
    after = [counters(host) for host in ends]
    return {
        name: sum(now[name] - then[name] for now, then in zip(after, before, strict=True))
        for name in (*OUT_OF_ORDER, "RetransSegs", "OutSegs")
    }


@pytest.mark.parametrize("way", [(), ("-R",)], ids=["up", "down"])
@pytest.mark.parametrize("streams", [1, 4])
def test_no_segment_comes_before_its_turn(road: Road, way: tuple[str, ...], streams: int) -> None:
    iperf = ("iperf3", "-c", road.address, "-p", str(IPERF_PORT), "-w", WINDOW, "-P", str(streams), *way)
    for megabytes in MEGABYTES:
        counted = during(road, *iperf, "-n", f"{megabytes}M")
        if not any(counted[name] for name in OUT_OF_ORDER):
            break
        assert counted["RetransSegs"] > 0, f"nothing was lost, but out of order: {counted}"
    else:
        pytest.fail(f"not even {MEGABYTES[-1]} MB came in order: {counted}")


def test_datagrams_of_one_socket_come_in_their_order(road: Road) -> None:
    receiver = road.server.host
    for _ in range(TRIES):
        taking = receiver.start(sys.executable, "-c", TAKE, road.address, str(PORT))
        wait_for(lambda: receiver.listens(PORT, "udp"), "the receiver listens")
        road.client.run(sys.executable, "-c", GIVE, road.address, str(PORT), str(SOCKETS), str(DATAGRAMS))
        assert taking.wait(20) == 0, taking.stderr
        came = json.loads(taking.stdout)
        for numbers in came:
            assert numbers == sorted(set(numbers))
        if len(came) == SOCKETS and sum(map(len, came)) > DATAGRAMS // 2:
            break
    else:
        pytest.fail("a loss is none of this test's business, but this is silence")
