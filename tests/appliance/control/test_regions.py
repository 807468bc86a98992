"""A region is told of when a session can be made in it."""

from __future__ import annotations

from appliance.control import regions
from appliance.control.views import RegionView
from tests.appliance.control.fakes import facts


def test_this_node():
    assert regions.view(facts(region="fsn")) == [RegionView("fsn", 1)]


def test_a_node_without_an_address_is_none():
    assert regions.view(facts(endpoint=None)) == []
    assert regions.view(facts(public_ip=None)) == []
