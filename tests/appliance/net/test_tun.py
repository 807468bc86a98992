"""Opening the TUN: what is granted, how each refusal reads, and that nothing is left behind."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import InUseError, PrivilegeError, UsageError, UserError
from appliance.net import links, tun
from appliance.net.tun import OffloadKnob, PumpOffload, Tun, TunOffload, offload_knob, open_tun
from tests.appliance.net.lab import Namespace

JOIN_ALL = PumpOffload.VNET_HDR | PumpOffload.JOIN_TCP | PumpOffload.JOIN_UDP


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Namespace("tun") as made:
        yield made


@pytest.fixture
def fussy_kernel(monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    """Maps an ioctl to a function of its argument that may raise; other ioctls go through."""
    answers: dict[int, Any] = {}
    real = fcntl.ioctl

    def ioctl(fd: Any, request: int, argument: Any = 0) -> Any:
        if request in answers:
            answers[request](argument)
        return real(fd, request, argument)

    monkeypatch.setattr(tun.fcntl, "ioctl", ioctl)
    return answers


def refuse(number: int) -> Any:
    def answer(argument: Any) -> None:
        raise OSError(number, os.strerror(number))

    return answer


def opened(host: Namespace, name: str = "sally0", **options: Any) -> Tun:
    return host.inside(lambda: open_tun(name, **options))


@pytest.mark.parametrize(
    ("vnet_hdr", "granted", "bits"),
    [
        (False, TunOffload(0), 0),
        (True, TunOffload(0), PumpOffload.VNET_HDR | PumpOffload.JOIN_TCP),
        (True, tun._TSO, PumpOffload.VNET_HDR | PumpOffload.JOIN_TCP),
        (True, tun._TSO | tun._USO, JOIN_ALL),
    ],
)
def test_bits_for_the_pump(vnet_hdr: bool, granted: TunOffload, bits: int):
    assert Tun(-1, "x", 1420, vnet_hdr, granted).offloads == bits


def test_the_knob():
    assert offload_knob({}) is OffloadKnob.USO
    assert offload_knob({"SALLYPORT_OFFLOAD": ""}) is OffloadKnob.USO
    assert offload_knob({"SALLYPORT_OFFLOAD": "tso"}) is OffloadKnob.TSO
    assert offload_knob({"SALLYPORT_OFFLOAD": "none"}) is OffloadKnob.NONE
    with pytest.raises(UsageError, match="none, tso or uso"):
        offload_knob({"SALLYPORT_OFFLOAD": "TSO"})


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 16, "a\n", "ä" * 8])
def test_impossible_names(name: str):
    with pytest.raises(UsageError, match="interface name"):
        open_tun(name)


def test_no_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(tun, "DEVICE", str(tmp_path / "tun"))
    for attempt in (tun.check_tun, lambda: open_tun("sally0")):
        with pytest.raises(PrivilegeError, match=r"no usable .*/tun") as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_no_permission(monkeypatch: pytest.MonkeyPatch):
    def refuse_open(*arguments: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tun.os, "open", refuse_open)
    with pytest.raises(PrivilegeError, match="CAP_NET_ADMIN"):
        tun.check_tun()


@pytest.mark.netns
def test_open_and_close(host: Namespace):
    made = opened(host, mtu=1300)
    try:
        link = host.inside(lambda: links.read_link("sally0"))
        assert link is not None
        assert (link.mtu, link.up) == (1300, False)
        assert (made.name, made.mtu, made.vnet_hdr) == ("sally0", 1300, True)
        assert TunOffload.TSO4 in made.granted
        assert os.get_blocking(made.fd) is False
        assert os.get_inheritable(made.fd) is False
        assert "qlen 2000" in host.run("ip", "link", "show", "sally0")
    finally:
        made.close()
    assert not host.inside(lambda: links.exists("sally0"))


@pytest.mark.netns
def test_the_kernel_may_choose_the_number(host: Namespace):
    first, second = opened(host, "wg%d"), opened(host, "wg%d")
    try:
        assert (first.name, second.name) == ("wg0", "wg1")
    finally:
        first.close()
        second.close()


@pytest.mark.netns
def test_an_interface_of_that_name(host: Namespace):
    made = opened(host)
    try:
        host.run("ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1")
        host.run("ip", "tuntap", "add", "mode", "tun", "name", "kept0")
        for name in ("sally0", "wire0", "lo", "kept0"):
            with pytest.raises(InUseError, match=name):
                opened(host, name)
    finally:
        made.close()


@pytest.mark.netns
def test_knob_none_opens_without_a_header(host: Namespace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SALLYPORT_OFFLOAD", "none")
    made = opened(host)
    made.close()
    assert (made.vnet_hdr, made.offloads) == (False, 0)


@pytest.mark.netns
def test_knob_tso_leaves_uso_out(host: Namespace):
    made = opened(host, offload=OffloadKnob.TSO)
    made.close()
    assert made.granted == tun._TSO


@pytest.mark.netns
@pytest.mark.parametrize(
    ("accepted", "granted", "refused"),
    [
        (0x07, tun._TSO, "uso4,uso6"),
        (0x01, TunOffload.CSUM, "tso4,tso6,uso4,uso6"),
        (0x00, TunOffload(0), "csum,tso4,tso6,uso4,uso6"),
    ],
)
def test_steps_down_and_says_so_once(
    host: Namespace,
    fussy_kernel: dict[int, Any],
    caplog: pytest.LogCaptureFixture,
    accepted: int,
    granted: TunOffload,
    refused: str,
):
    def old_kernel(argument: int) -> None:
        if argument & ~accepted:
            raise OSError(errno.EINVAL, "Invalid argument")

    fussy_kernel[tun._TUNSETOFFLOAD] = old_kernel
    with caplog.at_level(logging.WARNING):
        made = opened(host)
    made.close()
    assert (made.vnet_hdr, made.granted) == (True, granted)
    (record,) = caplog.records
    assert record.__dict__["sallyport_fields"] == {"interface": "sally0", "refused": refused}


@pytest.mark.netns
@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EPERM, PrivilegeError),
        (errno.EINVAL, UsageError),
        (errno.ENOMEM, UserError),
        (errno.EBUSY, InUseError),
    ],
)
def test_refusals_of_the_kernel(
    host: Namespace, fussy_kernel: dict[int, Any], number: int, error: type[UserError]
):
    fussy_kernel[tun._TUNSETIFF] = refuse(number)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error, match="sally0") as caught:
        opened(host)
    assert type(caught.value) is error
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.netns
def test_a_refused_mtu_leaves_no_interface(host: Namespace):
    with pytest.raises(OSError, match="Invalid argument"):
        opened(host, mtu=20)
    assert not host.inside(lambda: links.exists("sally0"))


@pytest.mark.netns
def test_probe_makes_no_interface_here(host: Namespace):
    words, names = host.inside(lambda: (tun.probe_offloads(), os.listdir("/proc/self/task")))
    assert {"csum", "tso4", "tso6", "udp-gso", "udp-gro"} <= set(words)
    assert names


def test_probe_without_the_right_says_so(
    fussy_kernel: dict[int, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(tun, "DEVICE", str(tmp_path / "tun"))
    words = tun.probe_offloads()
    assert words[0].startswith("tun unknown (needs root")
    assert "udp-gso" in words
