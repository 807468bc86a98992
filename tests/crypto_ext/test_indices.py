"""indices.c: an index names one keypair, however crowded the table is and whoever leaves it."""

from __future__ import annotations

import errno

from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext.rig import START, Rig, refused


def test_an_index_is_one_keypair_s() -> None:
    with Rig() as rig:
        taken = rig.a.view.current_index
        other = rig.a.pump.add_peer(bytes(32))
        with refused(errno.EADDRINUSE):
            rig.a.pump.install(
                other, send_key=bytes(32), receive_key=bytes(32), local_index=taken, remote_index=1,
                created_ns=rig.now, is_initiator=True, now_ns=rig.now,
            )  # fmt: skip


@given(
    indices=st.lists(st.integers(0, 2**32 - 1).map(lambda i: i & 0xF000000F), max_size=200), data=st.data()
)
def test_it_survives_crowding_and_removal(indices: list[int], data: st.DataObject) -> None:
    """Indices that all hash to a few places, each the only key of a peer, removed in any order."""
    with Rig(keys=False) as rig:
        pump, live = rig.a.pump, {}
        for n, index in enumerate(indices):
            if index in live:
                continue
            peer = pump.add_peer(n.to_bytes(32, "big"))
            pump.install(
                peer, send_key=bytes(32), receive_key=bytes(32), local_index=index, remote_index=1,
                created_ns=START, is_initiator=False, now_ns=START,
            )  # fmt: skip
            live[index] = peer
            if len(live) > 3 and data.draw(st.booleans()):
                gone = data.draw(st.sampled_from(sorted(live)))
                pump.remove_peer(live.pop(gone))
                assert not pump.index_in_use(gone)
        assert all(pump.index_in_use(index) for index in live)
        assert all(not pump.index_in_use(index) for index in set(indices) - set(live))
