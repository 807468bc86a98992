"""The fakes used all over these tests fit the ports that the real device and network code fit."""

from __future__ import annotations

import inspect

import pytest

from appliance.control.ports import DataPlane, ExitKeys, Flows
from appliance.device.sessions import SessionPeers
from appliance.keys import Keyring
from tests.appliance.control.fakes import FakeFlows, FakeKeys, FakePlane


@pytest.mark.parametrize(
    ("port", "fake"), [(DataPlane, FakePlane), (DataPlane, SessionPeers), (Flows, FakeFlows)]
)
def test_the_fakes_fit(port, fake):
    asked = {name: method for name, method in vars(port).items() if inspect.iscoroutinefunction(method)}
    assert asked
    for name, method in asked.items():
        assert inspect.signature(getattr(fake, name)) == inspect.signature(method)


@pytest.mark.parametrize("keys", [FakeKeys, Keyring])
def test_the_keys_fit(keys):
    for name in ("rotate", "forget_old"):
        assert inspect.signature(getattr(keys, name)) == inspect.signature(getattr(ExitKeys, name))
