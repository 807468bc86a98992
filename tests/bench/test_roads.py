"""Roads: built of namespaces, traffic really goes over them, and through the programs that were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import OURS
from bench.lab import Lab
from bench.roads import BUILDERS


@pytest.mark.netns
@pytest.mark.parametrize("name", BUILDERS)
def test_a_road_s_address_answers_through_its_tunnel_only(name):
    other = Path("/usr/bin/wireguard-go")
    with Lab() as lab:
        road = BUILDERS[name](lab, OURS, other)
        assert road.near
        assert road.far
        assert "sallyport" in " ".join(road.near.process.argv)
        assert str(other) in road.far.process.argv
        road.client.run("ping", "-c", "1", "-W", "5", road.address)
        received, sent = road.far.transfer()
        assert received > 0
        assert sent > 0


@pytest.mark.netns
def test_bare_wires_have_no_ends():
    with Lab() as lab:
        road = BUILDERS["exit"](lab, None)
        assert (road.near, road.far) == (None, None)
        road.client.run("ping", "-c", "1", "-W", "5", road.address)
