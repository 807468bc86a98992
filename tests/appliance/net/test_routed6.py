"""Clients with addresses of a prefix that is routed to this host, on new kernels and on old ones."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from ipaddress import IPv6Network, ip_network
from pathlib import Path

import pytest

from appliance.core.exitplan import Policy
from appliance.errors import InUseError
from appliance.net import forwarding6
from appliance.net.exit import ExitNetwork
from tests.appliance.net.lab import PATIENCE_SECONDS, Lab, lab, wait_until

pytestmark = pytest.mark.netns

HOST, OUTSIDE, NEIGHBOUR = "2001:db8:e::1", "2001:db8:e::2", "fd00:5::2"
PREFIX = IPv6Network("2001:db8:7::/64")
CLIENT, OTHER = "2001:db8:7::a65:2", "2001:db8:7::a65:3"
ROUTED = Policy(ipv6=PREFIX)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path) as made:
        made.outside.run("ip", "address", "add", f"{OUTSIDE}/64", "dev", "outside0", "nodad")
        made.exit.run("ip", "address", "add", f"{HOST}/64", "dev", "egress0", "nodad")
        made.exit.run("ip", "-6", "route", "add", "default", "via", OUTSIDE)
        made.outside.run("ip", "-6", "route", "add", str(PREFIX), "via", HOST)
        for number, address in enumerate((CLIENT, OTHER)):
            made.give(number, address)
        yield made


@pytest.fixture(params=["this kernel", "an old one"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "an old one":
        monkeypatch.setattr(forwarding6, "FORCE", "no_such_setting")


def settings(place: Lab) -> dict[str, str]:
    def read() -> dict[str, str]:
        files = [
            file
            for file in Path("/proc/sys/net/ipv6").rglob("*")
            if file.is_file() and "flush" not in file.name
        ]
        return {str(file): file.read_text() for file in files if "stable_secret" not in file.name}

    return place.exit.inside(read)


def udp6(place: Lab, where: str, address: str, port: int) -> socket.socket:
    namespace = {"outside": place.outside, "client": place.clients[0], "other": place.clients[1]}[where]

    def open_one() -> socket.socket:
        one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        one.settimeout(PATIENCE_SECONDS)
        one.bind((address, port))
        return one

    return namespace.inside(open_one)


def test_seen_outside_as_itself_and_answered(place: Lab, kernel: None):
    before = settings(place), place.ruleset()
    place.start_exit(policy=ROUTED)
    assert place.network is not None
    assert place.network.ipv6 == "routed"
    with udp6(place, "outside", OUTSIDE, 9) as outside, udp6(place, "client", CLIENT, 9) as client:
        client.sendto(b"hello", (OUTSIDE, 9))
        assert outside.recvfrom(100)[1][:2] == (CLIENT, 9)
        outside.sendto(b"answer", (CLIENT, 9))
        assert client.recv(100) == b"answer"
    place.stop()
    assert (settings(place), place.ruleset()) == before


def test_nobody_outside_opens_a_connection_to_a_client(place: Lab):
    place.start_exit(policy=ROUTED)
    with udp6(place, "outside", OUTSIDE, 9) as outside, udp6(place, "client", CLIENT, 9) as client:
        outside.sendto(b"uninvited", (CLIENT, 9))
        wait_until(lambda: refused(place).get("uninvited") == 1)
        client.sendto(b"hello", (OUTSIDE, 9))
        outside.recv(100)
        outside.sendto(b"answer", (CLIENT, 9))
        assert client.recv(100) == b"answer"


def refused(place: Lab) -> dict[str, int]:
    network = place.network
    assert network is not None
    return place.exit.inside(network.refused)


def test_neither_the_host_nor_another_client_nor_a_private_network(place: Lab):
    place.outside.run("ip", "address", "add", f"{NEIGHBOUR}/128", "dev", "lo")
    place.exit.run("ip", "-6", "route", "add", f"{NEIGHBOUR}/128", "via", OUTSIDE)
    place.start_exit(policy=ROUTED)
    with udp6(place, "client", CLIENT, 9) as client:
        for address in (OTHER, HOST, "2001:db8:7::a65:1"):
            client.sendto(b"x", (address, 9))
        wait_until(lambda: (refused(place)["other_client"], refused(place)["host"]) == (1, 2))
        client.sendto(b"x", (NEIGHBOUR, 9))
        wait_until(lambda: refused(place)["private_network"] == 1)


def test_a_private_network_by_name_behind_another_interface(place: Lab):
    """Its answers come in by that interface, so it must forward IPv6; its IPv4 is left alone."""
    v4 = place.settings()
    place.lan.run("ip", "address", "add", f"{NEIGHBOUR}/64", "dev", "exit0", "nodad")
    place.exit.run("ip", "address", "add", "fd00:5::1/64", "dev", "lan0", "nodad")
    place.lan.run("ip", "-6", "route", "add", "default", "via", "fd00:5::1")
    before = settings(place)
    policy = Policy(ipv6=PREFIX, allow_networks=(ip_network("fd00:5::/64"),))
    place.start_exit(policy=policy)
    changed = {path for path, value in place.settings().items() if v4.get(path) != value}
    assert not [path for path in changed if "lan0" in path]
    words = ("ping", "-6", "-n", "-c", "1", "-W", "5", "-I", CLIENT, NEIGHBOUR)
    place.clients[0].run(*words)
    place.stop()
    assert settings(place) == before


def test_open_flows_of_one_client(place: Lab):
    place.start_exit(policy=Policy(ipv6=PREFIX, conntrack_per_client=5))
    with udp6(place, "client", CLIENT, 9) as client:
        for port in range(2000, 2005):
            client.sendto(b"x", (OUTSIDE, port))
        assert refused(place)["too_many_flows"] == 0
        client.sendto(b"x", (OUTSIDE, 3000))
        wait_until(lambda: refused(place)["too_many_flows"] == 1)
        with udp6(place, "other", OTHER, 9) as other, udp6(place, "outside", OUTSIDE, 9) as outside:
            other.sendto(b"another has its own count", (OUTSIDE, 9))
            assert outside.recvfrom(100)[1][:2] == (OTHER, 9)


def test_segment_size_is_clamped_to_the_tunnel(place: Lab):
    place.start_exit(policy=ROUTED, mtu=1300)
    with place.outside.inside(lambda: socket.create_server((OUTSIDE, 80), family=socket.AF_INET6)) as server:
        server.settimeout(PATIENCE_SECONDS)
        with place.clients[0].inside(
            lambda: socket.create_connection((OUTSIDE, 80), PATIENCE_SECONDS)
        ) as there:
            here, peer = server.accept()
            with here:
                assert peer[0] == CLIENT
                for end in (here, there):
                    assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1300 - 60


def test_a_prefix_that_is_part_of_a_link_works_once_the_router_knows(
    place: Lab, caplog: pytest.LogCaptureFixture
):
    part = IPv6Network("2001:db8:e:0:7::/80")
    with caplog.at_level(logging.WARNING):
        place.start_exit(policy=Policy(ipv6=part))
    (warning,) = caplog.records
    assert "part of a link" in warning.getMessage()
    command = f"ip -6 route add {part} via {HOST}"
    assert command in str(warning.__dict__)
    place.give(0, "2001:db8:e:0:7::2")
    place.outside.run(*command.split())
    place.clients[0].run("ping", "-6", "-n", "-c", "1", "-W", "5", "-I", "2001:db8:e:0:7::2", OUTSIDE)


def test_a_prefix_in_which_the_host_lives_is_refused(place: Lab):
    policy = Policy(ipv6=IPv6Network("2001:db8:e::/64"))
    network = ExitNetwork(interface="sally0", state_dir=place.state_dir, policy=policy)
    with pytest.raises(InUseError, match="the IPv6 prefix 2001:db8:e::/64"):
        place.exit.inside(network.check)


def test_without_a_way_out_it_is_rejected(place: Lab, caplog: pytest.LogCaptureFixture):
    place.exit.run("ip", "-6", "route", "del", "default")
    before = settings(place)
    place.start_exit(policy=ROUTED)
    assert "no way out for IPv6" in caplog.text
    with pytest.raises(PermissionError):
        place.clients[0].inside(lambda: socket.create_connection((OUTSIDE, 80), 5))
    assert refused(place)["ipv6"] > 0
    place.stop()
    assert settings(place) == before
