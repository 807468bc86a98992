"""IPv6 of clients goes on to the internet, on new kernels and on old ones, and the host keeps its own."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Address
from pathlib import Path

import pytest

from appliance.core.exitplan import Policy
from appliance.core.ula import tunnel_prefix
from appliance.net import forwarding6
from appliance.net.forwarding import Forwarding
from tests.appliance.net.lab import Lab, lab

pytestmark = pytest.mark.netns

OUTSIDE_V6 = "2001:db8:e::2"
PRIVATE_V6 = "fd00:99::1"
NAT = Policy(ipv6="nat")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path) as made:
        made.exit.sysctl("net/ipv6/conf/egress0/accept_dad", "0")
        made.outside.run("ip", "address", "add", f"{OUTSIDE_V6}/64", "dev", "outside0", "nodad")
        made.outside.run("ip", "address", "add", f"{PRIVATE_V6}/128", "dev", "lo")
        yield made


@pytest.fixture
def advertised(place: Lab) -> Lab:
    """A host whose address and default route come from router advertisements."""
    heed(place)
    return place


def heed(place: Lab) -> None:
    for _ in range(200):  # the first ones may come from an address that is not link-local yet
        advertise(place)
        if "proto ra" in default_route(place) and "2001:db8:e:" in addresses(place):
            break
        time.sleep(0.1)
    assert "proto ra" in default_route(place)
    assert "2001:db8:e:" in addresses(place)


@pytest.fixture
def old_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """One before 6.17: without the setting that makes it simple."""
    monkeypatch.setattr(forwarding6, "FORCE", "no_such_setting")


def wait(condition: object) -> None:
    assert callable(condition)
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come true")


def advertise(place: Lab, lifetime_seconds: int = 1800) -> None:
    """One router advertisement (RFC 4861) with a prefix for addresses (RFC 4862), from the outside."""
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 7200, 3600, 0) + IPv6Address("2001:db8:e::").packed
    message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, lifetime_seconds, 0, 0) + prefix

    def send() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
            index = socket.if_nametoindex("outside0")
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            raw.sendto(message, ("ff02::1", 0, 0, index))

    # The link-local address to send from is tried for a moment first.
    for _ in range(300):
        try:
            return place.outside.inside(send)
        except OSError:
            time.sleep(0.01)
    place.outside.inside(send)


def default_route(place: Lab) -> str:
    return place.exit.run("ip", "-6", "route", "show", "default")


def addresses(place: Lab) -> str:
    return place.exit.run("ip", "-6", "address", "show", "dev", "egress0", "scope", "global", "-tentative")


def settings(place: Lab) -> dict[str, str]:
    """Every IPv6 setting of the exit's host that can be read."""

    def read() -> dict[str, str]:
        found = {}
        for file in Path("/proc/sys/net/ipv6").rglob("*"):
            try:
                found[str(file)] = file.read_text()
            except OSError:
                continue  # a directory, or one that cannot be read
        return found

    return place.exit.inside(read)


def pings(place: Lab, address: str) -> bool:
    words = f"ping -6 -n -c 1 -W 2 {address} >&2 && echo yes || echo no"
    return place.clients[0].run("sh", "-c", words) == "yes\n"


def works(place: Lab) -> None:
    """Out under the host's address; and not to anything that is private."""
    with_listener = place.outside.inside(
        lambda: socket.create_server((OUTSIDE_V6, 80), family=socket.AF_INET6)
    )
    with with_listener as server:
        server.settimeout(10)
        with place.clients[0].inside(lambda: socket.create_connection((OUTSIDE_V6, 80), 10)) as there:
            here, peer = server.accept()
            with here:
                assert peer[0].split("/")[0] in addresses(place)
                here.sendall(b"and back")
                assert there.recv(100) == b"and back"
    assert pings(place, OUTSIDE_V6)
    place.exit.run("ip", "-6", "route", "replace", f"{PRIVATE_V6}/128", "via", OUTSIDE_V6)
    place.exit.run("ping", "-6", "-c", "1", "-W", "2", PRIVATE_V6)
    prefix = tunnel_prefix(IPv4Network("10.101.0.0/24"))
    own = next(word for word in addresses(place).split() if word.startswith("2001:")).split("/")[0]
    for closed in (PRIVATE_V6, own, str(prefix.network_address + 0x0A650001), str(prefix[0x0A650003])):
        assert not pings(place, closed), closed
    place.exit.run("ip", "-6", "route", "del", f"{PRIVATE_V6}/128")


def test_on_this_kernel(advertised: Lab):
    before = settings(advertised)
    advertised.start_exit(policy=NAT)
    works(advertised)
    route = default_route(advertised)
    assert "proto ra" in route
    advertised.stop()
    assert settings(advertised) == before


def test_on_an_old_kernel_the_hosts_own_route_stays(advertised: Lab, old_kernel: None):
    """The trap: a host that forwards throws its advertised default route away, and hears of no other."""
    place = advertised
    before = settings(place)
    place.start_exit(policy=NAT)
    assert place.exit.sysctl("net/ipv6/conf/all/forwarding") == "1"
    assert place.exit.sysctl("net/ipv6/conf/egress0/accept_ra") == "2"
    works(place)
    assert "proto ra" in default_route(place)
    advertise(place, lifetime_seconds=9000)
    wait(lambda: int(default_route(place).split("expires ")[1].split("sec")[0]) > 8000)
    place.stop()
    assert settings(place) == before
    assert "proto ra" in default_route(place)


def test_what_the_host_did_not_forward_it_still_does_not(advertised: Lab, old_kernel: None):
    place = advertised
    place.lan.run("ip", "address", "add", "2001:db8:a::2/64", "dev", "exit0", "nodad")
    place.exit.run("ip", "address", "add", "2001:db8:a::1/64", "dev", "lan0", "nodad")
    place.lan.run("ip", "-6", "route", "add", "default", "via", "2001:db8:a::1")
    place.outside.run("ip", "-6", "route", "add", "2001:db8:a::/64", "via", addresses_of(place))
    place.lan.run("ping", "-6", "-c", "1", "-W", "5", "2001:db8:a::1")
    knock = f"ping -6 -n -c 1 -W 1 {OUTSIDE_V6} >&2 && echo yes || echo no"
    assert place.lan.run("sh", "-c", knock) == "no\n"
    place.start_exit(policy=NAT)
    assert place.lan.run("sh", "-c", knock) == "no\n"
    # The way itself is whole: a host that forwards of its own accord is left to it.
    place.stop()
    place.exit.sysctl("net/ipv6/conf/all/forwarding", "1")
    place.start_exit(policy=NAT)
    assert place.lan.run("sh", "-c", knock) == "yes\n"


def addresses_of(place: Lab) -> str:
    return next(word for word in addresses(place).split() if word.startswith("2001:")).split("/")[0]


def test_after_a_crash_all_is_put_back(advertised: Lab, old_kernel: None):
    place = advertised
    # Somebody's own, which must be on again. The kernel forgets advertised routes at that.
    place.exit.sysctl("net/ipv6/conf/lan0/forwarding", "1")
    heed(place)
    before = settings(place)
    place.start_exit(policy=NAT)
    place.crash()
    assert place.exit.sysctl("net/ipv6/conf/all/forwarding") == "1"
    place.start_exit(policy=NAT)
    works(place)
    place.crash()
    place.start_exit()  # and a start that no longer wants it
    assert place.exit.sysctl("net/ipv6/conf/all/forwarding") == "0"
    assert "proto ra" in default_route(place)
    assert "proto ra" in default_route(place)
    place.stop()
    assert settings(place) == before
    assert place.exit.sysctl("net/ipv6/conf/lan0/forwarding") == "1"


def test_a_stop_that_is_killed_half_way_loses_no_old_value(
    advertised: Lab, old_kernel: None, monkeypatch: pytest.MonkeyPatch
):
    """Between "nothing forwards" and the interfaces that did before: what is there now is nobody's choice."""
    place = advertised
    place.exit.sysctl("net/ipv6/conf/lan0/forwarding", "1")
    heed(place)
    before = settings(place)
    place.start_exit(policy=NAT)
    assert place.network is not None
    written: list[str] = []
    write = Forwarding._write

    def killed(self: Forwarding, path: str, value: str) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write(self, path, value)

    with monkeypatch.context() as patch:
        patch.setattr(Forwarding, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            place.exit.inside(place.network.undo)
    assert written == [forwarding6.ALL]
    assert place.exit.sysctl("net/ipv6/conf/lan0/forwarding") == "0"
    place.crash()
    place.start_exit(policy=NAT)
    place.stop()
    assert settings(place) == before
    assert "proto ra" in default_route(place)


def test_without_a_way_out_it_is_rejected(place: Lab, caplog: pytest.LogCaptureFixture):
    before = settings(place)
    place.start_exit(policy=NAT)
    assert "no way out for IPv6" in caplog.text
    with pytest.raises(PermissionError):
        place.clients[0].inside(lambda: socket.create_connection((OUTSIDE_V6, 80), 5))
    place.stop()
    assert settings(place) == before
