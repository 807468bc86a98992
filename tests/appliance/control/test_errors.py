"""Every refusal can be caught as one; what a dialect needs to know is on it."""

from __future__ import annotations

from appliance.control import errors
from appliance.control.errors import NoNodeInRegion, Refused


def test_all_are_refusals():
    everything = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in everything if kind.__module__ == errors.__name__]
    assert len(kinds) >= 9
    assert all(issubclass(kind, Refused) for kind in kinds)


def test_the_region_and_what_there_is():
    refused = NoNodeInRegion("mars", ("fsn", "ash"))
    assert (refused.region, refused.available) == ("mars", ("fsn", "ash"))
