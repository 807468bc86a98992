"""What the operator decides about clients' traffic, in a lab: open networks, flows per client, 1:1 NAT."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from appliance.core.exitplan import Policy
from appliance.errors import UsageError
from appliance.net.exit import ExitNetwork
from tests.appliance.net.lab import (
    CLIENT_ADDRESSES,
    EXIT_ADDRESS,
    LAN_ADDRESS,
    OUTSIDE_ADDRESS,
    PRIVATE_ADDRESS,
    Lab,
    connect,
    lab,
    listen,
    udp,
)

pytestmark = pytest.mark.netns

NAT_ADDRESS = "198.51.100.9"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path) as made:
        yield made


def count(place: Lab, chain: str, word: str) -> int:
    """The packet counter of the one rule of a chain of ours that holds `word`."""
    listed = place.exit.run("nft", "list", "chain", "inet", "sallyport_sally0", chain)
    (line,) = (line for line in listed.splitlines() if word in line)
    words = line.split()
    return int(words[words.index("packets") + 1])


def refused(place: Lab) -> int:
    """How many new flows went over the limit."""
    return count(place, "from_clients", "ct count over")


def entries(place: Lab, client: str) -> int:
    return int(place.exit.run("conntrack", "-L", "-s", client).count("src=" + client))


def send_new_flows(place: Lab, client: socket.socket, first: int, flows: int) -> None:
    """Datagrams to as many ports of the outside, no faster than a TUN's queue takes them."""
    for start in range(first, first + flows, 100):
        ports = range(start, min(start + 100, first + flows))
        seen = refused(place) + count(place, "postrouting", "masquerade")
        for port in ports:
            # An earlier one may have been refused: the socket says so, once, and does not send.
            for _ in range(3):
                with contextlib.suppress(OSError):
                    client.sendto(b"x", (OUTSIDE_ADDRESS, port))
                    break
        for _ in range(500):
            if refused(place) + count(place, "postrouting", "masquerade") >= seen + len(ports):
                break
            time.sleep(0.01)


def test_a_network_allowed_by_name_is_open_and_its_neighbours_stay_closed(place: Lab):
    place.outside.run("ip", "address", "add", "10.66.1.2/32", "dev", "outside0")
    place.exit.run("ip", "route", "add", "10.66.1.0/24", "via", OUTSIDE_ADDRESS)
    place.start_exit(policy=Policy(allow_networks=(ip_network("10.66.0.0/24"),)))
    with listen(place.outside, 80) as server, connect(place.clients[0], PRIVATE_ADDRESS, 80):
        here, peer = server.accept()
        here.close()
        assert peer[0] == EXIT_ADDRESS, "translated there too: nobody inside knows the pool"
        with pytest.raises(OSError, match="No route to host"):
            connect(place.clients[0], "10.66.1.2", 80)
    with listen(place.outside, 25, PRIVATE_ADDRESS), pytest.raises(ConnectionRefusedError):
        connect(place.clients[0], PRIVATE_ADDRESS, 25)


def test_a_network_behind_another_interface_gets_its_answers_back(place: Lab):
    """They enter by that interface, so it must forward; and no longer when the exit ends."""
    before = place.settings()
    place.lan.run("ip", "address", "add", "10.77.0.2/32", "dev", "exit0")
    place.exit.run("ip", "route", "add", "10.77.0.0/24", "via", LAN_ADDRESS)
    place.start_exit(policy=Policy(allow_networks=(ip_network("10.77.0.2/32"),)))
    with listen(place.lan, 80) as server, connect(place.clients[0], "10.77.0.2", 80):
        here, peer = server.accept()
        here.close()
        assert peer[0] == "203.0.113.1"
    place.stop()
    assert place.settings() == before


def test_overlapping_names_are_fine(place: Lab):
    names = ("10.66.0.0/24", "10.66.0.2/32", "10.66.0.0/16", "192.168.0.0/16")
    place.start_exit(policy=Policy(allow_networks=tuple(ip_network(name) for name in names)))
    with listen(place.outside, 80) as server, connect(place.clients[0], PRIVATE_ADDRESS, 80):
        server.accept()[0].close()


def test_new_flows_over_the_limit_are_refused_and_counted(place: Lab):
    place.start_exit(policy=Policy(conntrack_per_client=20))
    with listen(place.outside, 80) as server, connect(place.clients[0], OUTSIDE_ADDRESS, 80) as there:
        here, _ = server.accept()
        with here, udp(place.clients[0]) as client:
            send_new_flows(place, client, 1000, 30)
            assert entries(place, CLIENT_ADDRESSES[0]) == 20
            assert refused(place) == 11
            with pytest.raises(OSError, match="No route to host"):
                connect(place.clients[0], OUTSIDE_ADDRESS, 80)
            # What is open goes on, and another client has its own count.
            there.sendall(b"still open")
            assert here.recv(100) == b"still open"
            with connect(place.clients[1], OUTSIDE_ADDRESS, 80):
                server.accept()[0].close()
            # Flows that end make room.
            place.exit.run("conntrack", "-D", "-s", CLIENT_ADDRESSES[0], "-p", "udp")
            before = refused(place)
            send_new_flows(place, client, 2000, 19)
            assert refused(place) == before
            assert entries(place, CLIENT_ADDRESSES[0]) == 20


def test_the_full_number(place: Lab):
    """4,096 by default; and refused flows leave nothing behind that would count."""
    place.start_exit()
    with udp(place.clients[0]) as client:
        send_new_flows(place, client, 1000, 4500)
        assert entries(place, CLIENT_ADDRESSES[0]) == 4096
        assert refused(place) == 4500 - 4096
    assert "flows_v4" in place.ruleset()
    place.stop()
    assert "flows_v4" not in place.ruleset()


def test_an_address_of_its_own(place: Lab, caplog: pytest.LogCaptureFixture):
    """The host does not own it; the network beyond sends it here."""
    place.outside.run("ip", "route", "add", f"{NAT_ADDRESS}/32", "via", EXIT_ADDRESS)
    place.exit.sysctl("net/ipv4/conf/lan0/forwarding", "1")
    with caplog.at_level(logging.WARNING):
        place.start_exit(policy=Policy(nat_address=IPv4Address(NAT_ADDRESS)))
    assert [record.getMessage() for record in caplog.records if "nat_address" in record.getMessage()]
    with listen(place.outside, 80) as server, connect(place.clients[0], OUTSIDE_ADDRESS, 80) as there:
        here, peer = server.accept()
        with here:
            assert peer[0] == NAT_ADDRESS
            here.sendall(b"and back")
            assert there.recv(100) == b"and back"
    with listen(place.lan, 80) as server, connect(place.clients[0], "203.0.113.2", 80):
        here, peer = server.accept()
        here.close()
        assert peer[0] == "203.0.113.1", "by another way out: the host's own there"


def test_an_address_that_the_host_owns_is_no_reason_to_warn(place: Lab, caplog: pytest.LogCaptureFixture):
    place.exit.run("ip", "address", "add", f"{NAT_ADDRESS}/32", "dev", "egress0")
    with caplog.at_level(logging.WARNING):
        place.start_exit(policy=Policy(nat_address=IPv4Address(NAT_ADDRESS)))
    assert caplog.records == []
    with listen(place.outside, 80) as server, connect(place.clients[0], OUTSIDE_ADDRESS, 80):
        here, peer = server.accept()
        here.close()
        assert peer[0] == NAT_ADDRESS


def test_an_address_of_its_own_needs_an_egress(place: Lab):
    place.exit.run("ip", "route", "del", "default")
    policy = Policy(nat_address=IPv4Address(NAT_ADDRESS))
    network = ExitNetwork(interface="sally0", state_dir=place.state_dir, policy=policy)
    with pytest.raises(UsageError, match="--egress"):
        place.exit.inside(network.check)
