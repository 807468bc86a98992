"""The service unit: what it grants, and that it fits the program. How to verify it: docs/development.md."""

from __future__ import annotations

from pathlib import Path

import pytest

UNIT = (Path(__file__).resolve().parent.parent / "systemd/sallyport.service").read_text()


def values(key: str) -> list[str]:
    return [line.split("=", 1)[1] for line in UNIT.splitlines() if line.startswith(f"{key}=")]


def test_it_is_a_notifying_service_under_a_watchdog() -> None:
    assert values("Type") == ["notify"]
    assert values("NotifyAccess") == ["main"]
    assert values("WatchdogSec") == ["30"]


def test_the_program_comes_from_its_own_environment_alone() -> None:
    (command,) = values("ExecStart")
    assert command.startswith("/usr/lib/sallyport/bin/python -I -m appliance up")


def test_it_has_one_capability_and_gains_none() -> None:
    assert values("CapabilityBoundingSet") == ["CAP_NET_ADMIN"]
    assert values("NoNewPrivileges") == ["yes"]
    assert values("DeviceAllow") == ["/dev/net/tun rw"]


def test_counters_outlive_the_process_and_secrets_stay_private() -> None:
    assert values("RuntimeDirectory") == ["sallyport"]
    assert values("RuntimeDirectoryPreserve") == ["yes"]
    assert values("StateDirectory") == ["sallyport"]
    assert values("StateDirectoryMode") == ["0700"]


def test_what_does_not_heal_is_not_tried_again() -> None:
    """Usage, privilege, state (appliance/errors.py); not 4, for what is in use may become free."""
    assert values("Restart") == ["on-failure"]
    assert values("RestartPreventExitStatus") == ["2 3 5"]


@pytest.mark.parametrize("key", ["ProtectKernelTunables", "ProcSubset", "PrivateNetwork", "PrivateDevices"])
def test_nothing_takes_away_what_forwarding_needs(key: str) -> None:
    assert values(key) == []
