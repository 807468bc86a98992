"""sallyport-wg where wireguard-go was: started alike, configured by `wg`, ended by `ip link del`."""

from __future__ import annotations

import base64
import os
import signal
import sys

import pytest

from bench import wireguard
from bench.lab import CONTROL_SOCKETS
from bench.process import run, wait_for
from tests.netns.scene import OURS
from tests.stopwatch import Stopwatch

pytestmark = pytest.mark.netns

END_SECONDS = 1.5
ADDRESSES = "10.9.{0}.0/24, fd00:9:{0}::/64"


@pytest.fixture
def host(scene):
    return scene.lab.host("h")


@pytest.fixture
def served(host):
    return wireguard.start(host, OURS)


def socket_of(interface):
    return CONTROL_SOCKETS / f"{interface.name}.sock"


def ended(process):
    """Its exit code; and it took no time to speak of."""
    watch = Stopwatch()
    code = process.wait(30)
    assert watch.seconds() < END_SECONDS
    return code


def test_without_f_it_returns_when_interface_and_socket_are_there(host):
    name = host.lab.name("w")
    done = host.run(str(OURS), name, seconds=20)
    assert done.stdout == ""
    assert host.has_interface(name)
    assert host.output("wg", "show", name).startswith(f"interface: {name}")
    host.run("ip", "link", "del", name)
    wait_for(lambda: not (CONTROL_SOCKETS / f"{name}.sock").exists(), "the socket is gone")


def test_deleting_the_link_ends_the_process(host, served):
    host.run("ip", "link", "del", served.name)
    assert ended(served.process) == 0
    assert not socket_of(served).exists()
    # And the name is free again at once.
    wireguard.start(host, OURS, served.name)


def test_removing_the_socket_ends_the_process(host, served):
    socket_of(served).unlink()
    assert ended(served.process) == 0
    assert not host.has_interface(served.name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly(host, served, number):
    assert served.process.stop(number) == 0
    assert not socket_of(served).exists()
    assert not host.has_interface(served.name)


def test_a_killed_one_is_replaced_over_its_stale_socket(host, served):
    served.process.kill()
    assert socket_of(served).exists()
    again = wireguard.start(host, OURS, served.name)
    assert again.wg("show", "listen-port").strip().isdigit()


def test_the_same_name_twice_is_refused_and_the_first_lives(host, served):
    served.wg("set", "listen-port", "50001")
    done = host.run(str(OURS), "-f", served.name, check=False, seconds=10)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert served.wg("show", "listen-port").strip() == "50001"


def test_every_setting_round_trips_through_wg(host, served):
    keys, peers = wireguard.new_keys(), [wireguard.new_keys().public for _ in range(12)]
    psk = wireguard.new_preshared_key()
    sections = [
        wireguard.peer(key, ADDRESSES.format(number), f"192.0.2.9:{5000 + number}", psk, 10 + number)
        for number, key in enumerate(peers)
    ]
    served.configure(wireguard.config(keys, *sections, listen_port=50002))
    served.wg("set", "fwmark", "0x77")
    rows = [line.split("\t") for line in served.wg("show", "dump").splitlines()]
    assert rows[0] == [keys.private, keys.public, "50002", "0x77"]
    assert [row[0] for row in rows[1:]] == peers  # in the order they were added
    assert rows[3][1] == psk
    assert rows[3][2] == "192.0.2.9:5002"
    assert set(rows[3][3].split(",")) == {"10.9.2.0/24", "fd00:9:2::/64"}
    assert rows[3][7] == "12"
    assert "(null)" not in served.wg("show", "dump")

    # What showconf says, setconf takes, and the result shows the same.
    text = served.wg("showconf")
    other = wireguard.start(host, OURS)
    served.wg("set", "listen-port", "0")
    other.configure(text)
    assert other.wg("showconf") == text
    other.wg("syncconf", "/dev/stdin", input_text=text)
    assert other.wg("showconf") == text
    # syncconf takes away exactly what is no longer there.
    shorter = wireguard.config(keys, *sections[1:], listen_port=50002)
    other.wg("syncconf", "/dev/stdin", input_text=shorter)
    assert other.wg("show", "peers").split() == peers[1:]
    other.wg("addconf", "/dev/stdin", input_text=sections[0])
    assert other.wg("show", "peers").split() == [*peers[1:], peers[0]]


def test_set_one_thing_at_a_time(served):
    one, two = wireguard.new_keys().public, wireguard.new_keys().public
    served.wg(
        "set",
        "peer",
        one,
        "allowed-ips",
        "10.1.0.0/16",
        "endpoint",
        "[2001:db8::9]:7",
        "persistent-keepalive",
        "5",
    )
    served.wg("set", "peer", two, "allowed-ips", "10.2.0.0/16")
    # A prefix belongs to one peer: the second takes it.
    served.wg("set", "peer", two, "allowed-ips", "10.2.0.0/16,10.1.0.0/16")
    allowed = dict(line.split("\t") for line in served.wg("show", "allowed-ips").splitlines())
    assert allowed[one] == "(none)"
    assert set(allowed[two].split()) == {"10.1.0.0/16", "10.2.0.0/16"}
    assert served.wg("show", "endpoints").splitlines()[0] == f"{one}\t[2001:db8::9]:7"
    served.wg("set", "peer", one, "persistent-keepalive", "off")
    assert served.wg("show", "persistent-keepalive").splitlines()[0] == f"{one}\toff"
    served.wg("set", "peer", one, "remove")
    assert served.wg("show", "peers").split() == [two]
    keys = wireguard.new_keys()
    served.wg("set", "private-key", "/dev/stdin", input_text=keys.private)
    assert served.wg("show", "public-key").strip() == keys.public
    served.wg("set", "private-key", "/dev/null")
    assert served.wg("show", "public-key").strip() == "(none)"
    assert served.wg("show", "peers").split() == [two]


def test_a_taken_port_is_said_as_such_and_changes_nothing(host, served):
    other = wireguard.start(host, OURS)
    for interface, port in ((served, "50003"), (other, "50004")):
        interface.wg("set", "listen-port", port)
    done = host.run("wg", "set", other.name, "listen-port", "50003", check=False)
    assert done.returncode != 0
    assert "Address already in use" in done.stderr
    assert other.wg("show", "listen-port").strip() in ("50004", "50003")
    assert served.wg("show", "listen-port").strip() == "50003"


def test_a_thousand_peers_go_in_and_out_in_order(served):
    peers = [os.urandom(32) for _ in range(1000)]
    keys = [
        base64.b64encode(bytes([k[0] & 248]) + k[1:31] + bytes([k[31] & 127 | 64])).decode() for k in peers
    ]
    text = wireguard.config(
        wireguard.new_keys(), *(wireguard.peer(k, f"10.{n >> 8}.{n & 255}.0/32") for n, k in enumerate(keys))
    )
    for _ in range(2):
        served.configure(text)
        assert served.wg("show", "peers").split() == keys
    served.configure(wireguard.config(wireguard.new_keys()))
    assert served.wg("show", "peers") == ""


def test_wg_quick_uses_it(scene, host):
    """`WG_QUICK_USERSPACE_IMPLEMENTATION=sallyport-wg wg-quick up x`."""
    name = host.lab.name("q")
    file = host.lab.directory() / f"{name}.conf"
    keys = wireguard.new_keys()
    peer = wireguard.peer(wireguard.new_keys().public, "10.5.0.0/16", "192.0.2.9:1")
    file.write_text(wireguard.config(keys, peer).replace("[Interface]", "[Interface]\nAddress = 10.5.0.1/24"))
    file.chmod(0o600)
    env = {"WG_QUICK_USERSPACE_IMPLEMENTATION": "sallyport-wg", "PATH": f"{OURS.parent}:{os.environ['PATH']}"}
    host.run("wg-quick", "up", str(file), env=env)
    assert "dev" in host.output("ip", "route", "get", "10.5.7.7")
    assert host.output("wg", "show", name, "public-key").strip() == keys.public
    host.run("wg-quick", "down", str(file), env=env)
    wait_for(lambda: not (CONTROL_SOCKETS / f"{name}.sock").exists(), "the socket is gone")


def test_usage_and_version_are_short():
    assert run([str(OURS), "--version"]).stdout.startswith("sallyport-wg ")
    for words in ([], ["-f"], ["a", "b"], ["--nonsense"], ["a-name-that-is-too-long"], ["a/b"]):
        done = run([str(OURS), *words], check=False)
        assert done.returncode == 2, words
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr


def test_it_loads_nothing_of_the_api_or_the_store():
    script = (
        "import sys, appliance.wg\n"
        "heavy = {'quart', 'hypercorn', 'sqlalchemy', 'pydantic', 'alembic', 'api'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    assert run([sys.executable, "-c", script]).stdout.split() == []
