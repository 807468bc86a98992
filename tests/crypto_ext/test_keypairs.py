"""Three slots, raced against ten dumb lines; rejects; wiping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext.rig import Rig, install, udp_packet

# What happens to a's slots: a becomes initiator or responder of a new key, b uses one of a's keys, or
# all are erased.
steps = st.lists(
    st.sampled_from(["initiate", "respond", "use next", "use current", "use previous", "erase"]), max_size=30
)


class Dumb:
    """The rules of rotation as the kernel's noise.c has them, on plain names."""

    def __init__(self) -> None:
        self.previous = self.current = self.next = 0

    def install(self, index: int, *, initiator: bool) -> None:
        if not initiator:
            self.next, self.previous = index, 0
        elif self.next:
            self.previous, self.next, self.current = self.next, 0, index
        else:
            self.previous, self.current = self.current, index

    def use(self, index: int) -> None:
        if index and index == self.next:
            self.previous, self.current, self.next = self.current, index, 0


@given(steps=steps)
def test_slots_rotate_as_ten_dumb_lines_do(steps: list[str]) -> None:
    with Rig(keys=False) as rig:
        dumb, partner = Dumb(), {}
        for n, step in enumerate(steps, start=1000):
            if step in ("initiate", "respond"):
                first = step == "initiate"
                install(rig.a, n, first=first, now=rig.now)
                dumb.install(rig.a.index, initiator=first)
                partner[rig.a.index] = (n, not first)
            elif step == "erase":
                rig.a.pump.erase_keys(rig.a.peer)
                dumb = Dumb()
            else:
                used = getattr(dumb, step.removeprefix("use "))
                if used:  # b speaks on its half of that key
                    number, first = partner[used]
                    rig.b.pump.erase_keys(rig.b.peer)
                    install(rig.b, number, first=True, now=rig.now)
                    if not first:
                        # b was the responder: turn the roles of the key material round
                        rig.b.pump.erase_keys(rig.b.peer)
                        forth, back = (bytes([number % 251, way] * 16) for way in (1, 2))
                        rig.b.pump.install(
                            rig.b.peer, send_key=back, receive_key=forth, local_index=2 * number + 1,
                            remote_index=2 * number, created_ns=rig.now, is_initiator=True, now_ns=rig.now,
                        )  # fmt: skip
                    rig.a.pump.step(rig.now)
                    dumb.use(used)
            view = rig.a.view
            assert (view.previous_index, view.current_index, view.next_index) == (
                dumb.previous,
                dumb.current,
                dumb.next,
            ), step
            live = {dumb.previous, dumb.current, dumb.next} - {0}
            assert {index for index in partner if rig.a.pump.index_in_use(index)} == live


def test_old_keys_still_receive_while_they_rotate() -> None:
    with Rig() as rig:
        rig.a.write(udp_packet(100))
        rig.a.pump.step(rig.now)
        late = rig.b.datagrams()
        rig.shake()
        rig.a.udp.sendto(late[0], rig.b.udp.getsockname())
        rig.settle()
        assert len(rig.b.read()) == 1  # on previous
        rig.a.write(udp_packet(100))
        rig.a.pump.step(rig.now)
        late = rig.b.datagrams()
        rig.shake()
        rig.shake()
        rig.a.udp.sendto(late[0], rig.b.udp.getsockname())
        rig.settle()
        assert rig.b.drops == {"unknown_index": 1}  # two rotations later it is gone


def test_expired_keys_receive_but_do_not_send() -> None:
    with Rig() as rig:
        rig.a.pump.expire_keys(rig.a.peer)
        rig.b.write(udp_packet(100, back=True))
        rig.a.write(udp_packet(100))
        rig.settle()
        assert len(rig.a.read()) == 1
        assert rig.b.read() == []
        assert rig.a.view.staged == 1
        rig.shake()
        assert len(rig.b.read()) == 1


def test_erased_keys_neither_send_nor_receive() -> None:
    with Rig() as rig:
        rig.a.pump.erase_keys(rig.a.peer)
        rig.b.write(udp_packet(100, back=True))
        rig.settle()
        assert rig.a.drops == {"unknown_index": 1}
        assert rig.a.view.current_index == 0


def test_a_peer_that_is_gone_takes_no_key() -> None:
    with Rig() as rig:
        rig.a.pump.remove_peer(rig.a.peer)
        with pytest.raises(FileNotFoundError):
            install(rig.a, 5, first=True, now=rig.now)
        for door in (rig.a.pump.erase_keys, rig.a.pump.expire_keys):
            with pytest.raises(FileNotFoundError):
                door(rig.a.peer)
