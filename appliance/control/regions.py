"""Which regions can carry a session now: this node's own, when it has an address to give."""

from __future__ import annotations

from appliance.control.ports import NodeFacts
from appliance.control.views import RegionView


def view(facts: NodeFacts) -> list[RegionView]:
    if facts.endpoint is None or facts.public_ip is None:
        return []
    return [RegionView(facts.region, node_count=1)]
