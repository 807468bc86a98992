"""IPv6 of clients, from the configuration as it is handed out: the host decides, unless it is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

import pytest

from appliance.core.ula import tunnel_prefix
from tests.netns.scene import OUTSIDE, WEB_PORT, Client, Exit, Scene
from tests.netns.test_guest import everything, same

pytestmark = pytest.mark.netns

FAR = "2001:db8:f::2"
PREFIX = "2001:db8:7::/64"
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


def give_the_host_ipv6(scene: Scene) -> None:
    scene.exit.address(scene.egress, "2001:db8:e::1/64")
    (far,) = re.findall(r"^\d+: (\S+)@", scene.outside.output("ip", "-o", "link", "show", "type", "veth"))[:1]
    scene.outside.address(far, "2001:db8:e::2/64")
    scene.exit.route("default", "via", "2001:db8:e::2")


def start(scene: Scene, client: Client, *options: str) -> tuple[Exit, dict[str, Any]]:
    running = scene.up(*options)
    made = running.create()
    client.quick_up(made["wg_config"])
    return running, made


def addresses(config: str) -> tuple[IPv4Interface, IPv6Interface]:
    (both,) = re.findall(r"^Address = (.*)$", config, re.MULTILINE)
    v4, v6 = both.split(", ")
    return IPv4Interface(v4), IPv6Interface(v6)


def refused(running: Exit) -> dict[str, int]:
    text = running.scene.command("status", "--state-dir", str(running.scene.state), "--json").stdout
    counted: dict[str, int] = json.loads(text)["refused"]
    return counted


def sees(client: Client) -> str:
    """The address of the client, as the outside sees it over IPv6."""
    return client.curl("-6", f"http://[{FAR}]:{WEB_PORT + 1}/ip").strip()


def test_off_says_nothing_of_it(scene: Scene):
    config = scene.up("--ipv6", "off").create()["wg_config"]
    assert re.search(r"^Address = [0-9.]+/24$", config, re.MULTILINE)
    assert re.search(r"^AllowedIPs = 0\.0\.0\.0/0$", config, re.MULTILINE)


@pytest.mark.parametrize("options", [(), ("--ipv6", "reject")])
def test_without_ipv6_on_the_host_nothing_leaks_past_the_tunnel(scene: Scene, options: tuple[str, ...]):
    client = with_ipv6_of_its_own(scene)
    before = everything(scene)
    running, made = start(scene, client, *options)
    v4, v6 = addresses(made["wg_config"])
    assert (v4.network.prefixlen, v6.network.prefixlen) == (24, 128)
    assert v6.ip in tunnel_prefix(v4.network)
    assert "AllowedIPs = 0.0.0.0/0, ::/0\n" in made["wg_config"]
    assert client.connects(OUTSIDE, WEB_PORT) == "open", "IPv4 as ever"
    assert client.connects(FAR, WEB_PORT + 1) == PROHIBITED, "at once, not after minutes"
    curl = ("curl", "-6", "-sS", "-m", "10", f"http://[{FAR}]:{WEB_PORT + 1}/ip")
    failed = client.host.run(*curl, check=False)
    assert failed.returncode == 7, "refused: a time-out would be 28"
    assert refused(running)["ipv6"] >= 2
    assert "level=warning" not in running.process.stderr
    during = everything(scene)
    ours = f"/{running.interface}/"
    changed = [line for line in set(during["sysctls"]) - set(before["sysctls"]) if ours not in line]
    assert not [line for line in changed if "ipv6" in line], "no setting of IPv6 was touched"
    assert running.stop() == 0
    same(everything(scene), before)


def test_neither_the_host_nor_another_client_is_reached(scene: Scene):
    one, other = scene.client(), scene.client()
    running, _ = start(scene, one)
    made = running.create()
    other.quick_up(made["wg_config"])
    _, v6 = addresses(made["wg_config"])
    gateway = str(IPv6Interface(f"{v6.ip}/64").network.network_address + 0x0A650001)
    scene.serve(scene.exit, 8000, "::")
    scene.serve(other.host, 8000, "::")
    assert gateway in scene.exit.output("ip", "-6", "address", "show", "dev", running.interface)
    for address in (gateway, str(v6.ip)):
        assert one.connects(address, 8000) == PROHIBITED


def test_a_host_whose_ipv6_is_switched_off_rejects_all_the_same(scene: Scene):
    scene.exit.sysctl("net.ipv6.conf.all.disable_ipv6", "1")
    client = with_ipv6_of_its_own(scene)
    before = everything(scene)
    running, _ = start(scene, client)
    assert client.connects(FAR, WEB_PORT + 1) == PROHIBITED
    assert client.connects(OUTSIDE, WEB_PORT) == "open"
    assert running.stop() == 0
    same(everything(scene), before)


def test_an_ipv6_address_that_is_not_the_clients_own_is_dropped(scene: Scene):
    client = scene.client()
    running, _ = start(scene, client)
    client.host.address(client.interface, "2001:db8:9::9/128")
    assert not client.pings(FAR, "2001:db8:9::9")
    client.host.run("ip", "address", "del", "2001:db8:9::9/128", "dev", client.interface)
    before = refused(running).get("ipv6", 0)
    assert client.connects(FAR, WEB_PORT + 1) == PROHIBITED
    assert refused(running)["ipv6"] > before
    assert running.stop() == 0


@pytest.mark.parametrize("options", [(), ("--ipv6", "nat")])
def test_translated_with_the_hosts_address(scene: Scene, options: tuple[str, ...]):
    """The whole way, as handed out; nothing private is reached, bytes are billed, the host is as it was."""
    give_the_host_ipv6(scene)
    scene.outside.address("lo", "fd00:99::1/128")
    client = with_ipv6_of_its_own(scene)
    before = everything(scene)
    running, made = start(scene, client, *options)
    _, v6 = addresses(made["wg_config"])
    assert v6.ip in IPv6Interface("fd00::/8").network
    assert sees(client) == "2001:db8:e::1", "by the exit, not past it"
    size = 1_000_000
    fetched = client.curl("-o", "/dev/null", "-w", "%{size_download}", f"http://[{FAR}]:81/bytes/{size}")
    assert fetched == str(size)
    assert running.quiet_bytes(made["id"])[0] > size
    assert client.connects("fd00:99::1", WEB_PORT + 1) == PROHIBITED
    assert client.connects(OUTSIDE, WEB_PORT) == "open"
    running.end(made["id"])
    assert FAR not in scene.exit.output("conntrack", "-L", "-f", "ipv6"), "the next user inherits none"
    assert running.stop() == 0
    same(everything(scene), before)


def test_a_routed_prefix(scene: Scene):
    """Each client under an address of its own, answered there; nobody comes in uninvited."""
    give_the_host_ipv6(scene)
    scene.outside.route(PREFIX, "via", "2001:db8:e::1")
    client = with_ipv6_of_its_own(scene)
    before = everything(scene)
    running, made = start(scene, client, "--ipv6", PREFIX)
    v4, v6 = addresses(made["wg_config"])
    assert v6.ip == IPv6Address("2001:db8:7::") + int(v4.ip)
    assert v6.network.prefixlen == 128
    assert sees(client) == str(v6.ip)
    scene.serve(client.host, 8000, "::")
    knock = f"import socket; socket.create_connection(('{v6.ip}', 8000), 2)"
    assert scene.outside.run("python3", "-c", knock, check=False).returncode != 0
    assert refused(running)["uninvited"] > 0
    assert client.host.run("python3", "-c", knock, check=False).returncode == 0
    assert running.stop() == 0
    same(everything(scene), before)


def test_a_crash_in_between_leaves_no_trace(scene: Scene):
    give_the_host_ipv6(scene)
    before = everything(scene)
    for options in ((), ("--ipv6", PREFIX)):
        scene.up(*options).process.kill()
        assert everything(scene) != before
        assert scene.up(*options).stop() == 0
        same(everything(scene), before)


def test_a_session_from_before_goes_on_and_knows_nothing_of_it(scene: Scene):
    """An exit that spoke of IPv4 alone starts again with more: its clients keep what they were told."""
    give_the_host_ipv6(scene)
    client = with_ipv6_of_its_own(scene)
    running, made = start(scene, client, "--ipv6", "off")
    assert running.stop() == 0
    running = scene.up()
    assert client.connects(OUTSIDE, WEB_PORT, seconds=30) == "open"
    assert sees(client) == "2001:db8:c::2", "as it was before: past the exit"
    late = running.create()
    old, new = re.findall(r"Address = ([0-9.]+)", made["wg_config"] + late["wg_config"])
    assert old != new
    assert "terminated_at" not in running.session(made["id"])
    assert int(addresses(late["wg_config"])[1].ip) & 0xFFFFFFFF == int(IPv4Interface(new).ip)
