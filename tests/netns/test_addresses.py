"""Which addresses, ports and pools an exit takes and tells, on hosts of different kinds."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from bench import wireguard
from tests.netns.scene import EXIT, OURS, WEB, Scene, inner_address

pytestmark = pytest.mark.netns


@pytest.fixture
def scene():
    with Scene() as stage:
        yield stage


def warnings_of(running):
    return [line for line in running.process.stderr.splitlines() if "level=warning" in line]


def test_port_zero_is_any_free_port_and_the_ready_line_says_which(scene):
    running = scene.up("--listen-port", "0", "--api", "[::1]:0", "--region", "ash-2")
    port, api_port = (int(text.rpartition(":")[2]) for text in (running.endpoint, running.api_address))
    assert port != 0
    assert scene.exit.listens(port, "udp")
    assert scene.exit.listens(api_port)
    assert running.api_address == f"[::1]:{api_port}"
    assert running.api("GET", "/v1/regions") == (200, {"regions": [{"code": "ash-2", "node_count": 1}]})


@pytest.mark.parametrize(
    ("given", "host"),
    [("203.0.113.9", "203.0.113.9"), ("10.0.0.9", "10.0.0.9"), ("2001:db8::9", "[2001:db8::9]")],
)
def test_a_public_ip_is_taken_as_given(scene, given, host):
    running = scene.up("--public-ip", given)
    assert running.endpoint == f"{host}:51820"
    assert warnings_of(running) == []
    made = running.create()
    assert made["public_ip"] == given
    assert f"Endpoint = {host}:51820\n" in made["wg_config"]


def test_a_private_egress_is_used_with_one_warning(scene):
    scene.exit.run("ip", "address", "flush", "dev", scene.egress)
    scene.exit.address(scene.egress, "192.168.7.1/24")
    scene.exit.route("default", "via", "192.168.7.2")
    running = scene.up()
    assert running.endpoint == "192.168.7.1:51820"
    (warning,) = warnings_of(running)
    assert "--public-ip" in warning


def test_no_address_at_all(scene):
    scene.exit.run("ip", "route", "del", "default")
    running = scene.up()
    assert running.endpoint == "none"
    assert running.api("POST", "/v1/sessions", {"region": "local"}) == (503, {"error": "no active nodes"})
    assert running.api("GET", "/v1/regions") == (200, {"regions": []})


def test_a_free_pool_is_found_and_kept(scene):
    running = scene.up()
    first = running.create()
    assert running.stop() == 0
    running = scene.up()
    second = running.create()
    pools = {ip_network(f"{inner_address(made['wg_config'])}/24", strict=False) for made in (first, second)}
    assert len(pools) == 1
    assert inner_address(first["wg_config"]) != inner_address(second["wg_config"])
    assert "terminated_at" not in running.session(first["id"])


def test_the_default_pool_gets_out_of_the_way(scene):
    taken = [f"10.{number}.0.0/16" for number in range(64, 128)]
    for prefix in taken:
        scene.exit.route(prefix, "via", "198.51.100.2")
    config = scene.up().create()["wg_config"]
    pool = ip_network(f"{inner_address(config)}/24", strict=False)
    assert not any(pool.overlaps(ip_network(prefix)) for prefix in taken)


def test_a_pool_of_ones_own(scene):
    running = scene.up("--pool", "10.77.0.0/29")
    addresses = []
    for _ in range(5):
        config = running.create()["wg_config"]
        assert "/29, " in config
        addresses.append(inner_address(config))
    assert sorted(addresses) == [f"10.77.0.{number}" for number in range(2, 7)]
    status, body = running.api("POST", "/v1/sessions", {"region": "local"})
    assert (status, body) == (503, {"error": "subnet exhausted"})


def test_name_servers_of_the_configuration_file(scene):
    file = scene.lab.directory() / "up.toml"
    file.write_text('dns = ["9.9.9.9"]\nregion = "fsn"\n')
    running = scene.up("--config", str(file))
    status, made = running.api("POST", "/v1/sessions", {"region": "fsn"})
    assert status == 200
    assert "DNS = 9.9.9.9\n" in made["wg_config"]


def test_the_exit_over_ipv6_outside(scene):
    """The client reaches the exit by IPv6, and its IPv4 goes out as ever."""
    client = scene.client()
    near, far = scene.lab.wire(client.host, scene.exit)
    client.host.address(near, "2001:db8:1::2/64")
    scene.exit.address(far, "2001:db8:1::1/64")
    running = scene.up("--public-ip", "2001:db8:1::1")
    client.up(running.create()["wg_config"])
    assert client.curl(f"{WEB}/ip") == EXIT
    assert client.download(3_000_000) == 3_000_000


def test_answers_leave_from_the_address_that_was_reached(scene):
    """A second address on the exit: a client of it must hear from it, not from the first."""
    running = scene.up()
    client = scene.client()
    scene.exit.address(scene.egress, "198.51.100.77/32")
    config = running.create()["wg_config"].replace(f"Endpoint = {EXIT}:", "Endpoint = 198.51.100.77:")
    client.up(config)
    assert client.download(1_000_000) == 1_000_000
    endpoint = client.host.output("wg", "show", client.interface, "endpoints").split()[1]
    assert endpoint == "198.51.100.77:51820"


def test_ours_as_the_client(scene):
    running = scene.up()
    client = scene.client()
    keys = wireguard.new_keys()
    config = running.create(client_public_key=keys.public)["wg_config"]
    client.up(config.replace("[Interface]", f"[Interface]\nPrivateKey = {keys.private}", 1), OURS)
    assert client.download(20_000_000) == 20_000_000
    assert client.upload(20_000_000) == 20_000_000
