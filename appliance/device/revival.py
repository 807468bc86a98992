"""After a restart: shake hands with whoever was there a moment ago, before they notice.

A client whose exit was started again goes on sending on a key that nobody has any more, and finds out by
itself only 15 s later. The slots remember where each client was and when it was last heard (in this boot):
to those of the last three minutes we initiate at once, paced, so that a thousand sessions do not make a
burst. The rest are woken by the first packet in either direction (crypto_ext/lost.c, and data without a
key). `main` starts this once the network is open.
"""

from __future__ import annotations

import trio

from appliance.clock import boottime_ns, wall_ns
from appliance.device.device import Device

# As old as a key can be: whoever was silent for longer has none that we could be missed on.
RECENT_NS = 180_000_000_000
# 200 handshakes a second take some 5 % of a core.
_PACE_SECONDS = 0.005


async def revive(device: Device) -> None:
    """Initiate to every session that was heard of lately and has no key; returns when all are asked."""
    for record in device.peers:
        if device.peers.by_handle(record.handle) is not record:
            continue  # ended meanwhile
        view = device.pump.peer(record.handle)
        now = boottime_ns()
        recent = view.seen_ns != 0 and now - view.seen_ns < RECENT_NS
        if record.is_session and recent and view.endpoint is not None and not view.current_index:
            record.brain.key_wanted(now, wall_ns())
            device.perform(record)
            await trio.sleep(_PACE_SECONDS)
