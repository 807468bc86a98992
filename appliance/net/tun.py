"""The TUN interface: opened with every offload that this kernel takes.

Who calls it: `main.py` (the exit) and `wg_serve.py` (`sallyport-wg`). The interface lives as long as the
descriptor: whatever ends the process, the kernel removes it. With IFF_VNET_HDR each packet is preceded by a
10-byte virtio_net_hdr, and the kernel hands over and takes whole superpackets (TSO, and USO since 6.2).

What the kernel refuses is given up step by step: USO, then TSO, then checksums, and it is said once in the
log. SALLYPORT_OFFLOAD=none|tso|uso sets where the steps begin (default uso): `none` opens the TUN without
the extra header, and `udp.py` then leaves out GSO and GRO too.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import fcntl
import logging
import os
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from appliance.core.ifnames import ANY_FORM, is_possible
from appliance.errors import InUseError, PrivilegeError, UsageError, UserError
from appliance.log import event
from appliance.net import links

_log = logging.getLogger("sallyport.tun")

DEVICE: Final = "/dev/net/tun"
OFFLOAD_VARIABLE: Final = "SALLYPORT_OFFLOAD"

# A TUN whose queue is full drops without a word, and an entry may be a superpacket or a lone ACK: the
# kernel's default of 500 is less than a burst of small packets.
QUEUE_PACKETS: Final = 2000

_TUNSETIFF: Final = 0x400454CA
_TUNGETFEATURES: Final = 0x800454CF
_TUNSETOFFLOAD: Final = 0x400454D0
_TUNSETVNETHDRSZ: Final = 0x400454D8

_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000
_IFF_TUN_EXCL: Final = 0x8000  # never attach to an interface that is there already
_VNET_HDR_BYTES: Final = 10
_IFREQ: Final = struct.Struct("16sH22x")


class TunOffload(enum.IntFlag):
    """TUN_F_* of linux/if_tun.h; the USO bits are newer than the headers of many distributions."""

    CSUM = 0x01
    TSO4 = 0x02
    TSO6 = 0x04
    USO4 = 0x20
    USO6 = 0x40


class PumpOffload(enum.IntFlag):
    """The same bits as `enum sp_offload` in crypto_ext/api.h, which this floor does not import."""

    VNET_HDR = 1
    JOIN_TCP = 2
    JOIN_UDP = 4
    UDP_GSO = 8


class OffloadKnob(enum.Enum):
    """Where the attempts begin: the values of SALLYPORT_OFFLOAD."""

    NONE = "none"
    TSO = "tso"
    USO = "uso"


_TSO: Final = TunOffload.CSUM | TunOffload.TSO4 | TunOffload.TSO6
_USO: Final = TunOffload.USO4 | TunOffload.USO6
_STEPS: Final = {
    OffloadKnob.USO: (_TSO | _USO, _TSO, TunOffload.CSUM),
    OffloadKnob.TSO: (_TSO, TunOffload.CSUM),
    OffloadKnob.NONE: (),
}


@dataclass(frozen=True)
class Tun:
    """An open TUN. `fd` is non-blocking; closing it removes the interface."""

    fd: int
    name: str
    mtu: int
    vnet_hdr: bool
    granted: TunOffload

    @property
    def offloads(self) -> int:
        """What the pump may do with it, as `enum sp_offload` bits.

        Joined TCP may be written wherever there is a vnet header. Joined UDP only to a kernel that knows
        USO, which is the one that granted it.
        """
        if not self.vnet_hdr:
            return 0
        bits = PumpOffload.VNET_HDR | PumpOffload.JOIN_TCP
        if self.granted & _USO:
            bits |= PumpOffload.JOIN_UDP
        return int(bits)

    def close(self) -> None:
        os.close(self.fd)


def offload_knob(environment: Mapping[str, str] = os.environ) -> OffloadKnob:
    """What SALLYPORT_OFFLOAD asks for; unset or empty means everything."""
    word = environment.get(OFFLOAD_VARIABLE) or OffloadKnob.USO.value
    try:
        return OffloadKnob(word)
    except ValueError:
        raise UsageError(f"{OFFLOAD_VARIABLE} must be none, tso or uso, not {word!r}") from None


def check_tun() -> None:
    """Raise PrivilegeError when no TUN can be opened here; creates nothing."""
    fd = _open_device()
    try:
        _features(fd)
    except OSError:
        raise PrivilegeError(f"{DEVICE} is no TUN device: give the container --device {DEVICE}") from None
    finally:
        os.close(fd)


def open_tun(name: str, *, mtu: int = 1420, offload: OffloadKnob | None = None) -> Tun:
    """Create the interface `name` (with `%d` in it the kernel picks the number), not yet up."""
    if not is_possible(name):
        raise UsageError(f"not a possible interface name: {name!r} (must be {ANY_FORM})")
    knob = offload_knob() if offload is None else offload
    fd = _open_device()
    try:
        vnet_hdr = knob is not OffloadKnob.NONE and bool(_features(fd) & _IFF_VNET_HDR)
        made = _create(fd, name, vnet_hdr=vnet_hdr)
        granted = _grant(fd, knob) if vnet_hdr else TunOffload(0)
        links.set_queue_length(made, QUEUE_PACKETS)
        links.set_mtu(made, mtu)
        links.keep_quiet(made)
    except BaseException:
        os.close(fd)
        raise
    _say_refused(made, knob, vnet_hdr=vnet_hdr, granted=granted)
    return Tun(fd, made, mtu, vnet_hdr, granted)


def probe_offloads() -> list[str]:
    """What this kernel takes, in words, for `version --verbose`. Leaves nothing behind."""
    words: list[str] = []
    thread = threading.Thread(target=_probe_tun, args=(words,), name="offload-probe")
    thread.start()
    thread.join()
    return words + _probe_udp()


def _open_device() -> int:
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise PrivilegeError(f"no permission to open {DEVICE}: root or CAP_NET_ADMIN is needed") from None
    except OSError as refusal:
        raise PrivilegeError(
            f"no usable {DEVICE} ({os.strerror(refusal.errno or 0)}): "
            f"load the module (modprobe tun), or give the container --device {DEVICE}"
        ) from None


def _features(fd: int) -> int:
    answer = fcntl.ioctl(fd, _TUNGETFEATURES, bytes(4))
    return int(struct.unpack("=I", answer)[0])


def _create(fd: int, name: str, *, vnet_hdr: bool) -> str:
    """TUNSETIFF; returns the name that the kernel gave."""
    flags = _IFF_TUN | _IFF_NO_PI | _IFF_TUN_EXCL | (_IFF_VNET_HDR if vnet_hdr else 0)
    try:
        answer = fcntl.ioctl(fd, _TUNSETIFF, _IFREQ.pack(os.fsencode(name), flags))
    except OSError as refusal:
        # EINVAL is the answer when the name belongs to an interface that is no TUN.
        taken = refusal.errno in (errno.EBUSY, errno.EEXIST)
        if taken or (refusal.errno == errno.EINVAL and links.exists(name)):
            raise InUseError(f"the interface {name} exists already") from None
        if refusal.errno in (errno.EPERM, errno.EACCES):
            raise PrivilegeError(f"creating the interface {name} needs root or CAP_NET_ADMIN") from None
        if refusal.errno == errno.EINVAL:
            raise UsageError(f"the kernel refuses the interface name {name!r}") from None
        raise UserError(f"cannot create the interface {name}: {os.strerror(refusal.errno or 0)}") from None
    made: bytes = _IFREQ.unpack(answer)[0]
    return os.fsdecode(made.rstrip(b"\0"))


def _grant(fd: int, knob: OffloadKnob) -> TunOffload:
    """The first step that the kernel accepts."""
    fcntl.ioctl(fd, _TUNSETVNETHDRSZ, struct.pack("=i", _VNET_HDR_BYTES))
    for step in _STEPS[knob]:
        try:
            fcntl.ioctl(fd, _TUNSETOFFLOAD, int(step))
        except OSError:
            continue
        return step
    return TunOffload(0)


def _say_refused(name: str, knob: OffloadKnob, *, vnet_hdr: bool, granted: TunOffload) -> None:
    wanted = _STEPS[knob]
    if wanted and not vnet_hdr:
        event(_log, logging.WARNING, "TUN offloads refused by the kernel", interface=name, refused="all")
    elif wanted and granted != wanted[0]:
        refused = ",".join(_words(wanted[0] & ~granted))
        event(_log, logging.WARNING, "TUN offloads refused by the kernel", interface=name, refused=refused)


def _words(offload: TunOffload) -> list[str]:
    return [(flag.name or "").lower() for flag in TunOffload if flag in offload]


def _probe_tun(words: list[str]) -> None:
    """In a thread of its own, which may therefore enter an empty network namespace: making an interface
    where everybody looks would set off udev and network managers. Where that is not allowed, ask in place."""
    clone_newnet = 0x40000000
    ctypes.CDLL(None, use_errno=True).unshare(clone_newnet)
    try:
        fd = _open_device()
    except UserError:
        words.append("tun unknown (needs root and /dev/net/tun)")
        return
    try:
        vnet_hdr = bool(_features(fd) & _IFF_VNET_HDR)
        _create(fd, "spprobe%d", vnet_hdr=vnet_hdr)
        words += _words(_grant(fd, OffloadKnob.USO)) if vnet_hdr else []
    except (OSError, UserError):
        words.append("tun unknown (needs root)")
    finally:
        os.close(fd)


def _probe_udp() -> list[str]:
    words = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        for word, option in (("udp-gso", 103), ("udp-gro", 104)):
            try:
                probe.setsockopt(socket.IPPROTO_UDP, option, 0)
            except OSError:
                continue
            words.append(word)
    return words
