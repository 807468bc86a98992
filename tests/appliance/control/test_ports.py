"""The fakes used all over these tests fit the ports that the real device and network code fit."""

from __future__ import annotations

import inspect

import pytest

from appliance.control.ports import DataPlane, Flows
from tests.appliance.control.fakes import FakeFlows, FakePlane


@pytest.mark.parametrize(("port", "fake"), [(DataPlane, FakePlane), (Flows, FakeFlows)])
def test_the_fakes_fit(port, fake):
    asked = {name: method for name, method in vars(port).items() if inspect.iscoroutinefunction(method)}
    assert asked
    for name, method in asked.items():
        assert inspect.signature(getattr(fake, name)) == inspect.signature(method)
