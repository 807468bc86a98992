"""Links and their addresses: set, read, delete, and watch.

Who calls it: `tun.py`, `exit.py`, `egress.py`, and `wg_serve.py` for the watch. Single settings go by
ioctl, the rest by netlink, never through /sys: that shows the namespace it was mounted in, not ours.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import threading
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address
from typing import Final

import trio

from appliance.core.exitplan import Address
from appliance.net.netlink import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Message,
    Netlink,
    attribute,
    attributes,
    number,
)

_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_SIOCSIFMTU: Final = 0x8922
_SIOCSIFTXQLEN: Final = 0x8943
_TUNGETDEVNETNS: Final = 0x54E3
_IFF_UP: Final = 0x1

_RTM_NEWLINK: Final = 16
_RTM_DELLINK: Final = 17
_RTM_GETLINK: Final = 18
_RTM_NEWADDR: Final = 20
_RTM_GETADDR: Final = 22
_RTMGRP_LINK: Final = 1
_IFLA_IFNAME: Final = 3
_IFLA_MTU: Final = 4
_IFLA_AF_SPEC: Final = 26
_IFLA_INET6_ADDR_GEN_MODE: Final = 8
_IN6_ADDR_GEN_MODE_NONE: Final = 1
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_FLAGS: Final = 8
_IFA_F_TEMPORARY_OR_SECONDARY: Final = 0x01
_IFA_F_DADFAILED: Final = 0x08
_IFA_F_DEPRECATED: Final = 0x20
_IFA_F_TENTATIVE: Final = 0x40

_IFINFOMSG: Final = struct.Struct("=BxHiII")
_IFADDRMSG: Final = struct.Struct("=BBBBI")


@dataclass(frozen=True)
class Link:
    """One interface as the kernel described it."""

    index: int
    name: str
    mtu: int
    up: bool


@dataclass(frozen=True)
class LinkChanged:
    """The state of a watched link. After `gone` nothing follows, and the rest is of no meaning."""

    name: str
    mtu: int
    up: bool
    gone: bool = False


@dataclass(frozen=True)
class LinkAddress:
    """An address of an interface. `usable`: neither deprecated nor still being tried (`tentative`);
    `primary`: neither a temporary one nor an interface's second."""

    index: int
    address: Address
    prefix_length: int
    scope: int
    usable: bool
    primary: bool
    tentative: bool


def exists(name: str) -> bool:
    """Whether an interface of that name is there."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def set_mtu(name: str, mtu: int) -> None:
    _ioctl(_SIOCSIFMTU, name, struct.pack("=i", mtu))


def set_queue_length(name: str, packets: int) -> None:
    _ioctl(_SIOCSIFTXQLEN, name, struct.pack("=i", packets))


def keep_quiet(name: str) -> None:
    """Have the kernel give the interface no link-local IPv6 address, nor then solicit routers on it for ever.

    As kernel WireGuard does (wg_open): at the other end of a tunnel no router answers. EAFNOSUPPORT where the
    host has no IPv6, which is as quiet.
    """
    mode = attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes([_IN6_ADDR_GEN_MODE_NONE]))
    body = _IFINFOMSG.pack(socket.AF_UNSPEC, 0, socket.if_nametoindex(name), 0, 0)
    with Netlink() as netlink:
        try:
            netlink.change(_RTM_NEWLINK, body + attribute(_IFLA_AF_SPEC, attribute(socket.AF_INET6, mode)))
        except OSError as refusal:
            if refusal.errno != errno.EAFNOSUPPORT:
                raise


def set_up(name: str, *, up: bool = True) -> None:
    """Switch the interface on or off."""
    (flags,) = struct.unpack_from("=H", _ioctl(_SIOCGIFFLAGS, name, bytes(2)), 16)
    _ioctl(_SIOCSIFFLAGS, name, struct.pack("=H", flags | _IFF_UP if up else flags & ~_IFF_UP))


def set_address(name: str, address: IPv4Interface | IPv6Interface) -> None:
    """Give the interface an address with its prefix; one that it has already is fine."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    packed = address.ip.packed
    body = _IFADDRMSG.pack(family, address.network.prefixlen, 0, 0, socket.if_nametoindex(name))
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    with Netlink() as netlink:
        netlink.change(_RTM_NEWADDR, body, NLM_F_CREATE | NLM_F_REPLACE)


def delete(name: str) -> None:
    """Delete the interface; none is fine."""
    with Netlink() as netlink:
        link = _read_link(netlink, name)
        if link is None:
            return
        try:
            netlink.change(_RTM_DELLINK, _IFINFOMSG.pack(0, 0, link.index, 0, 0))
        except OSError as refusal:
            if refusal.errno != errno.ENODEV:
                raise


def read_link(name: str) -> Link | None:
    """The link of that name, None without one."""
    with Netlink() as netlink:
        return _read_link(netlink, name)


def read_links() -> list[Link]:
    """All links of this namespace."""
    with Netlink() as netlink:
        messages = netlink.dump(_RTM_GETLINK, _IFINFOMSG.pack(0, 0, 0, 0, 0))
    return [_parse_link(message) for message in messages]


def read_addresses() -> list[LinkAddress]:
    """All addresses of this namespace, both families, in the kernel's order."""
    with Netlink() as netlink:
        messages = netlink.dump(_RTM_GETADDR, _IFADDRMSG.pack(0, 0, 0, 0, 0))
    return [found for message in messages if (found := _parse_address(message)) is not None]


class LinkWatch:
    """What `watch_links` gives: an async iterator that holds a netlink socket until the link is gone.

    No generator: one that its reader leaves half-way is closed at an uncertain time, and Trio warns of it.
    """

    def __init__(self, name: str, tun_fd: int | None) -> None:
        self._name = name
        self._tun_fd = tun_fd
        self._told: Link | None = None
        self._ended = False
        self._netlink = Netlink(groups=_RTMGRP_LINK)  # before the first reading, so that no change is missed

    def __aiter__(self) -> LinkWatch:
        return self

    async def __anext__(self) -> LinkChanged:
        if self._ended:
            raise StopAsyncIteration
        try:
            link = await self._next_state()
            if link is None and self._tun_fd is not None:
                link = await self._follow(self._tun_fd)
        except BaseException:
            self.close()
            raise
        if link is None:
            self.close()
            return LinkChanged(self._name, 0, up=False, gone=True)
        self._told = link
        self._name = link.name
        return LinkChanged(link.name, link.mtu, link.up)

    def close(self) -> None:
        """End the watch; a reader that left in the middle need not call it."""
        self._ended = True
        self._netlink.close()

    def __del__(self) -> None:
        if hasattr(self, "_netlink"):
            self._netlink.close()

    async def _next_state(self) -> Link | None:
        """The first state that differs from the one told last, None when it left the namespace."""
        if self._told is None:
            return _read_link(self._netlink, self._name)
        while True:
            await trio.lowlevel.wait_readable(self._netlink.fileno())
            link = self._read_state(self._told)
            if link != self._told:
                return link

    def _read_state(self, link: Link) -> Link | None:
        """The state after the notifications that wait."""
        try:
            messages = self._netlink.read()
        except BlockingIOError:
            return link
        except OSError as refusal:
            if refusal.errno != errno.ENOBUFS:
                raise
            return self._ask(link)
        for message in messages:
            if message.kind not in (_RTM_NEWLINK, _RTM_DELLINK) or message.body[0] != socket.AF_UNSPEC:
                continue  # bridges speak of their ports under the same index
            told = _parse_link(message)
            if told.index == link.index:
                if message.kind == _RTM_DELLINK:
                    return None
                link = told
        return link

    def _ask(self, link: Link) -> Link | None:
        """The state after notifications were lost. What waits is older than the answer, and while it fills
        the buffer there is no room for one."""
        while True:
            try:
                while self._netlink.read():
                    pass
            except BlockingIOError:
                pass
            except OSError as refusal:
                if refusal.errno != errno.ENOBUFS:
                    raise
                continue
            try:
                return _read_link(self._netlink, link.index)
            except OSError as refusal:
                if refusal.errno != errno.ENOBUFS:
                    raise

    async def _follow(self, tun_fd: int) -> Link | None:
        elsewhere = await trio.to_thread.run_sync(_netlink_beside, tun_fd)
        if elsewhere is None:
            return None
        self._netlink.close()
        self._netlink = elsewhere
        return _read_link(elsewhere, self._name)


def watch_links(name: str, tun_fd: int | None = None) -> LinkWatch:
    """The state of link `name`: at once, then whenever name, MTU or up change, until it is gone.

    Follows a rename. With the TUN's descriptor it also follows the link into another network namespace,
    where containers and tests like to put it after it was made.
    """
    return LinkWatch(name, tun_fd)


def _netlink_beside(tun_fd: int) -> Netlink | None:
    """A link watch in the namespace where the TUN is now; None when it is deleted, or we may not look.

    Runs in a thread that ends with it, since entering a namespace cannot be undone without privilege.
    """
    try:
        namespace = fcntl.ioctl(tun_fd, _TUNGETDEVNETNS)
    except OSError:
        return None
    opened: list[Netlink] = []

    def enter() -> None:
        clone_newnet = 0x40000000
        if ctypes.CDLL(None, use_errno=True).setns(namespace, clone_newnet) == 0:
            opened.append(Netlink(groups=_RTMGRP_LINK))

    try:
        thread = threading.Thread(target=enter, name="enter-namespace")
        thread.start()
        thread.join()
    finally:
        os.close(namespace)
    return opened[0] if opened else None


def _ioctl(request: int, name: str, value: bytes) -> bytes:
    packed = os.fsencode(name).ljust(16, b"\0") + value
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        return fcntl.ioctl(control, request, packed.ljust(40, b"\0"))


def _read_link(netlink: Netlink, which: str | int) -> Link | None:
    """The link of a name or an index."""
    if isinstance(which, int):
        body = _IFINFOMSG.pack(0, 0, which, 0, 0)
    else:
        body = _IFINFOMSG.pack(0, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, os.fsencode(which) + b"\0")
    try:
        message = netlink.get(_RTM_GETLINK, body)
    except OSError as refusal:
        if refusal.errno in (errno.ENODEV, errno.ENXIO):
            return None
        raise
    return _parse_link(message) if message is not None else None


def _parse_link(message: Message) -> Link:
    _, _, index, flags, _ = _IFINFOMSG.unpack_from(message.body)
    found = attributes(message.body[_IFINFOMSG.size :])
    name = os.fsdecode(found.get(_IFLA_IFNAME, b"").rstrip(b"\0"))
    return Link(index, name, number(found.get(_IFLA_MTU)), bool(flags & _IFF_UP))


def _parse_address(message: Message) -> LinkAddress | None:
    _, prefix_length, flags, scope, index = _IFADDRMSG.unpack_from(message.body)
    found = attributes(message.body[_IFADDRMSG.size :])
    # On a point-to-point link IFA_ADDRESS is the other end's; IPv6 gives IFA_ADDRESS alone.
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if packed is None or len(packed) not in (4, 16):
        return None
    flags = number(found[_IFA_FLAGS]) if _IFA_FLAGS in found else flags
    return LinkAddress(
        index=index,
        address=ip_address(packed),
        prefix_length=prefix_length,
        scope=scope,
        usable=not flags & (_IFA_F_DEPRECATED | _IFA_F_TENTATIVE | _IFA_F_DADFAILED),
        primary=not flags & _IFA_F_TEMPORARY_OR_SECONDARY,
        tentative=bool(flags & _IFA_F_TENTATIVE) and not flags & _IFA_F_DADFAILED,
    )
