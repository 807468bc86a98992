"""IPv6 of clients: by default nothing is said of it; with `reject` it enters the tunnel and ends there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any

import pytest

from appliance.core.ula import tunnel_prefix
from tests.netns.scene import OUTSIDE, WEB_PORT, Client, Exit, Scene
from tests.netns.test_guest import everything, same

pytestmark = pytest.mark.netns

FAR = "2001:db8:f::2"
PROHIBITED = "Permission denied"  # what connect() makes of "administratively prohibited"


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as stage:
        yield stage


def with_ipv6_of_its_own(scene: Scene) -> Client:
    """A client whose own network reaches the outside by IPv6, past the exit."""
    client = scene.client()
    near, far = scene.lab.wire(client.host, scene.outside)
    client.host.address(near, "2001:db8:c::2/64")
    scene.outside.address(far, "2001:db8:c::1/64")
    scene.outside.address("lo", f"{FAR}/128")
    client.host.route("default", "via", "2001:db8:c::1")
    scene.serve(scene.outside, WEB_PORT + 1, "::")
    assert client.connects(FAR, WEB_PORT + 1) == "open"
    return client


def start(scene: Scene, client: Client, *options: str) -> tuple[Exit, dict[str, Any]]:
    running = scene.up(*options)
    made = running.create()
    client.quick_up(made["wg_config"])
    return running, made


def rejected(scene: Scene) -> int:
    listed = scene.exit.output("nft", "list", "ruleset").splitlines()
    (rule,) = [line for line in listed if "icmpv6" in line]
    return int(rule.split("packets ")[1].split()[0])


def test_off_says_nothing_of_it(scene: Scene):
    config = scene.up().create()["wg_config"]
    assert re.search(r"^Address = [0-9.]+/24$", config, re.MULTILINE)
    assert re.search(r"^AllowedIPs = 0\.0\.0\.0/0$", config, re.MULTILINE)


def test_rejected_and_nothing_leaks_past_the_tunnel(scene: Scene):
    client = with_ipv6_of_its_own(scene)
    before = everything(scene)
    running, made = start(scene, client, "--ipv6", "reject")
    (addresses,) = re.findall(r"^Address = (.*)$", made["wg_config"], re.MULTILINE)
    v4, v6 = addresses.split(", ")
    pool = IPv6Interface(v6)
    assert v4.endswith("/24")
    assert pool.network.prefixlen == 128
    assert pool.ip in tunnel_prefix(IPv4Interface(v4).network)
    assert "AllowedIPs = 0.0.0.0/0, ::/0\n" in made["wg_config"]
    assert client.connects(OUTSIDE, WEB_PORT) == "open", "IPv4 as ever"
    assert client.connects(FAR, WEB_PORT + 1) == PROHIBITED, "at once, not after minutes"
    during = everything(scene)
    ours = f"/{running.interface}/"
    changed = [line for line in set(during["sysctls"]) - set(before["sysctls"]) if ours not in line]
    assert not [line for line in changed if "ipv6" in line], "no setting of IPv6 was touched"
    assert running.stop() == 0
    same(everything(scene), before)


def test_neither_the_host_nor_another_client_is_reached(scene: Scene):
    one, other = scene.client(), scene.client()
    running, _ = start(scene, one, "--ipv6", "reject")
    made = running.create()
    other.quick_up(made["wg_config"])
    (v6,) = re.findall(r"^Address = .*, (.*)/128$", made["wg_config"], re.MULTILINE)
    gateway = str(IPv6Interface(f"{v6}/64").network.network_address + 0x0A650001)
    scene.serve(scene.exit, 8000, "::")
    scene.serve(other.host, 8000, "::")
    assert gateway in scene.exit.output("ip", "-6", "address", "show", "dev", running.interface)
    for address in (gateway, v6):
        assert one.connects(address, 8000) == PROHIBITED


def test_a_host_without_ipv6_still_lets_nothing_leak(scene: Scene):
    scene.exit.sysctl("net.ipv6.conf.default.disable_ipv6", "1")
    client = with_ipv6_of_its_own(scene)
    running, _ = start(scene, client, "--ipv6", "reject")
    assert client.connects(FAR, WEB_PORT + 1) == "silent"
    assert client.connects(OUTSIDE, WEB_PORT) == "open"
    assert "IPv6 switched off" in running.process.stderr


def test_an_ipv6_address_that_is_not_the_clients_own_is_dropped(scene: Scene):
    client = scene.client()
    running, _ = start(scene, client, "--ipv6", "reject")
    client.host.address(client.interface, "2001:db8:9::9/128")
    assert not client.pings(FAR, "2001:db8:9::9")
    client.host.run("ip", "address", "del", "2001:db8:9::9/128", "dev", client.interface)
    before = rejected(scene)
    assert client.connects(FAR, WEB_PORT + 1) == PROHIBITED
    assert rejected(scene) > before
    assert running.stop() == 0


def test_translated_with_the_hosts_address(scene: Scene):
    """The whole way, as handed out; nothing private is reached, and the host is as it was."""
    scene.exit.address(scene.egress, "2001:db8:e::1/64")
    (far,) = re.findall(r"^\d+: (\S+)@", scene.outside.output("ip", "-o", "link", "show", "type", "veth"))[:1]
    scene.outside.address(far, "2001:db8:e::2/64")
    scene.exit.route("default", "via", "2001:db8:e::2")
    scene.outside.address("lo", "fd00:99::1/128")
    client = with_ipv6_of_its_own(scene)
    before = everything(scene)
    running, made = start(scene, client, "--ipv6", "nat")
    assert client.connects(FAR, WEB_PORT + 1) == "open"
    listed = scene.exit.output("conntrack", "-L", "-f", "ipv6")
    assert "dst=2001:db8:e::1 " in listed, "answers go to the exit, not past it"
    assert client.connects("fd00:99::1", WEB_PORT + 1) == PROHIBITED
    assert client.connects(OUTSIDE, WEB_PORT) == "open"
    running.end(made["id"])
    assert FAR not in scene.exit.output("conntrack", "-L", "-f", "ipv6"), "the next user inherits none"
    assert running.stop() == 0
    same(everything(scene), before)
