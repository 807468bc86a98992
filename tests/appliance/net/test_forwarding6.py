"""Which settings IPv6 forwarding takes on which kernel, over a tree that looks like /proc."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.net.forwarding6 import ALL, Forwarding6, ipv6_forwarding

CONF = "net/ipv6/conf"


class Host:
    """A pretended /proc of a host with eth0, which heeds router advertisements, and lan0, which does not."""

    def __init__(self, root: Path) -> None:
        self.proc = root
        for name, accept_ra in (("all", "1"), ("default", "1"), ("eth0", "1"), ("lan0", "0"), ("lo", "1")):
            self.set(f"{CONF}/{name}/accept_ra", accept_ra)
            self.set(f"{CONF}/{name}/forwarding", "0")

    def set(self, path: str, value: str) -> None:
        file = self.proc / "sys" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value + "\n")

    def asked(self, wrote: dict[str, str] | None = None, ways: tuple[str, ...] = ("eth0",)) -> Forwarding6:
        return ipv6_forwarding(self.proc, "sally0", ways, wrote or {})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_two_interfaces_where_the_kernel_can(host: Host):
    host.set(f"{CONF}/default/force_forwarding", "0")
    wanted = {f"{CONF}/sally0/force_forwarding": "1", f"{CONF}/eth0/force_forwarding": "1"}
    assert host.asked() == Forwarding6(wanted, closes=False)
    more = {**wanted, f"{CONF}/lan0/force_forwarding": "1"}
    assert host.asked(ways=("eth0", "lan0")) == Forwarding6(more, closes=False)


def test_a_host_that_forwards_already_is_left_as_it_is(host: Host):
    host.set(ALL, "1")
    assert host.asked() == Forwarding6({}, closes=False)
    host.set(f"{CONF}/default/force_forwarding", "0")
    assert host.asked() == Forwarding6({}, closes=False)


def test_on_older_kernels_advertisements_are_seen_to_before_all_else(host: Host):
    found = host.asked()
    paths = list(found.settings)
    assert paths[: paths.index(ALL)] == [f"{CONF}/default/accept_ra", f"{CONF}/eth0/accept_ra"]
    assert {found.settings[path] for path in paths[: paths.index(ALL)]} == {"2"}
    rest = paths[paths.index(ALL) :]
    assert rest == [ALL, *(f"{CONF}/{name}/forwarding" for name in ("default", "eth0", "lan0", "lo"))]
    assert {found.settings[path] for path in rest} == {"1"}
    assert found.closes, "and what the host did not forward it does not forward now"


def test_an_interface_that_forwards_heeds_none_and_need_not_begin(host: Host):
    host.set(f"{CONF}/eth0/forwarding", "1")
    assert f"{CONF}/eth0/accept_ra" not in host.asked().settings


def test_after_a_crash_the_same_is_asked_for_again(host: Host):
    """What is there now is our own doing; an interface that came since is seen to as well."""
    first = host.asked()
    for path, value in first.settings.items():
        host.set(path, value)
    host.set(f"{CONF}/eth1/accept_ra", "2")
    host.set(f"{CONF}/eth1/forwarding", "1")
    again = host.asked(first.settings)
    assert again.closes
    assert again.settings == {**first.settings, f"{CONF}/eth1/forwarding": "1"}
    assert next(iter(again.settings)) == f"{CONF}/default/accept_ra"
