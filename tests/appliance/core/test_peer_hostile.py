"""Replays, floods, stamps, forgeries and noise against a peer."""

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance.core import primitives
from appliance.core.actions import HandshakeDone, InstallKeypair
from appliance.core.messages import NS_PER_SECOND, BadMessage, MessageType
from appliance.core.noise import Identity, Pairing, create_initiation
from appliance.core.peer import Peer
from tests.appliance.core.test_primitives import LOW_ORDER
from tests.appliance.core.wire import MILLISECOND_NS, Wire, lost

INITIATION, RESPONSE = MessageType.INITIATION, MessageType.RESPONSE


def stamp(seconds: int, nanoseconds: int = 0) -> bytes:
    return (0x400000000000000A + seconds).to_bytes(8, "big") + nanoseconds.to_bytes(4, "big")


def knock(wire: Wire, timestamp: bytes) -> bool:
    """Does bob answer an initiation of alice's key that bears this stamp?"""
    message, _ = create_initiation(
        Pairing(wire.alice.identity, wire.bob.identity.public_key),
        local_index=77,
        ephemeral_key=wire.random.randbytes(32),
        timestamp=timestamp,
    )
    opened = wire.bob.identity.open_initiation_untrusted(message)
    accepted = wire.bob.peer.receive_initiation(opened, wire.now_ns, wire.bob.wall_ns)
    assert bool(wire.bob.peer.take_actions()) == accepted
    return accepted


def test_equal_and_older_stamps_are_refused_and_newer_ones_not():
    wire = Wire()
    assert knock(wire, stamp(1000, 500))
    for timestamp, accepted in (
        (stamp(1000, 500), False),
        (stamp(1000, 499), False),
        (stamp(999, 999_999_999), False),
        (bytes(12), False),
        (stamp(1000, 501), True),
        (stamp(1001), True),
        (stamp(4_000_000_000), True),  # far future: accepted, and then remembered
        (stamp(1002), False),
        (b"\xff" * 12, True),
        (b"\xff" * 12, False),
    ):
        wire.run(1)
        assert knock(wire, timestamp) == accepted, timestamp.hex()


def test_the_greatest_stamp_outlives_sessions_and_identities():
    wire = Wire()
    assert knock(wire, stamp(1000))
    wire.run(3600)
    wire.bob.identity = Identity(b"n" * 32)
    wire.bob.peer.set_identity(wire.bob.identity, wire.now_ns)
    assert not knock(wire, stamp(1000))
    assert knock(wire, stamp(1001))


def test_two_initiations_within_20_ms_are_one_too_many():
    wire = Wire()
    assert knock(wire, stamp(1))
    wire.now_ns += 20 * MILLISECOND_NS - 1
    assert not knock(wire, stamp(2))
    # The refused one neither prolongs the pause nor raises the stamp.
    wire.now_ns += 1
    assert knock(wire, stamp(2))


def test_unauthentic_initiations_do_not_start_the_pause():
    wire = Wire()
    wire.alice.send(b"x")
    forged, _ = create_initiation(
        Pairing(Identity(b"e" * 32), wire.bob.identity.public_key),
        local_index=1,
        ephemeral_key=bytes(32),
        timestamp=stamp(1),
    )
    opened = wire.bob.identity.open_initiation_untrusted(forged)
    assert opened.public_key == Identity(b"e" * 32).public_key
    assert not wire.bob.peer.receive_initiation(opened, wire.now_ns, wire.bob.wall_ns)
    claimed = replace(opened, public_key=wire.alice.identity.public_key)
    assert not wire.bob.peer.receive_initiation(claimed, wire.now_ns, wire.bob.wall_ns)
    assert wire.bob.peer.take_actions() == []
    assert knock(wire, stamp(1))


def test_stamps_rise_though_the_wall_clock_steps_back():
    wire = Wire()
    for step in range(10):
        wire.alice.peer.key_wanted(wire.now_ns, wire.alice.wall_ns)
        wire.alice.act()
        wire.run(6)
        wire.alice.wall_shift_ns -= 3600 * NS_PER_SECOND
        assert wire.bob.count(HandshakeDone) == step + 1


def test_a_peer_that_was_removed_and_came_back_still_sends_newer_stamps():
    """Its partner remembers; so must we, although the wall clock stepped back in between."""
    wire = Wire()
    wire.alice.send(b"1")
    wire.run(1)
    for shift_ns in (0, -3600 * NS_PER_SECOND):
        wire.alice.wall_shift_ns = shift_ns
        wire.alice.peer.close()
        wire.alice.previous = wire.alice.current = wire.alice.next = None
        wire.alice.peer = Peer(
            identity=wire.alice.identity,
            public_key=wire.bob.identity.public_key,
            indices=wire.alice.indices,
            random=wire.alice.random.randbytes,
        )
        wire.run(1)
        wire.alice.send(b"again")
        wire.run(1)
    assert wire.bob.received == [b"1", b"again", b"again"]


# ---- replays ---------------------------------------------------------------------------------------


def test_replayed_handshake_messages_do_nothing():
    wire = Wire()
    wire.alice.send(b"1")
    wire.run(1)
    recorded = [seen.data for seen in wire.eve]
    counts = (len(wire.alice.actions), len(wire.bob.actions))
    for pause in (0, 1, 4, 30):
        wire.run(pause)
        for data in recorded[:2]:
            for node in wire.nodes:
                wire.inject(node, data)
    assert counts == (len(wire.alice.actions), len(wire.bob.actions))
    assert len(wire.eve) == len(recorded)


def test_a_response_of_an_earlier_attempt_is_not_taken_for_the_present_one():
    wire = Wire()
    wire.fate = lambda data: [] if data[0] == RESPONSE else [MILLISECOND_NS]
    wire.alice.send(b"1")
    wire.run(6)
    first, second = (seen.data for seen in wire.heard(RESPONSE))
    wire.fate = lost
    peer = wire.alice.peer
    assert not peer.receive_response_untrusted(first, wire.now_ns, wire.alice.wall_ns)
    assert peer.receive_response_untrusted(second, wire.now_ns, wire.alice.wall_ns)
    assert not peer.receive_response_untrusted(second, wire.now_ns, wire.alice.wall_ns)
    assert [type(action) for action in peer.take_actions()] == [InstallKeypair, HandshakeDone]


def test_a_response_nobody_asked_for_is_refused():
    wire = Wire()
    wire.alice.send(b"1")
    wire.run(1)
    response = wire.heard(RESPONSE)[0].data
    for node in wire.nodes:
        assert not node.peer.receive_response_untrusted(response, wire.now_ns, node.wall_ns)


# ---- forgeries -------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_low_order_ephemeral_in_a_response_harms_nothing(point):
    wire = Wire()
    wire.fate = lambda data: [] if data[0] == RESPONSE else [MILLISECOND_NS]
    wire.alice.send(b"1")
    wire.run(1)
    good = wire.heard(RESPONSE)[0].data
    bad = good[:12] + point + good[44:60]
    bad += primitives.mac(wire.alice.identity.mac1_key, bad) + bytes(16)
    wire.fate = lambda data: [MILLISECOND_NS]
    wire.inject(wire.alice, bad)
    assert wire.alice.count(InstallKeypair) == 0
    wire.inject(wire.alice, good)
    wire.run(1)
    assert wire.bob.received == [b"1"]


@settings(max_examples=100)
@given(
    at_bob=st.booleans(),
    edits=st.lists(st.tuples(st.integers(0, 147), st.integers(1, 255)), min_size=1, max_size=4),
    resign=st.booleans(),
    cut=st.integers(-3, 3),
)
def test_mutated_messages_raise_nothing_and_make_no_session(at_bob, edits, resign, cut):
    wire = Wire()
    wire.fate = lost
    wire.alice.send(b"1")
    initiation = wire.eve[0].data
    if not at_bob:
        wire.inject(wire.bob, initiation)
    target, node, mac_at = (
        (initiation, wire.bob, 116) if at_bob else (wire.heard(RESPONSE)[0].data, wire.alice, 60)
    )
    mutated = bytearray(target)
    for offset, value in edits:
        mutated[offset % mac_at] ^= value
    if resign:
        mutated[mac_at : mac_at + 16] = primitives.mac(node.identity.mac1_key, bytes(mutated[:mac_at]))
    data = bytes(mutated)
    data = data + bytes(cut) if cut > 0 else data[: len(data) + cut]
    if data == target or (resign and cut == 0 and data[:4] + data[8:mac_at] == target[:4] + target[8:mac_at]):
        return  # nothing changed but the sender's own index, which is the sender's to choose
    before = len(node.actions)
    node.peer.receive_response_untrusted(data, wire.now_ns, node.wall_ns)
    try:
        opened = node.identity.open_initiation_untrusted(data)
    except BadMessage:
        pass
    else:
        node.peer.receive_initiation(opened, wire.now_ns, node.wall_ns)
    node.act()
    assert len(node.actions) == before
    # And the true message still works.
    wire.inject(node, target)
    assert node.count(InstallKeypair) == 1


@given(st.binary(max_size=160))
def test_random_bytes_raise_nothing(data):
    wire = Wire()
    wire.fate = lost
    wire.alice.send(b"1")
    for head in (b"", b"\1\0\0\0", b"\2\0\0\0"):
        for size in (len(data), 148, 92):
            noise = (head + data).ljust(size, b"\0")[:size]
            assert not wire.alice.peer.receive_response_untrusted(noise, wire.now_ns, wire.alice.wall_ns)
            with pytest.raises(BadMessage):
                wire.bob.identity.open_initiation_untrusted(noise)


# ---- any order of anything -------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Wants, losses, replays, waits and clock steps in any order: the promises hold throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire(seed=3)
        self.rng = random.Random(3)

    def _node(self, alice: bool):
        return self.wire.alice if alice else self.wire.bob

    @rule(alice=st.booleans())
    def want(self, alice):
        node = self._node(alice)
        node.peer.key_wanted(self.wire.now_ns, node.wall_ns)
        node.act()

    @rule(alice=st.booleans())
    def speak(self, alice):
        self._node(alice).send(b"hello")

    @rule(seconds=st.sampled_from([0.001, 0.019, 0.3, 1, 4.999, 5, 5.4, 91, 181, 541]))
    def wait(self, seconds):
        self.wire.run(seconds)

    @rule(good=st.booleans())
    def weather(self, good):
        self.wire.fate = (lambda data: [MILLISECOND_NS]) if good else lost

    @rule(alice=st.booleans(), which=st.integers(0, 1000))
    def replay(self, alice, which):
        if self.wire.eve:
            self.wire.inject(self._node(alice), self.wire.eve[which % len(self.wire.eve)].data)

    @rule(alice=st.booleans(), seconds=st.integers(-1000, 1000))
    def step_wall_clock(self, alice, seconds):
        self._node(alice).wall_shift_ns += seconds * NS_PER_SECOND

    @invariant()
    def initiations_are_five_seconds_apart(self):
        for node in self.wire.nodes:
            handshakes = [
                seen
                for seen in self.wire.eve
                if seen.sender == node.name and seen.type in (INITIATION, RESPONSE)
            ]
            for earlier, later in itertools.pairwise(handshakes):
                if later.type == INITIATION:
                    assert later.at_ns - earlier.at_ns >= 5 * NS_PER_SECOND

    @invariant()
    def no_message_and_no_index_is_sent_twice(self):
        heads = [seen.data[:8] for seen in self.wire.eve if seen.type in (INITIATION, RESPONSE)]
        assert len(heads) == len(set(heads))

    @invariant()
    def indices_are_those_of_sessions_and_the_one_handshake(self):
        for node in self.wire.nodes:
            sessions = {session.spec.keypair.local_index for session in node.sessions()}
            assert all(node.indices.find(index) is node.peer for index in sessions)
            assert len(node.indices) - len(sessions) in (0, 1)

    def teardown(self):
        """Whatever happened, with a good network both sides meet again."""
        self.wire.fate = lambda data: [MILLISECOND_NS]
        self.wire.run(200)
        for node in self.wire.nodes:
            node.previous = node.current = node.next = None
            node.received.clear()
        for node in self.wire.nodes:
            node.send(b"made it")
        self.wire.run(6)
        for node in self.wire.nodes:
            assert node.received
            node.peer.close()
            assert len(node.indices) == 0


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
