"""Forgetting the connections of one client, against the kernel's own table."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import cast

import pytest
import trio

from appliance.core.exitplan import Policy
from appliance.core.ula import address_in, tunnel_prefix
from appliance.net import conntrack
from appliance.net.exit import ExitNetwork
from appliance.net.netlink import Message, Netlink, attribute
from tests.appliance.net.lab import CLIENT_ADDRESSES, OUTSIDE_ADDRESS, Lab, connect, lab, listen, udp

FIRST, SECOND = (IPv4Address(address) for address in CLIENT_ADDRESSES)


@contextmanager
def open_connections(place: Lab) -> Iterator[None]:
    """Three UDP conversations and a TCP connection of each client, on which nothing is under way."""
    with (
        udp(place.outside, port=9) as outside,
        listen(place.outside, 80) as server,
        ExitStack() as connections,
    ):
        for client in place.clients:
            for _ in range(3):
                with udp(client) as one:
                    one.sendto(b"x", (OUTSIDE_ADDRESS, 9))
                    outside.recv(100)
            connections.enter_context(connect(client, OUTSIDE_ADDRESS, 80))
            connections.enter_context(server.accept()[0])
        yield


@pytest.mark.netns
def test_forget_deletes_the_entries_of_one_address_alone(tmp_path: Path):
    with lab(tmp_path) as place:
        place.start_exit()
        with open_connections(place):
            assert place.exit.inside(lambda: conntrack.forget(FIRST)) == 4
            assert place.exit.inside(lambda: conntrack.forget(FIRST)) == 0
            assert place.exit.inside(lambda: conntrack.forget(SECOND)) == 4


@pytest.mark.netns
def test_forget_where_the_kernel_cannot_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A flag that no kernel knows makes it refuse the filter, as old ones may."""
    monkeypatch.setattr(conntrack, "_FILTER_IP_SRC", 1 << 31)
    with lab(tmp_path) as place:
        place.start_exit()
        with open_connections(place):
            assert place.exit.inside(lambda: conntrack.forget(FIRST)) == 4
            assert place.exit.inside(lambda: conntrack.forget(SECOND)) == 4


@pytest.mark.netns
def test_ipv6_is_forgotten_by_its_own_address(tmp_path: Path):
    with lab(tmp_path) as place:
        place.outside.run("ip", "address", "add", "2001:db8:e::2/64", "dev", "outside0", "nodad")
        place.exit.run("ip", "address", "add", "2001:db8:e::1/64", "dev", "egress0", "nodad")
        place.exit.run("ip", "-6", "route", "add", "default", "via", "2001:db8:e::2")
        place.start_exit(policy=Policy(ipv6="nat"))
        client = place.clients[0]
        client.run("ping", "-6", "-c", "1", "-W", "5", "2001:db8:e::2")
        mine = address_in(tunnel_prefix(IPv4Network("10.101.0.0/24")), FIRST)
        assert place.exit.inside(lambda: conntrack.forget(FIRST)) == 0
        assert place.exit.inside(lambda: conntrack.forget(mine)) == 1
        assert place.exit.inside(lambda: conntrack.forget(mine)) == 0


async def test_who_asks_to_forget_need_not_wait_for_a_table_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    go, done = threading.Event(), threading.Event()

    def slow(address: IPv4Address) -> int:
        go.wait(20)
        done.set()
        return 0

    monkeypatch.setattr(conntrack, "forget", slow)
    network = ExitNetwork(interface="sally0", state_dir=tmp_path)
    with trio.move_on_after(0.05) as limit:
        await network.forget(IPv4Address("10.101.0.2"))
    assert limit.cancelled_caught
    assert not done.is_set()
    go.set()
    assert done.wait(20)


def test_an_entry_without_a_source_is_nobodys():
    assert conntrack._source({}) is None
    addresses = attribute(1, attribute(3, bytes(16)))
    assert conntrack._source({1: addresses}) == IPv6Address("::")
    assert conntrack._source({1: attribute(1, attribute(1, FIRST.packed))}) == FIRST


def test_entries_of_others_are_not_taken_apart(monkeypatch: pytest.MonkeyPatch):
    """Where the kernel filters nothing, a whole table comes."""

    def entry(source: IPv4Address | IPv6Address) -> Message:
        kind = 1 if source.version == 4 else 3
        return Message(256, bytes(4) + attribute(1, attribute(1, attribute(kind, source.packed))))

    class Table:
        def dump(self, kind: int, payload: bytes) -> list[Message]:
            return [*map(entry, others), entry(wanted)]

    wanted, taken_apart = IPv6Address("fd00::2"), []
    others = [IPv6Address(f"fd00::1:{number:x}") for number in range(1, 100)]
    parse = conntrack._parse
    monkeypatch.setattr(conntrack, "_parse", lambda one: taken_apart.append(one) or parse(one))
    found = conntrack._entries(cast(Netlink, Table()), wanted)
    assert [conntrack._source(one) for one in found] == [wanted]
    assert len(taken_apart) == 1


def test_a_kernel_without_it_is_no_failure_and_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def refuse(*arguments: object) -> None:
        raise OSError(93, "Protocol not supported")

    monkeypatch.setattr(conntrack, "Netlink", refuse)
    monkeypatch.setattr(conntrack, "_said", set())
    with caplog.at_level(logging.WARNING):
        assert conntrack.forget(FIRST) == 0
        assert conntrack.forget(FIRST) == 0
    assert len(caplog.records) == 1
