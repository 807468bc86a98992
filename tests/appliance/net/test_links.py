"""Links: set, read, delete; and the watch, with real changes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface

import pytest
import trio

from appliance.net import links
from appliance.net.links import LinkChanged, LinkWatch, watch_links
from appliance.net.tun import open_tun
from tests.appliance.net.lab import PATIENCE_SECONDS, Namespace, wait_until


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Namespace("links") as made:
        made.run("ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1")
        yield made


@pytest.mark.netns
def test_settings(host: Namespace):
    def touch() -> None:
        links.set_mtu("wire0", 1333)
        links.set_queue_length("wire0", 77)
        links.set_up("wire0")

    host.inside(touch)
    shown = host.run("ip", "link", "show", "wire0")
    assert "mtu 1333" in shown
    assert "qlen 77" in shown
    link = host.inside(lambda: links.read_link("wire0"))
    assert link is not None
    assert (link.name, link.mtu, link.up) == ("wire0", 1333, True)
    assert link in host.inside(links.read_links)
    host.inside(lambda: links.set_up("wire0", up=False))
    link = host.inside(lambda: links.read_link("wire0"))
    assert link is not None
    assert not link.up
    assert host.inside(lambda: links.read_link("nowhere0")) is None
    with pytest.raises(OSError, match="No such device"):
        host.inside(lambda: links.set_up("nowhere0"))


@pytest.mark.netns
def test_addresses(host: Namespace):
    for address in (IPv4Interface("10.1.2.1/24"), IPv4Interface("10.1.2.1/24"), IPv6Interface("fd00::1/64")):
        host.inside(lambda address=address: links.set_address("wire0", address))
    shown = host.run("ip", "address", "show", "wire0")
    assert "inet 10.1.2.1/24 scope global wire0" in shown
    assert "inet6 fd00::1/64" in shown
    found = {(str(one.address), one.prefix_length) for one in host.inside(links.read_addresses)}
    assert {("10.1.2.1", 24), ("127.0.0.1", 8)} <= found


@pytest.mark.netns
def test_delete(host: Namespace):
    assert host.inside(lambda: links.exists("wire0"))
    host.inside(lambda: links.delete("wire0"))
    assert not host.inside(lambda: links.exists("wire0"))
    host.inside(lambda: links.delete("wire0"))


async def after(watch: LinkWatch) -> LinkChanged:
    with trio.fail_after(PATIENCE_SECONDS):
        return await anext(watch)


@pytest.mark.netns
async def test_watch_follows_every_change_to_the_end(host: Namespace):
    watch = host.inside(lambda: watch_links("wire0"))
    assert await after(watch) == LinkChanged("wire0", 1500, up=False)
    host.run("ip", "link", "set", "wire1", "mtu", "1400")  # another link's affair
    host.run("ip", "link", "set", "wire0", "mtu", "1300")
    assert await after(watch) == LinkChanged("wire0", 1300, up=False)
    host.run("ip", "link", "set", "wire0", "name", "cable0")
    assert await after(watch) == LinkChanged("cable0", 1300, up=False)
    host.run("ip", "link", "set", "cable0", "up")
    assert await after(watch) == LinkChanged("cable0", 1300, up=True)
    host.run("ip", "link", "delete", "cable0")
    seen = await after(watch)
    while not seen.gone:
        seen = await after(watch)  # it goes down on the way
    with pytest.raises(StopAsyncIteration):
        await after(watch)


@pytest.mark.netns
async def test_watch_of_no_link(host: Namespace):
    watch = host.inside(lambda: watch_links("nowhere0"))
    assert [changed.gone async for changed in watch] == [True]


@pytest.mark.netns
async def test_a_watch_may_be_cancelled_and_left(host: Namespace):
    watch = host.inside(lambda: watch_links("wire0"))
    await after(watch)
    with trio.move_on_after(0.01) as scope:
        await anext(watch)
    assert scope.cancelled_caught
    async for changed in host.inside(lambda: watch_links("wire0")):
        assert not changed.gone
        break  # the socket is closed with the last reference, without a warning


@pytest.mark.netns
async def test_lost_notifications_are_made_up_for(host: Namespace):
    watch = host.inside(lambda: watch_links("wire0"))
    await after(watch)

    def change() -> None:
        for number in range(400):
            links.set_mtu("wire0", 1000 + number)

    host.inside(change)
    host.run("ip", "link", "set", "wire0", "name", "cable0")
    seen = await after(watch)
    while seen != LinkChanged("cable0", 1399, up=False):
        seen = await after(watch)


@pytest.mark.netns
async def test_watch_follows_the_tun_into_another_namespace(host: Namespace):
    with Namespace("elsewhere") as elsewhere:
        tun = host.inside(lambda: open_tun("moving0"))
        try:
            watch = host.inside(lambda: watch_links("moving0", tun.fd))
            assert await after(watch) == LinkChanged("moving0", 1420, up=False)
            host.run("ip", "link", "set", "moving0", "netns", elsewhere.name)
            elsewhere.run("ip", "link", "set", "moving0", "mtu", "1280", "up")
            seen = await after(watch)
            while seen != LinkChanged("moving0", 1280, up=True):
                assert not seen.gone
                seen = await after(watch)
            elsewhere.run("ip", "link", "delete", "moving0")
            while not seen.gone:
                seen = await after(watch)
        finally:
            os.close(tun.fd)


@pytest.mark.netns
def test_a_quiet_link_gets_no_address_by_itself(host: Namespace):
    def go_up() -> None:
        links.keep_quiet("wire0")
        links.set_up("wire0")
        links.set_up("wire1")

    host.inside(go_up)
    # The kernel gives the address when it has seen that the cable is in, which it does in the background.
    wait_until(lambda: "fe80:" in host.run("ip", "-6", "address", "show", "wire1"))
    wait_until(lambda: "state UP" in host.run("ip", "link", "show", "wire0"))
    assert "fe80:" not in host.run("ip", "-6", "address", "show", "wire0")


@pytest.mark.netns
def test_a_host_without_ipv6_is_quiet_anyway(host: Namespace, monkeypatch: pytest.MonkeyPatch):
    def refuse(number: int) -> None:
        def change(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(links.Netlink, "change", change)

    refuse(errno.EAFNOSUPPORT)
    host.inside(lambda: links.keep_quiet("wire0"))
    refuse(errno.EPERM)
    with pytest.raises(PermissionError):
        host.inside(lambda: links.keep_quiet("wire0"))
