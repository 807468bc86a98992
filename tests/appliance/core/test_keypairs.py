"""The slots, by hand and against a list that is told the rules in other words."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.core.keypairs import Keypair, KeypairSlots


def mine(index: int) -> Keypair:
    return Keypair(index, index * 100, is_initiator=True)


def theirs(index: int) -> Keypair:
    return Keypair(index, index * 100, is_initiator=False)


def state(slots: KeypairSlots) -> list[int | None]:
    return [
        None if pair is None else pair.local_index for pair in (slots.previous, slots.current, slots.next)
    ]


def test_initiating_moves_current_to_previous():
    slots = KeypairSlots()
    assert slots.install(mine(1)) == []
    assert slots.install(mine(2)) == []
    assert state(slots) == [1, 2, None]
    assert slots.install(mine(3)) == [mine(1)]
    assert state(slots) == [2, 3, None]


def test_answering_waits_in_next_and_drops_previous():
    slots = KeypairSlots()
    slots.install(mine(1))
    slots.install(mine(2))
    assert slots.install(theirs(3)) == [mine(1)]
    assert state(slots) == [None, 2, 3]
    assert slots.install(theirs(4)) == [theirs(3)]
    assert slots.confirm() == []
    assert state(slots) == [2, 4, None]
    assert slots.confirm() == []
    assert state(slots) == [2, 4, None]


def test_initiating_over_an_unconfirmed_next_keeps_that_one():
    slots = KeypairSlots()
    slots.install(mine(1))
    slots.install(theirs(2))
    assert slots.install(mine(3)) == [mine(1)]
    assert state(slots) == [2, 3, None]


def test_confirming_drops_previous():
    slots = KeypairSlots()
    slots.install(theirs(1))
    slots.confirm()
    slots.install(theirs(2))
    slots.confirm()
    assert state(slots) == [1, 2, None]
    slots.install(theirs(3))
    assert slots.confirm() == []
    assert state(slots) == [2, 3, None]


def test_clearing_gives_all():
    slots = KeypairSlots()
    slots.install(mine(1))
    slots.install(mine(2))
    slots.install(theirs(3))
    assert slots.clear() == [mine(2), theirs(3)]
    assert state(slots) == [None, None, None]
    assert slots.clear() == []


@given(st.lists(st.sampled_from(["mine", "theirs", "confirm", "clear"]), max_size=40))
def test_against_the_rules_as_a_dict(steps):
    slots, plain = KeypairSlots(), dict.fromkeys(("previous", "current", "next"))
    alive: set[int] = set()
    for index, step in enumerate(steps, 1):
        if step == "mine":
            dropped = slots.install(mine(index))
            alive.add(index)
            plain = {"previous": plain["next"] or plain["current"], "current": index, "next": None}
        elif step == "theirs":
            dropped = slots.install(theirs(index))
            alive.add(index)
            plain = {"previous": None, "current": plain["current"], "next": index}
        elif step == "confirm":
            dropped = slots.confirm()
            if plain["next"]:
                plain = {"previous": plain["current"], "current": plain["next"], "next": None}
        else:
            dropped = slots.clear()
            plain = dict.fromkeys(plain)
        assert state(slots) == list(plain.values())
        alive -= {pair.local_index for pair in dropped}
        assert alive == {value for value in plain.values() if value}
