"""heap.c: whatever is put in, moved and removed, the nearest deadline is the first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext.rig import SECOND, Rig, endpoint


@given(
    st.lists(
        st.tuples(st.integers(0, 11), st.integers(0, 40), st.integers(0, 60 * SECOND)),
        min_size=1,
        max_size=60,
    )
)
def test_it_knows_the_nearest_deadline(steps: list[tuple[int, int, int]]) -> None:
    """Many peers whose persistent keepalives are set, cleared, fired and removed in any order."""
    with Rig(keys=False) as rig:
        pump, peers, dumb = rig.a.pump, {}, {}
        for which, seconds, passed in steps:
            if which not in peers:
                peers[which] = pump.add_peer(bytes([which + 100]) * 32)
                pump.set_endpoint(peers[which], endpoint(rig.b.udp))
            if seconds > 35:
                pump.remove_peer(peers.pop(which))
                dumb.pop(which, None)
            else:
                pump.set_keepalive(peers[which], seconds, rig.now)
                dumb[which] = (rig.now + seconds * SECOND, seconds)
                if not seconds:
                    del dumb[which]
            assert pump.next_deadline() == min((at for at, _ in dumb.values()), default=0)
            rig.now += passed
            due = {w for w, (at, _) in dumb.items() if at <= rig.now}
            assert pump.step(rig.now) == len(due)
            dumb.update({w: (rig.now + dumb[w][1] * SECOND, dumb[w][1]) for w in due})
