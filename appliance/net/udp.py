"""The outer UDP sockets: one per family, on one port.

Who calls it: `device/device.py`, at the start and whenever the port changes. Both sockets are
non-blocking and have what the packet pump relies on:

* the address that a datagram reached comes with it (IP_PKTINFO, IPV6_RECVPKTINFO), so that answers leave
  from it;
* GRO, unless SALLYPORT_OFFLOAD=none, and whether the kernel can segment on sending (UDP_SEGMENT);
* "don't fragment" off: a sealed packet of full size must pass a narrower path in pieces rather than
  vanish;
* buffers of 7 MiB, as much as a fast sender fills while the pump thread waits for a processor.

A host without IPv6 (or without IPv4) is no failure as long as one family is left.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from typing import Final

from appliance.errors import InUseError, PrivilegeError, UserError
from appliance.net.tun import OffloadKnob, PumpOffload, offload_knob

BUFFER_BYTES: Final = 7 * 1024 * 1024

_UDP_SEGMENT: Final = 103
_UDP_GRO: Final = 104
_IP_PKTINFO: Final = 8
_IP_MTU_DISCOVER: Final = 10
_IPV6_MTU_DISCOVER: Final = 23
_PMTUDISC_DONT: Final = 0
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33

# With port 0 the kernel picks one for IPv4, which may be taken for IPv6.
_TRIES: Final = 100

_NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPFNOSUPPORT)


@dataclass(frozen=True)
class UdpSockets:
    """The sockets of one port; a family that this host does not have is None."""

    v4: socket.socket | None
    v6: socket.socket | None
    port: int
    offloads: int
    """`enum sp_offload` bits of the sockets."""

    @property
    def fd4(self) -> int:
        """The IPv4 descriptor, -1 without one."""
        return self.v4.fileno() if self.v4 is not None else -1

    @property
    def fd6(self) -> int:
        """The IPv6 descriptor, -1 without one."""
        return self.v6.fileno() if self.v6 is not None else -1

    def set_fwmark(self, mark: int) -> None:
        """Mark the datagrams sent from now on (0: none)."""
        for one in self._both():
            _set_mark(one, mark)

    def close(self) -> None:
        for one in self._both():
            one.close()

    def _both(self) -> list[socket.socket]:
        return [one for one in (self.v4, self.v6) if one is not None]


def open_udp(port: int, fwmark: int = 0) -> UdpSockets:
    """Bind both families on `port` (0: any port that is free in both)."""
    for _ in range(_TRIES if port == 0 else 1):
        try:
            return _open_both(port, fwmark)
        except OSError as refusal:
            if refusal.errno == errno.EADDRINUSE:
                continue
            if refusal.errno == errno.EACCES:
                raise PrivilegeError(f"no permission to listen on UDP port {port}") from None
            raise UserError(f"cannot listen on UDP port {port}: {os.strerror(refusal.errno or 0)}") from None
    if port == 0:
        raise InUseError("no UDP port is free in both IPv4 and IPv6")
    raise InUseError(f"UDP port {port} is in use")


def _open_both(port: int, fwmark: int) -> UdpSockets:
    opened: list[socket.socket] = []
    try:
        v4 = _open_one(socket.AF_INET, port, fwmark)
        if v4 is not None:
            opened.append(v4)
            port = v4.getsockname()[1]
        v6 = _open_one(socket.AF_INET6, port, fwmark)
        if v6 is not None:
            opened.append(v6)
            port = v6.getsockname()[1]
        if not opened:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return UdpSockets(v4, v6, port, _offloads(opened))
    except BaseException:
        for one in opened:
            one.close()
        raise


def _open_one(family: socket.AddressFamily, port: int, fwmark: int) -> socket.socket | None:
    """One bound socket; None when the host does not have the family."""
    try:
        one = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    except OSError as refusal:
        if refusal.errno in _NO_FAMILY:
            return None
        raise
    try:
        _prepare(one, family)
        if fwmark:
            _set_mark(one, fwmark)
        one.bind(("::" if family == socket.AF_INET6 else "", port))
    except OSError as refusal:
        one.close()
        if refusal.errno in _NO_FAMILY:
            return None  # IPv6 compiled in but switched off
        raise
    except BaseException:
        one.close()
        raise
    return one


def _prepare(one: socket.socket, family: socket.AddressFamily) -> None:
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        one.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT)
    else:
        one.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        one.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)
    for forced, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            one.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
        except OSError:  # beyond the host's limit only with CAP_NET_ADMIN
            one.setsockopt(socket.SOL_SOCKET, plain, BUFFER_BYTES)


def _set_mark(one: socket.socket, mark: int) -> None:
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    except PermissionError:
        raise PrivilegeError("a firewall mark needs root or CAP_NET_ADMIN") from None


def _offloads(opened: list[socket.socket]) -> int:
    """Switch GRO on, and say whether all sockets can segment. An old kernel that has neither is fine."""
    if offload_knob() is OffloadKnob.NONE:
        return 0
    bits = PumpOffload.UDP_GSO
    for one in opened:
        try:
            one.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
        except OSError:
            pass
        try:
            one.getsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT)
        except OSError:
            bits &= ~PumpOffload.UDP_GSO
    return int(bits)
