"""What becomes of clients' IPv6 on hosts of different kinds; what a chosen way needs is in test_nat66.py."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from appliance.core.exitplan import Ipv6Mode
from appliance.errors import InUseError, PrivilegeError
from appliance.net import forwarding6
from appliance.net.forwarding import Forwarding
from appliance.net.forwarding6 import ALL, FORCE, Forwarding6
from appliance.net.holders import Holders
from appliance.net.ipv6 import NO_WAY_OUT, WayOut, find_way_out
from tests.appliance.net.lab import Namespace

PREFIX = IPv6Network("2001:db8:7::/64")
ASKING: tuple[Ipv6Mode | IPv6Network, ...] = ("auto", "nat", PREFIX)

pytestmark = pytest.mark.netns


@pytest.fixture
def host() -> Iterator[Namespace]:
    """Two links, up, and not yet any address that is more than link-local."""
    with Namespace("ipv6") as made:
        for name in ("eth0", "lan0"):
            made.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-far")
            made.run("ip", "link", "set", name, "up")
            made.run("ip", "link", "set", f"{name}-far", "up")
        yield made


@pytest.fixture
def holders(tmp_path: Path) -> Holders:
    return Holders(lambda _table: True, tmp_path / "holders")


@pytest.fixture
def forwarding(tmp_path: Path, holders: Holders) -> Forwarding:
    return Forwarding(tmp_path, holders)


def has_ipv6(host: Namespace, address: str = "2001:db8:e::1") -> None:
    host.run(
        "ip", "address", "add", f"{address}/64", "dev", "eth0"
    )  # tried for a second first, as it happens
    host.run("ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0")


def asked(
    host: Namespace,
    forwarding: Forwarding,
    mode: Ipv6Mode | IPv6Network,
    egress: str | None = None,
    lans: tuple[str, ...] = (),
) -> WayOut:
    return host.inside(
        lambda: find_way_out(
            mode, tunnel="sally0", table="sallyport_sally0", egress=egress, lans=lans, forwarding=forwarding
        )
    )


def forced(*names: str) -> Forwarding6:
    return Forwarding6({f"net/ipv6/conf/{name}/{FORCE}": "1" for name in names})


def test_it_goes_out_where_the_host_has_ipv6(host: Namespace, forwarding: Forwarding):
    has_ipv6(host)
    for mode in ASKING:
        assert asked(host, forwarding, mode) == WayOut("eth0", forced("sally0", "eth0"))
    found = asked(host, forwarding, "auto", lans=("lan0", "eth0"))
    assert found.needs == forced("sally0", "eth0", "lan0"), "answers come in there, too"


def test_not_where_it_is_not_wanted(host: Namespace, forwarding: Forwarding):
    has_ipv6(host)
    for mode in ("off", "reject"):
        assert asked(host, forwarding, mode) == WayOut()


def test_a_host_without_a_default_route_or_without_an_address(host: Namespace, forwarding: Forwarding):
    for mode in ASKING:
        assert asked(host, forwarding, mode) == WayOut(why=NO_WAY_OUT)
    host.run("ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0")
    assert asked(host, forwarding, "auto") == asked(host, forwarding, "nat") == WayOut(why=NO_WAY_OUT)
    assert asked(host, forwarding, PREFIX).egress == "eth0", "clients bring addresses of their own"
    assert asked(host, forwarding, PREFIX, egress="lan0") == WayOut(why=NO_WAY_OUT)


def test_a_private_address_is_translated_to_only_by_name(host: Namespace, forwarding: Forwarding):
    has_ipv6(host, "fd00:e::1")
    assert asked(host, forwarding, "auto") == WayOut(why=NO_WAY_OUT)
    assert asked(host, forwarding, "nat").egress == "eth0"


def test_the_tunnels_own_address_is_none_of_the_hosts(host: Namespace, forwarding: Forwarding):
    host.run("ip", "link", "add", "sally0", "type", "veth", "peer", "name", "sally0-far")
    host.run("ip", "link", "set", "sally0", "up")
    host.run("ip", "address", "add", "2001:db8:e::1/64", "dev", "sally0", "nodad")
    host.run("ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0")
    assert asked(host, forwarding, "nat") == WayOut(why=NO_WAY_OUT)


def test_settings_that_cannot_be_written(
    host: Namespace, forwarding: Forwarding, monkeypatch: pytest.MonkeyPatch
):
    """A container: who named what he wants is told what is missing, for others IPv6 is rejected."""
    has_ipv6(host)
    monkeypatch.setattr("appliance.net.forwarding.os.access", lambda *_: False)
    found = asked(host, forwarding, "auto")
    assert found.egress is None
    assert "read-only" in found.why
    for mode in ("nat", PREFIX):
        with pytest.raises(PrivilegeError, match="read-only"):
            asked(host, forwarding, mode)


def test_only_one_exit_of_an_older_host(
    host: Namespace, forwarding: Forwarding, holders: Holders, monkeypatch: pytest.MonkeyPatch
):
    """Its table lets nothing else be forwarded: clients of a second one would wait for ever."""
    monkeypatch.setattr(forwarding6, "FORCE", "no_such_setting")
    has_ipv6(host)
    host.inside(lambda: holders.join(ALL, "sallyport_other0", "0"))
    found = asked(host, forwarding, "auto")
    assert found.egress is None
    assert "only one" in found.why
    for mode in ("nat", PREFIX):
        with pytest.raises(InUseError, match="only one"):
            asked(host, forwarding, mode)
    host.inside(lambda: holders.leave(ALL, "sallyport_other0"))
    host.inside(lambda: holders.join(ALL, "sallyport_sally0", "0"))
    assert asked(host, forwarding, "auto").needs.closes, "its own, from before a crash"
