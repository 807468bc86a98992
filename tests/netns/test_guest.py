"""A good guest: what the operator allowed by name is open, one client cannot fill the host's tables, and
after any sequence of starts, crashes and stops the host is what it was, byte for byte."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from bench.process import wait_for
from tests.netns.scene import OUTSIDE, PRIVATE, PROGRAM, WEB_PORT, Exit, Scene, inner_address

pytestmark = pytest.mark.netns

ALLOWED, CLOSED = "10.99.0.1", "10.99.1.1"
FLOWS = 50
SEND = """
import contextlib, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(int(sys.argv[2]), int(sys.argv[3])):
    for attempt in range(3):
        with contextlib.suppress(OSError):
            s.sendto(b"x", (sys.argv[1], port))
            break
    time.sleep(0.002)
"""
# What only counts and is nobody's setting.
COUNTERS = ("netfilter/nf_conntrack_count",)


@pytest.fixture
def scene():
    """A stage for each test: what is compared is the whole host, before and after."""
    with Scene() as stage:
        stage.exit.run("nft", "-f", "-", input_text="table inet other { chain c { }\n}\n")
        stage.exit.sysctl(f"net.ipv4.conf.{stage.egress}.rp_filter", "2")
        yield stage


def everything(scene: Scene) -> dict[str, list[str]]:
    """The rules, addresses, routes and policies, and every single setting below /proc/sys/net."""
    commands = {
        "rules": "nft list ruleset",
        "addresses": "ip -d address show",
        "routes": "ip -d route show table all; ip -6 -d route show table all",
        "policy": "ip -d rule show; ip -6 -d rule show",
        "sysctls": "cd /proc/sys/net && find . -type f -perm /444 | sort | xargs grep -Hs . || :",
    }
    seen = {name: scene.exit.output("sh", "-c", words).splitlines() for name, words in commands.items()}
    seen["sysctls"] = [line for line in seen["sysctls"] if not any(name in line for name in COUNTERS)]
    return seen


def same(now: dict[str, list[str]], before: dict[str, list[str]]) -> None:
    """Told line by line what differs, or nothing."""
    differ = {
        name: sorted(set(now[name]) ^ set(before[name])) or "the order"
        for name in before
        if now[name] != before[name]
    }
    assert differ == {}


def through_the_tunnel(scene: Scene, running: Exit, client: Any = None) -> tuple[Any, str]:
    """A client that sends everything to its tunnel, and its address there."""
    client = client or scene.client()
    config = running.create()["wg_config"]
    client.up(config)
    for half in ("0.0.0.0/1", "128.0.0.0/1"):
        client.host.route(half, "dev", client.interface)
    via = client.host.output("ip", "route", "show", "default").split()[2]
    client.host.route("198.51.100.1/32", "via", via)
    return client, inner_address(config)


def test_up_twice_down_crash_up_again_down_leaves_no_trace(scene: Scene):
    client = scene.client()
    before = everything(scene)
    assert len(before["sysctls"]) > 300
    running = scene.up()
    through_the_tunnel(scene, running, client)
    assert client.connects(OUTSIDE, WEB_PORT) == "open"
    during = everything(scene)
    assert during["rules"] != before["rules"]
    second = scene.exit.run(
        *PROGRAM, "up", "--state-dir", str(scene.state), "--interface", scene.interface, check=False
    )
    assert second.returncode == 4, second.stderr
    again = everything(scene)
    assert [name for name in during if again[name] != during[name]] in ([], ["rules"])
    for told in (during, again):
        told["rules"] = [re.sub(r"packets \d+ bytes \d+", "", line) for line in told["rules"]]
        told["rules"] = [line for line in told["rules"] if "elements" not in line and "ct count" not in line]
    assert again == during, "a start that is refused changes nothing"
    assert running.stop() == 0
    same(everything(scene), before)
    scene.up().process.kill()
    assert everything(scene) != before
    assert scene.up().stop() == 0
    same(everything(scene), before)


def test_the_same_with_everything_switched_on(scene: Scene):
    before = everything(scene)
    options = (
        *("--allow-networks", "10.99.0.0/24,192.168.99.0/24", "--conntrack-per-client", "9"),
        *("--nat-address", "198.51.100.1", "--public-ip", "203.0.113.7"),
    )
    scene.up(*options).process.kill()
    running = scene.up(*options)
    assert running.endpoint.startswith("203.0.113.7:"), "clients are told the address of the 1:1 NAT"
    assert running.stop() == 0
    same(everything(scene), before)


def test_only_what_was_allowed_by_name_is_open(scene: Scene):
    assert ALLOWED in PRIVATE
    scene.outside.address("lo", f"{CLOSED}/32")
    scene.exit.route("10.0.0.0/8", "via", OUTSIDE)
    running = scene.up("--allow-networks", "10.99.0.0/24")
    client, _ = through_the_tunnel(scene, running)
    script = f"import socket; socket.create_connection(('{CLOSED}', {WEB_PORT}), 10)"
    scene.exit.run(sys.executable, "-c", script)
    assert client.connects(ALLOWED, WEB_PORT) == "open"
    assert client.connects(CLOSED, WEB_PORT) == "No route to host"
    for address in PRIVATE[1:]:
        assert client.connects(address, WEB_PORT, 1.0) != "open"


def test_one_client_has_so_many_flows_and_no_more(scene: Scene):
    running = scene.up("--conntrack-per-client", str(FLOWS))
    client, address = through_the_tunnel(scene, running)
    client.host.run(sys.executable, "-c", SEND, OUTSIDE, "20000", str(20000 + 2 * FLOWS))

    def over_the_limit() -> int:
        lines = scene.exit.output("nft", "list", "ruleset").splitlines()
        (rule,) = [line for line in lines if "ct count" in line and "reject" in line]
        return int(rule.split("packets ")[1].split()[0])

    # They may still be on their way when they are sent.
    wait_for(lambda: over_the_limit() >= FLOWS, "those over the limit are refused")
    listed = scene.exit.output("conntrack", "-L", "-s", address)
    assert listed.count(f"src={address}") == FLOWS
    # The kernel says "No route to host" only so many times a second.
    assert client.connects(OUTSIDE, WEB_PORT, 1.0) != "open"
    other, _ = through_the_tunnel(scene, running)
    assert other.connects(OUTSIDE, WEB_PORT) == "open"
