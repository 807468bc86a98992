"""The slow timers of a peer, to the nanosecond."""

import itertools

import pytest

from appliance.core.actions import DropStaged, EraseKeys, HandshakeDone, InstallKeypair, SendInitiation
from appliance.core.messages import NS_PER_SECOND, REKEY_TIMEOUT_JITTER_MAX_NS, MessageType
from tests.appliance.core.wire import MILLISECOND_NS, START_NS, Node, Wire, lost, wiped

INITIATION, RESPONSE = MessageType.INITIATION, MessageType.RESPONSE


def want(node: Node) -> None:
    node.peer.key_wanted(node.wire.now_ns, node.wall_ns)
    node.act()


def since_start_ns(wire: Wire) -> int:
    return wire.now_ns - START_NS


def sent_at_ns(wire: Wire, sender: str = "alice") -> list[int]:
    return [seen.at_ns - START_NS for seen in wire.heard(INITIATION, sender)]


def with_jitter(node: Node, jitter_ns: int) -> None:
    """Every draw of 8 bytes (only the jitter is that long) gives `jitter_ns`."""
    plain = node.random.randbytes
    node.peer._random = lambda size: jitter_ns.to_bytes(8, "little") if size == 8 else plain(size)


@pytest.mark.parametrize("jitter_ns", [0, 1, 123_456_789, REKEY_TIMEOUT_JITTER_MAX_NS])
def test_twenty_messages_at_exact_times_then_give_up(jitter_ns):
    wire = Wire()
    wire.fate = lost
    with_jitter(wire.alice, jitter_ns)
    wire.alice.send(b"hello?")
    step_ns = 5 * NS_PER_SECOND + jitter_ns
    wire.run(300)
    assert sent_at_ns(wire) == [number * step_ns for number in range(20)]
    kinds = [type(action) for action in wire.alice.actions]
    assert kinds == [SendInitiation] * 20 + [DropStaged]
    assert [action.retry for action in wire.alice.actions[:20]] == [False] + [True] * 19
    assert wire.alice.staged == []


def test_giving_up_comes_one_wait_after_the_twentieth_message():
    wire = Wire()
    wire.fate = lost
    with_jitter(wire.alice, 0)
    wire.alice.send(b"hello?")
    wire.run(100 - 1e-9)
    assert wire.alice.count(DropStaged) == 0
    assert wire.alice.staged == [b"hello?"]
    wire.run(1e-9)
    assert wire.alice.count(DropStaged) == 1
    # Nothing was ever derived, so keys are erased 540 s after that moment.
    assert wire.alice.peer.next_timer() == wire.now_ns + 540 * NS_PER_SECOND


def test_real_jitter_varies_within_a_third_of_a_second():
    wire = Wire(seed=5)
    wire.fate = lost
    wire.alice.send(b"hello?")
    wire.run(300)
    times = sent_at_ns(wire)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(gaps) == len(set(gaps)) == 19
    assert all(5 * NS_PER_SECOND <= gap <= 5 * NS_PER_SECOND + REKEY_TIMEOUT_JITTER_MAX_NS for gap in gaps)
    assert max(gaps) - min(gaps) > 100 * MILLISECOND_NS
    assert 95 * NS_PER_SECOND <= times[-1] <= 101.4 * NS_PER_SECOND


def test_each_retransmit_is_a_new_message_under_a_new_index():
    wire = Wire()
    wire.fate = lost
    wire.alice.send(b"hello?")
    wire.run(300)
    for part in (slice(4, 8), slice(8, 40), slice(40, 88), slice(88, 116)):
        assert len({seen.data[part] for seen in wire.eve}) == 20
    assert len(wire.alice.indices) == 1  # only the last still waits


def test_new_data_after_giving_up_starts_over():
    wire = Wire()
    wire.fate = lost
    wire.alice.send(b"1")
    wire.run(110)
    assert wire.alice.count(DropStaged) == 1
    wire.alice.send(b"2")
    assert len(wire.eve) == 21
    assert not wire.alice.actions[-1].retry
    wire.run(110)
    assert len(wire.eve) == 40
    assert wire.alice.count(DropStaged) == 2
    wire.fate = lambda data: [MILLISECOND_NS]
    wire.alice.send(b"3")
    wire.run(1)
    assert wire.bob.received == [b"3"]


def test_a_late_response_counts_even_after_giving_up():
    wire = Wire()
    wire.fate = lambda data: [7_000 * MILLISECOND_NS] if data[0] == RESPONSE else [MILLISECOND_NS]
    with_jitter(wire.alice, REKEY_TIMEOUT_JITTER_MAX_NS)
    wire.alice.send(b"1")
    wire.run(300)
    # Every response but the last came after the next initiation had replaced what it answers.
    assert len(wire.heard(INITIATION, "alice")) == 20
    assert wire.alice.count(InstallKeypair) == 1


def test_wanting_more_while_in_flight_changes_nothing():
    wire = Wire()
    wire.fate = lost
    with_jitter(wire.alice, 0)
    for _ in range(10 * 110):
        want(wire.alice)
        wire.run(0.1)
    times = sent_at_ns(wire)
    # 20 messages, given up at 100 s, and the want of that very moment starts over; then 105 and 110 s.
    assert times == [number * 5 * NS_PER_SECOND for number in range(23)]
    assert wire.alice.count(DropStaged) == 1
    assert [action.retry for action in wire.alice.actions[19:] if action != DropStaged()] == [
        True,
        False,
        True,
        True,
    ]


def test_a_want_too_early_is_served_at_the_five_second_mark():
    wire = Wire()
    want(wire.alice)
    wire.run(1)
    for _ in range(3):
        want(wire.alice)
    assert wire.alice.peer.next_timer() == START_NS + 5 * NS_PER_SECOND
    wire.run(10)
    assert sent_at_ns(wire) == [0, 5 * NS_PER_SECOND]
    assert wire.alice.count(HandshakeDone) == 2


def test_a_want_at_the_five_second_mark_is_served_at_once():
    wire = Wire()
    want(wire.alice)
    wire.run(5)
    want(wire.alice)
    assert sent_at_ns(wire) == [0, 5 * NS_PER_SECOND]


def test_a_sent_response_holds_initiations_back_as_well():
    wire = Wire()
    wire.fate = lambda data: [] if data[0] == RESPONSE else [MILLISECOND_NS]
    want(wire.alice)
    wire.run(0.001)
    assert len(wire.heard(RESPONSE, "bob")) == 1
    wire.fate = lost
    wire.run(1)
    want(wire.bob)
    wire.run(30)
    assert sent_at_ns(wire, "bob")[0] == MILLISECOND_NS + 5 * NS_PER_SECOND


def test_a_response_sent_meanwhile_postpones_the_retransmit():
    wire = Wire()
    wire.fate = lost
    with_jitter(wire.bob, 0)
    want(wire.bob)
    wire.run(3)
    wire.fate = lambda data: [] if data[0] == RESPONSE else [MILLISECOND_NS]
    want(wire.alice)
    wire.run(0.001)
    assert len(wire.heard(RESPONSE, "bob")) == 1
    wire.fate = lost
    wire.run(5.5)
    assert sent_at_ns(wire, "bob") == [0, 8 * NS_PER_SECOND + MILLISECOND_NS]
    assert wire.bob.actions[-1].retry


def test_a_want_is_forgotten_when_a_session_came_anyway():
    wire = Wire()
    want(wire.alice)
    wire.run(0.001)
    want(wire.bob)  # bob has answered 0 ms ago and has no session to send on yet
    assert wire.bob.peer.next_timer() == wire.now_ns + 5 * NS_PER_SECOND
    wire.run(20)
    assert sent_at_ns(wire, "bob") == []
    assert wire.bob.count(HandshakeDone) == 1


def test_a_session_stops_the_retransmit_whoever_began_it():
    wire = Wire()
    wire.fate = lost
    want(wire.bob)
    wire.run(1)
    wire.fate = lambda data: [MILLISECOND_NS]
    want(wire.alice)
    wire.run(60)
    assert len(sent_at_ns(wire, "bob")) == len(sent_at_ns(wire, "alice")) == 1
    assert wire.bob.count(HandshakeDone) == wire.alice.count(HandshakeDone) == 1


def test_attempts_count_anew_after_each_success():
    wire = Wire()
    for _ in range(2):
        wire.fate = lost
        want(wire.alice)
        wire.run(60)
        wire.fate = lambda data: [MILLISECOND_NS]
        wire.run(10)
    assert wire.alice.count(HandshakeDone) == 2
    wire.fate = lost
    before = len(sent_at_ns(wire))
    want(wire.alice)
    wire.run(200)
    assert len(sent_at_ns(wire)) - before == 20


# ---- erasure ---------------------------------------------------------------------------------------


def test_keys_are_erased_540_s_after_the_last_session_was_derived():
    wire = Wire()
    want(wire.alice)
    wire.run(200)
    want(wire.alice)
    wire.run(1)
    derived = {node.name: node.actions[-2].keypair.created_ns for node in (wire.alice,)}
    installed = next(a for a in reversed(wire.bob.actions) if isinstance(a, InstallKeypair))
    derived["bob"] = installed.keypair.created_ns
    assert len(wire.alice.indices) == len(wire.bob.indices) == 2
    for node in wire.nodes:
        assert node.peer.next_timer() == derived[node.name] + 540 * NS_PER_SECOND
    wire.run(538.9)
    assert wire.alice.count(EraseKeys) == wire.bob.count(EraseKeys) == 0
    wire.run(0.2)
    for node in wire.nodes:
        assert node.count(EraseKeys) == 1
        assert len(node.indices) == 0
        assert node.peer.keypairs.clear() == []
        assert node.peer.next_timer() is None


def test_giving_up_does_not_postpone_an_erasure():
    wire = Wire()
    want(wire.alice)
    wire.run(200)
    derived_ns = next(a for a in wire.alice.actions if isinstance(a, InstallKeypair)).keypair.created_ns
    wire.fate = lost
    want(wire.alice)
    wire.run(120)
    assert wire.alice.count(DropStaged) == 1
    assert wire.alice.peer.next_timer() == derived_ns + 540 * NS_PER_SECOND


def test_erasure_wipes_the_handshake_that_waits():
    wire = Wire()
    wire.fate = lost
    want(wire.alice)
    wire.run(110)
    pending = wire.alice.peer._pending
    assert pending is not None
    assert not wiped(pending)
    last = wire.heard(INITIATION, "alice")[-1].data
    wire.run(540)
    assert wire.alice.count(EraseKeys) == 1
    assert wiped(pending)
    assert pending.ephemeral is None
    assert len(wire.alice.indices) == 0
    wire.fate = lambda data: [MILLISECOND_NS]
    wire.inject(wire.bob, last)
    wire.run(1)
    assert len(wire.heard(RESPONSE)) == 1
    assert wire.alice.count(InstallKeypair) == 0


def test_the_handshake_is_wiped_as_soon_as_its_session_is_derived():
    wire = Wire()
    want(wire.alice)
    pending = wire.alice.peer._pending
    assert pending is not None
    wire.run(1)
    assert wiped(pending)
    assert pending.ephemeral is None


def test_a_clock_that_jumped_over_everything_erases_before_it_starts_anew():
    """Suspend: BOOTTIME leaps, all timers are due in one call."""
    wire = Wire()
    want(wire.alice)
    wire.run(60)
    wire.fate = lost
    want(wire.alice)
    wire.now_ns += 3600 * NS_PER_SECOND
    wire.alice.peer.handle_timer(wire.now_ns, wire.alice.wall_ns)
    actions = wire.alice.peer.take_actions()
    assert [type(action) for action in actions] == [EraseKeys, SendInitiation]
    assert wire.alice.peer._pending is not None
    assert not wiped(wire.alice.peer._pending)


def test_handling_a_timer_early_does_nothing_and_an_idle_peer_has_none():
    wire = Wire()
    assert wire.alice.peer.next_timer() is None
    wire.alice.peer.handle_timer(wire.now_ns, wire.alice.wall_ns)
    want(wire.alice)
    before = wire.alice.peer.next_timer()
    for ahead_ns in (0, 1, 5 * NS_PER_SECOND - 1):
        wire.alice.peer.handle_timer(START_NS + ahead_ns, wire.alice.wall_ns)
    assert wire.alice.peer.take_actions() == []
    assert wire.alice.peer.next_timer() == before
