"""The outer sockets: both families on one port, their options, and how refusals read."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from appliance.errors import InUseError, PrivilegeError, UserError
from appliance.net import udp
from appliance.net.tun import PumpOffload
from appliance.net.udp import open_udp
from tests.appliance.net.lab import Namespace

UDP_GRO = 104


def option(one: socket.socket | None, level: int, name: int) -> int:
    assert one is not None
    return one.getsockopt(level, name)


@pytest.mark.netns
def test_both_families_on_one_port_with_their_options():
    with Namespace("udp") as host:
        sockets = host.inside(lambda: open_udp(0))
        try:
            assert sockets.v4 is not None
            assert sockets.v6 is not None
            assert sockets.v4.getsockname()[1] == sockets.v6.getsockname()[1] == sockets.port != 0
            assert (sockets.fd4, sockets.fd6) == (sockets.v4.fileno(), sockets.v6.fileno())
            assert sockets.offloads == PumpOffload.UDP_GSO
            assert option(sockets.v6, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
            assert option(sockets.v6, socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO) == 1
            assert option(sockets.v6, socket.IPPROTO_IPV6, 23) == 0, "fragmentation allowed"
            assert option(sockets.v4, socket.IPPROTO_IP, 8) == 1
            assert option(sockets.v4, socket.IPPROTO_IP, 10) == 0
            for one in (sockets.v4, sockets.v6):
                assert one.getblocking() is False
                assert option(one, socket.IPPROTO_UDP, UDP_GRO) == 1
                assert option(one, socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * udp.BUFFER_BYTES
                assert option(one, socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * udp.BUFFER_BYTES
                assert option(one, socket.SOL_SOCKET, socket.SO_MARK) == 0
            sockets.set_fwmark(77)
            assert option(sockets.v4, socket.SOL_SOCKET, socket.SO_MARK) == 77
            assert option(sockets.v6, socket.SOL_SOCKET, socket.SO_MARK) == 77
        finally:
            sockets.close()
        marked = host.inside(lambda: open_udp(51820, 78))
        assert marked.port == 51820
        assert option(marked.v6, socket.SOL_SOCKET, socket.SO_MARK) == 78
        marked.close()


def test_knob_none_has_no_gro_and_no_gso(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SALLYPORT_OFFLOAD", "none")
    sockets = open_udp(0)
    try:
        assert sockets.offloads == 0
        assert option(sockets.v4, socket.IPPROTO_UDP, UDP_GRO) == 0
    finally:
        sockets.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_busy_port_in_either_family(family: socket.AddressFamily):
    with socket.socket(family, socket.SOCK_DGRAM) as other:
        if family == socket.AF_INET6:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("", 0))
        port = other.getsockname()[1]
        with pytest.raises(InUseError, match=f"port {port} "):
            open_udp(port)


def test_a_port_that_only_one_family_has_free_is_tried_again(monkeypatch: pytest.MonkeyPatch):
    real = udp._open_one
    attempts = []

    def busy_at_first(family: socket.AddressFamily, port: int, fwmark: int) -> socket.socket | None:
        if family == socket.AF_INET6:
            attempts.append(port)
            if len(attempts) < 5:
                raise OSError(errno.EADDRINUSE, "Address already in use")
        return real(family, port, fwmark)

    monkeypatch.setattr(udp, "_open_one", busy_at_first)
    sockets = open_udp(0)
    sockets.close()
    assert len(attempts) == 5
    assert sockets.port == attempts[-1]


@pytest.mark.netns
def test_a_host_without_ipv6_addresses():
    with Namespace("v4only") as host:
        host.sysctl("net/ipv6/conf/all/disable_ipv6", "1")
        sockets = host.inside(lambda: open_udp(0))
        sockets.close()
        assert sockets.v4 is not None
        assert sockets.port


def missing(family: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def make(asked: int, *arguments: Any) -> socket.socket:
        if asked == family or family == 0:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(asked, *arguments)

    monkeypatch.setattr(udp.socket, "socket", make)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_kernel_without_one_family(family: int, monkeypatch: pytest.MonkeyPatch):
    missing(family, monkeypatch)
    sockets = open_udp(0)
    try:
        assert (sockets.fd4 == -1, sockets.fd6 == -1) == (family == socket.AF_INET, family == socket.AF_INET6)
        assert sockets.port != 0
    finally:
        sockets.close()


def test_a_kernel_without_both(monkeypatch: pytest.MonkeyPatch):
    missing(0, monkeypatch)
    with pytest.raises(UserError, match="Address family"):
        open_udp(0)


def test_refusals(monkeypatch: pytest.MonkeyPatch):
    def refuse(*arguments: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(udp, "_open_one", refuse)
    with pytest.raises(PrivilegeError, match="port 53"):
        open_udp(53)
