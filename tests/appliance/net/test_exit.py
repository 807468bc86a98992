"""The exit's share of the network, in a lab: what clients reach, and that everything is put back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from appliance.errors import InUseError, UsageError
from appliance.net import nftables
from appliance.net.egress import Egress
from appliance.net.exit import ExitFacts, ExitNetwork
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
    run,
    udp,
)

EGRESS_FORWARDING = "net/ipv4/conf/egress0/forwarding"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path) as made:
        yield made


def packets(place: Lab, chain: str) -> int:
    """How many packets the counted rules of one chain of ours have seen."""
    listed = place.exit.run("nft", "list", "chain", "inet", "sallyport_sally0", chain).split()
    return sum(int(listed[at + 1]) for at, word in enumerate(listed) if word == "packets")


def test_mtu_follows_the_egress():
    def facts(egress_mtu: int) -> ExitFacts:
        egress = Egress("eth0", egress_mtu, IPv4Address("198.51.100.1"))
        return ExitFacts(IPv4Network("10.101.0.0/24"), IPv4Address("10.101.0.1"), egress)

    assert (facts(1500).mtu, facts(1500).client_mtu) == (1420, None)
    assert (facts(9000).mtu, facts(9000).client_mtu) == (1420, None)
    assert (facts(1400).mtu, facts(1400).client_mtu) == (1320, 1320)
    alone = ExitFacts(IPv4Network("10.101.0.0/24"), IPv4Address("10.101.0.1"), None)
    assert (alone.mtu, alone.client_mtu) == (1420, None)


def test_a_bad_interface_name_is_a_usage_error(tmp_path: Path):
    for name in ("", "a b", 'x"', "sally*", "sixteen-letters-", "../x"):
        with pytest.raises(UsageError):
            ExitNetwork(interface=name, state_dir=tmp_path).check()


@pytest.mark.netns
def test_a_pool_without_room_is_a_usage_error(place: Lab):
    pool = IPv4Network("10.9.0.0/31")
    with pytest.raises(UsageError, match="no room"):
        place.exit.inside(ExitNetwork(interface="sally0", state_dir=place.state_dir, pool=pool).check)


def test_undo_before_anything_was_made_touches_nothing(tmp_path: Path):
    (tmp_path / "network.json").write_text("not even JSON")
    ExitNetwork(interface="sally0", state_dir=tmp_path).undo()
    assert (tmp_path / "network.json").exists()


@pytest.mark.netns
def test_clients_get_out_under_the_exits_address(place: Lab):
    facts = place.start_exit()
    assert facts.pool == IPv4Network("10.101.0.0/24")
    assert facts.egress == Egress("egress0", 1500, IPv4Address(EXIT_ADDRESS))
    with listen(place.outside, 80) as server:
        for client in place.clients:
            with connect(client, OUTSIDE_ADDRESS, 80) as there:
                here, peer = server.accept()
                with here:
                    assert peer[0] == EXIT_ADDRESS
                    there.sendall(b"x" * 100_000)
                    assert here.recv(100_000, socket.MSG_WAITALL) == b"x" * 100_000


@pytest.mark.netns
def test_everything_is_put_back(place: Lab):
    place.exit.run(
        "nft",
        "add table inet somebody; add chain inet somebody forward { type filter hook forward priority 5; }",
    )
    before = (
        place.ruleset(),
        place.settings(),
        place.exit.run("ip", "address"),
        place.exit.run("ip", "route"),
    )
    place.start_exit()
    during = place.settings()
    assert [path for path in during if during[path] == "1"] == [
        path for path in during if "/sally0/" in path or "/egress0/" in path
    ], "forwarding is on for the tunnel and the egress alone"
    assert "sallyport_sally0" in place.ruleset()
    assert "10.101.0.1/24" in place.exit.run("ip", "address", "show", "sally0")
    place.stop()
    after = (
        place.ruleset(),
        place.settings(),
        place.exit.run("ip", "address"),
        place.exit.run("ip", "route"),
    )
    assert after == before
    assert list(place.state_dir.iterdir()) == []


@pytest.mark.netns
def test_clients_do_not_reach_private_networks(place: Lab):
    place.start_exit()
    with udp(place.outside, port=9) as outside, udp(place.clients[0]) as client, listen(place.outside, 80):
        with pytest.raises(OSError, match="No route to host"):
            connect(place.clients[0], PRIVATE_ADDRESS, 80)
        for address in (
            PRIVATE_ADDRESS,
            "192.168.7.7",
            "172.16.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "224.0.0.9",
        ):
            client.sendto(b"forbidden", (address, 9))
        client.sendto(b"allowed", (OUTSIDE_ADDRESS, 9))
        assert outside.recv(100) == b"allowed", "packets keep their order: the forbidden ones would be first"


@pytest.mark.netns
def test_mail_and_irc_ports_are_reset(place: Lab):
    place.start_exit()
    with listen(place.outside, 25), listen(place.outside, 6669):
        for port in (25, 465, 587, 2525, 6660, 6669, 6697):
            with pytest.raises(ConnectionRefusedError):
                connect(place.clients[0], OUTSIDE_ADDRESS, port)
        assert packets(place, "from_clients") == 7
    with listen(place.outside, 26), connect(place.clients[0], OUTSIDE_ADDRESS, 26):
        pass


@pytest.mark.netns
def test_clients_do_not_reach_each_other_nor_the_host(place: Lab):
    place.start_exit()
    first, second = place.clients
    with (
        udp(first) as client,
        udp(second, port=9) as neighbour,
        udp(place.exit, port=9) as host,
        udp(place.outside, port=9) as outside,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for address in (CLIENT_ADDRESSES[1], "10.101.0.1", "10.101.0.255", EXIT_ADDRESS, "203.0.113.1"):
            client.sendto(b"forbidden", (address, 9))
        client.sendto(b"allowed", (OUTSIDE_ADDRESS, 9))
        assert outside.recv(100) == b"allowed"
        for unreached in (neighbour, host):
            unreached.setblocking(False)
            with pytest.raises(BlockingIOError):
                unreached.recv(100)
    assert packets(place, "input") == 4
    ping = ("ip", "netns", "exec", first.name, "ping", "-c", "1", "-W", "1", "10.101.0.1")
    assert subprocess.run(ping, capture_output=True, check=False).returncode == 1


@pytest.mark.netns
def test_nobody_outside_opens_a_connection_to_a_client(place: Lab):
    place.start_exit()
    place.outside.run("ip", "route", "add", "10.101.0.0/24", "via", EXIT_ADDRESS)
    with udp(place.clients[0], port=9) as client, udp(place.outside, port=9) as outside:
        outside.sendto(b"uninvited", (CLIENT_ADDRESSES[0], 9))
        client.sendto(b"hello", (OUTSIDE_ADDRESS, 9))
        _, peer = outside.recvfrom(100)
        outside.sendto(b"answer", peer)
        assert client.recv(100) == b"answer"
    assert packets(place, "to_clients") == 1


@pytest.mark.netns
def test_what_the_host_forwards_otherwise_lives_on(place: Lab):
    place.exit.sysctl("net/ipv4/conf/lan0/forwarding", "1")
    place.exit.sysctl(EGRESS_FORWARDING, "1")
    place.start_exit()
    with listen(place.outside, 25) as server, connect(place.lan, OUTSIDE_ADDRESS, 25):
        here, peer = server.accept()
        here.close()
        assert peer[0] == LAN_ADDRESS, "neither filtered nor translated"
    with udp(place.lan) as lan, udp(place.outside, PRIVATE_ADDRESS, 9) as private:
        lan.sendto(b"allowed", (PRIVATE_ADDRESS, 9))
        assert private.recv(100) == b"allowed"
    place.stop()
    assert place.exit.sysctl(EGRESS_FORWARDING) == "1", "it was on before us"


@pytest.mark.netns
def test_segment_size_is_clamped_to_the_tunnel(place: Lab):
    place.start_exit(mtu=1300)
    with listen(place.outside, 80) as server, connect(place.clients[0], OUTSIDE_ADDRESS, 80) as there:
        here, _ = server.accept()
        with here:
            for end in (here, there):
                assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1300 - 40


@pytest.mark.netns
def test_connections_survive_a_crash(place: Lab):
    before = (place.ruleset(), place.settings())
    place.start_exit()
    with listen(place.outside, 80) as server, connect(place.clients[0], OUTSIDE_ADDRESS, 80) as there:
        here, _ = server.accept()
        with here:
            for number in range(3):
                there.sendall(b"before")
                assert here.recv(100) == b"before"
                place.crash()
                assert "sallyport_sally0" in place.ruleset()
                here.sendall(b"meanwhile %d" % number)
                place.start_exit()
                there.settimeout(30)
                assert there.recv(100) == b"meanwhile %d" % number
    place.stop()
    assert (place.ruleset(), place.settings()) == before, "the values from before the first start"


@pytest.mark.netns
def test_replacing_the_table_leaves_no_moment_without_nat(place: Lab):
    place.start_exit()
    assert place.network is not None
    plan = place.network._plan
    assert plan is not None
    done = threading.Event()
    sent = 0

    def replace() -> None:
        applied = 0
        while applied < 25 or sent <= 25:
            nftables.apply(plan.table)
            applied += 1
        done.set()

    with udp(place.outside, port=9) as outside:
        replacing = threading.Thread(target=place.exit.inside, args=(replace,))
        replacing.start()
        while not done.is_set():
            with udp(place.clients[0]) as client:  # a new source port: a new connection to translate
                client.sendto(b"x", (OUTSIDE_ADDRESS, 9))
                assert outside.recvfrom(100)[1][0] == EXIT_ADDRESS
            sent += 1
        replacing.join()


CRASHER = """
import sys, time
from pathlib import Path
from appliance.net.exit import ExitNetwork
from appliance.net.tun import open_tun
network = ExitNetwork(interface=sys.argv[1], state_dir=Path(sys.argv[2]))
network.check()
tun = open_tun(sys.argv[1])
network.create()
print("ready", flush=True)
time.sleep(1000)
"""


def start_crasher(place: Lab, interface: str, state_dir: Path) -> subprocess.Popen[str]:
    words = [
        "ip",
        "netns",
        "exec",
        place.exit.name,
        sys.executable,
        "-P",
        "-c",
        CRASHER,
        interface,
        str(state_dir),
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.netns
def test_a_killed_process_leaves_what_the_next_one_puts_back(place: Lab):
    before = (place.ruleset(), place.settings())
    kill(start_crasher(place, "sally0", place.state_dir))
    assert "sallyport_sally0" in place.ruleset()
    assert place.exit.sysctl(EGRESS_FORWARDING) == "1"
    assert "sally0" not in place.exit.run("ip", "link")
    place.start_exit(interface="sally9")
    assert "sallyport_sally0" not in place.ruleset(), "the table of the crashed run under another name"
    place.stop()
    assert (place.ruleset(), place.settings()) == before


@pytest.mark.netns
def test_two_exits_on_one_host(place: Lab, tmp_path: Path):
    other_dir = tmp_path / "other"
    other_dir.mkdir()
    place.start_exit()
    other = start_crasher(place, "sally-1", other_dir)
    try:
        assert "10.101.1.1/24" in place.exit.run("ip", "address", "show", "sally-1"), "the next free pool"
        rules = place.ruleset()
        with pytest.raises(InUseError, match="sally-1"):
            place.exit.inside(ExitNetwork(interface="sally-1", state_dir=tmp_path).check)
        with pytest.raises(InUseError, match=r"overlaps .*sally-1"):
            place.exit.inside(
                ExitNetwork(interface="sally2", state_dir=tmp_path, pool=IPv4Network("10.101.1.0/24")).check
            )
        assert place.ruleset() == rules, "the running ones are undisturbed"
        place.stop()
        assert "sally0" not in place.ruleset()
        assert "sallyport_sally_2d1" in place.ruleset()
        assert place.exit.sysctl(EGRESS_FORWARDING) == "1", "the other one still needs it"
    finally:
        kill(other)


@pytest.mark.netns
def test_check_creates_nothing(place: Lab):
    before = (place.ruleset(), place.settings(), place.exit.run("ip", "address"))
    place.exit.inside(ExitNetwork(interface="sally0", state_dir=place.state_dir).check)
    with pytest.raises(UsageError, match="nowhere0"):
        place.exit.inside(ExitNetwork(interface="sally0", state_dir=place.state_dir, egress="nowhere0").check)
    with pytest.raises(InUseError, match=r"10\.66\.0\.0/24"):
        place.exit.inside(
            ExitNetwork(interface="sally0", state_dir=place.state_dir, pool=IPv4Network("10.66.0.0/16")).check
        )
    assert (place.ruleset(), place.settings(), place.exit.run("ip", "address")) == before
    assert list(place.state_dir.iterdir()) == []


@pytest.mark.netns
def test_read_only_settings(place: Lab):
    """As in a container: refused with the name of the setting while it is off, else carried on."""
    script = (
        "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && "
        f'exec {sys.executable} -P -c "$1" sally0 {place.state_dir}'
    )
    command = ("ip", "netns", "exec", place.exit.name, "sh", "-c", script, "sh", ROUND_TRIP)
    assert "net.ipv4.conf.default.forwarding" in run(*command)
    place.exit.sysctl("net/ipv4/ip_forward", "1")
    assert run(*command) == "worked\n"
    assert "sallyport" not in place.ruleset()


ROUND_TRIP = """
import sys
from pathlib import Path
from appliance.errors import PrivilegeError
from appliance.net.exit import ExitNetwork
from appliance.net.tun import open_tun
network = ExitNetwork(interface=sys.argv[1], state_dir=Path(sys.argv[2]))
try:
    network.check()
except PrivilegeError as refusal:
    print(refusal)
else:
    tun = open_tun(sys.argv[1])
    network.create()
    network.undo()
    print("worked")
"""
