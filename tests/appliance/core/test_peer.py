"""Handshakes between two peers: what they come to, whatever the network and the clock do."""

import random
from dataclasses import replace

import pytest

from appliance.core import noise
from appliance.core.actions import HandshakeDone, InstallKeypair, SendInitiation, SendResponse
from appliance.core.indices import IndexTable
from appliance.core.messages import MessageType
from appliance.core.noise import Identity
from appliance.core.peer import Peer
from tests.appliance.core.test_primitives import LOW_ORDER
from tests.appliance.core.wire import MILLISECOND_NS, START_NS, Node, Wire, lost, terrible

INITIATION, RESPONSE = MessageType.INITIATION, MessageType.RESPONSE


def kinds(node: Node) -> list[type]:
    return [type(action) for action in node.actions]


def both_heard(wire: Wire) -> bool:
    return bool(wire.alice.received) and bool(wire.bob.received)


@pytest.mark.parametrize("psk", [bytes(32), bytes(range(32))])
def test_the_plain_handshake_message_by_message(psk):
    wire = Wire(psk=psk)
    wire.alice.send(b"hello")
    wire.run(1)

    assert [(seen.sender, seen.type, len(seen.data)) for seen in wire.eve] == [
        ("alice", 1, 148),
        ("bob", 2, 92),
        ("alice", 4, 16 + 5 + 16),
    ]
    assert wire.bob.received == [b"hello"]
    assert kinds(wire.alice) == [SendInitiation, InstallKeypair, HandshakeDone]
    # The responder's key is there before its response leaves; it is done when the key was used.
    assert kinds(wire.bob) == [InstallKeypair, SendResponse, HandshakeDone]
    assert not wire.alice.actions[0].retry
    assert wire.alice.actions[1].keypair.created_ns == START_NS + 2 * MILLISECOND_NS
    assert wire.alice.actions[2].wall_ns == wire.alice.wall_ns - 998 * MILLISECOND_NS

    wire.bob.send(b"well met")
    wire.run(1)
    assert wire.alice.received == [b"well met"]
    assert len(wire.eve) == 4


def test_with_nothing_to_say_the_initiator_sends_a_keepalive_so_that_the_responder_may_speak():
    wire = Wire()
    wire.alice.peer.key_wanted(wire.now_ns, wire.alice.wall_ns)
    wire.alice.act()
    wire.bob.staged.append(b"waiting")
    wire.run(1)
    assert [len(seen.data) for seen in wire.heard(MessageType.TRANSPORT)] == [32, 32 + 7]
    assert wire.alice.received == [b"waiting"]


def test_indices_of_the_messages_are_those_of_the_sessions():
    wire = Wire()
    wire.alice.send(b"x")
    wire.run(1)
    initiation, response, data = (seen.data for seen in wire.eve)
    assert (
        initiation[4:8] == response[8:12] == wire.alice.current.spec.keypair.local_index.to_bytes(4, "little")
    )
    assert response[4:8] == data[4:8] == wire.bob.current.spec.keypair.local_index.to_bytes(4, "little")
    for node in wire.nodes:
        assert node.indices.find(node.current.spec.keypair.local_index) is node.peer
        assert len(node.indices) == 1


@pytest.mark.timeout(60)
def test_a_hundred_handshakes_over_a_terrible_network():
    """Each side has something to say and repeats it every second; both get through every time."""
    worst_seconds = 0.0
    retries = 0
    for seed in range(100):
        wire = Wire(seed=seed, psk=bytes(range(32)))
        wire.fate = terrible(random.Random(seed))
        for _ in range(600):
            for node in wire.nodes:
                node.send(b"can you hear me?")
                del node.staged[128:]
            wire.run(1, until=lambda wire=wire: both_heard(wire))
            if both_heard(wire):
                break
        assert both_heard(wire), f"seed {seed}"
        worst_seconds = max(worst_seconds, (wire.now_ns - START_NS) / 1e9)

        retries += sum(action.retry for action in wire.alice.actions if isinstance(action, SendInitiation))
        # Then the weather clears: one quiet rekey leaves both sides on one session, and no index leaks.
        wire.fate = lambda data: [MILLISECOND_NS]
        wire.run(20)
        wire.alice.peer.key_wanted(wire.now_ns, wire.alice.wall_ns)
        wire.alice.act()
        wire.run(1)
        one, other = wire.alice.current.spec.transport, wire.bob.current.spec.transport
        assert (one.send_key, one.receive_key) == (other.receive_key, other.send_key)
        for node in wire.nodes:
            assert {session.spec.keypair.local_index for session in node.sessions()} == {
                pair.local_index
                for pair in (node.peer.keypairs.previous, node.peer.keypairs.current, node.peer.keypairs.next)
                if pair is not None
            }
            # At most an initiation that was overtaken by the other side's still waits.
            assert len(node.indices) - len(node.sessions()) in (0, 1)
    assert worst_seconds < 200
    assert retries > 30  # else it was not terrible


def test_simultaneous_initiations_converge_at_once():
    wire = Wire()
    wire.alice.send(b"from alice")
    wire.bob.send(b"from bob")
    wire.run(1)
    assert (wire.alice.received, wire.bob.received) == ([b"from bob"], [b"from alice"])
    assert len(wire.heard(INITIATION)) == len(wire.heard(RESPONSE)) == 2
    assert wire.alice.count(HandshakeDone) == wire.bob.count(HandshakeDone) == 1
    # And nothing is left that would repeat itself.
    wire.run(60)
    assert len(wire.heard(INITIATION)) == 2
    for payload in (b"1", b"2"):
        wire.alice.send(payload)
        wire.bob.send(payload)
        wire.run(1)
    assert wire.alice.received[1:] == wire.bob.received[1:] == [b"1", b"2"]


@pytest.mark.parametrize("first", ["alice", "bob"])
def test_crossing_initiations_of_which_one_response_is_lost(first):
    wire = Wire()
    responses = []

    def fate(data: bytes) -> list[int]:
        if data[0] == RESPONSE:
            responses.append(data)
            return [] if len(responses) == 1 else [MILLISECOND_NS]
        return [MILLISECOND_NS]

    wire.fate = fate
    order = wire.nodes if first == "alice" else wire.nodes[::-1]
    for node in order:
        node.send(b"hi " + node.name.encode())
    wire.run(1)
    assert both_heard(wire)
    wire.run(60)
    assert len(wire.heard(INITIATION)) == 2


def test_wrong_preshared_key_makes_no_session_and_leaves_the_handshake_in_flight():
    wire = Wire(psk=bytes(range(32)), bobs_psk=bytes(32))
    wire.alice.send(b"hello")
    wire.run(1)
    index = int.from_bytes(wire.eve[0].data[4:8], "little")
    assert wire.alice.count(InstallKeypair) == wire.alice.count(HandshakeDone) == 0
    assert wire.bob.count(HandshakeDone) == 0
    assert wire.alice.indices.find(index) is wire.alice.peer
    # The right key, still in time, makes the next try succeed: the session in flight was not harmed.
    wire.bob.peer.set_preshared_key(bytes(range(32)))
    wire.run(6)
    assert wire.bob.received == [b"hello"]


def test_a_new_preshared_key_counts_from_the_next_handshake():
    wire = Wire()
    wire.alice.send(b"1")
    wire.run(10)
    for node in wire.nodes:
        node.peer.set_preshared_key(b"k" * 32)
        assert node.peer.take_actions() == []
    wire.alice.send(b"2")
    wire.run(1)
    assert wire.bob.received == [b"1", b"2"]
    wire.alice.peer.key_wanted(wire.now_ns, wire.alice.wall_ns)
    wire.alice.act()
    wire.run(1)
    wire.alice.send(b"3")
    wire.run(1)
    assert wire.bob.received == [b"1", b"2", b"3"]
    assert wire.alice.count(HandshakeDone) == 2
    for key in (b"", bytes(31), bytes(33)):
        with pytest.raises(ValueError, match="32 bytes"):
            wire.alice.peer.set_preshared_key(key)


def test_a_lost_response_is_asked_for_again():
    wire = Wire()
    wire.fate = lambda data: [] if data[0] == RESPONSE else [MILLISECOND_NS]
    wire.alice.send(b"hello")
    wire.run(1)
    wire.fate = lambda data: [MILLISECOND_NS]
    wire.run(6)
    assert wire.bob.received == [b"hello"]
    assert [action.retry for action in wire.alice.actions if isinstance(action, SendInitiation)] == [
        False,
        True,
    ]


# ---- identity --------------------------------------------------------------------------------------


def test_without_a_private_key_a_peer_is_mute_until_it_gets_one():
    wire = Wire()
    identity = wire.alice.identity
    wire.alice.peer.set_identity(None, wire.now_ns)
    wire.alice.send(b"lost")
    assert wire.alice.staged == []  # no key can come, so nothing waits for it
    wire.bob.send(b"hello")
    wire.run(1)
    assert wire.heard(INITIATION, "alice") == wire.heard(RESPONSE, "alice") == []
    wire.alice.peer.set_identity(identity, wire.now_ns)
    wire.run(6)
    assert wire.alice.received == [b"hello"]


def test_a_changed_private_key_meets_its_peer_again_at_once():
    """What is in flight is void, but who waits need not wait for the 5 s mark."""
    wire = Wire()
    wire.fate = lost
    wire.alice.send(b"hello")
    wire.run(0.5)
    wire.fate = lambda data: [MILLISECOND_NS]

    new = Identity(b"a" * 32)
    wire.bob.peer.close()
    wire.bob.peer = Peer(
        identity=wire.bob.identity,
        public_key=new.public_key,
        indices=wire.bob.indices,
        random=wire.bob.random.randbytes,
    )
    wire.alice.identity = new
    wire.alice.peer.set_identity(new, wire.now_ns)
    assert wire.alice.peer.next_timer() == wire.now_ns
    wire.run(0.1)
    assert wire.bob.received == [b"hello"]
    assert not wire.alice.actions[1].retry

    # With a session and nobody waiting, only the 5 s rule is lifted: the next want is served at once.
    wire.alice.peer.set_identity(new, wire.now_ns)
    assert wire.alice.peer.take_actions() == []
    wire.alice.peer.key_wanted(wire.now_ns, wire.alice.wall_ns)
    wire.alice.act()
    wire.run(0.1)
    assert wire.alice.count(HandshakeDone) == 2


def test_a_changed_private_key_voids_the_initiation_in_flight():
    wire = Wire()
    wire.alice.send(b"1")
    index = int.from_bytes(wire.eve[0].data[4:8], "little")
    old = wire.alice.identity
    wire.alice.identity = Identity(b"z" * 32)
    wire.alice.peer.set_identity(wire.alice.identity, wire.now_ns)
    assert wire.alice.indices.find(index) is None
    wire.run(1)
    assert wire.alice.count(InstallKeypair) == 0
    assert old.public_key != wire.alice.identity.public_key


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_low_order_peer_is_mute_and_stays_configurable(point):
    rng = random.Random(1)
    indices: IndexTable[Peer] = IndexTable(rng.randbytes, lambda index: False)
    identity = Identity(rng.randbytes(32))
    peer = Peer(identity=identity, public_key=point, indices=indices, random=rng.randbytes)
    peer.key_wanted(0, 0)
    assert SendInitiation not in map(type, peer.take_actions())
    assert peer.next_timer() is None
    assert len(indices) == 0
    peer.set_preshared_key(b"k" * 32)
    peer.set_identity(Identity(rng.randbytes(32)), 0)
    peer.key_wanted(10**10, 0)
    assert SendInitiation not in map(type, peer.take_actions())
    peer.close()


def test_keys_of_another_length_are_our_own_mistake():
    rng = random.Random(1)
    indices: IndexTable[Peer] = IndexTable(rng.randbytes, lambda index: False)
    for public_key, psk in ((bytes(31), bytes(32)), (bytes(32), bytes(33))):
        with pytest.raises(ValueError, match="32 bytes"):
            Peer(
                identity=None,
                public_key=public_key,
                indices=indices,
                random=rng.randbytes,
                preshared_key=psk,
            )


def test_a_closed_peer_holds_nothing_and_wants_nothing():
    wire = Wire()
    wire.alice.send(b"1")
    wire.run(10)
    wire.alice.peer.key_wanted(wire.now_ns, wire.alice.wall_ns)
    assert len(wire.alice.indices) == 2
    wire.alice.peer.close()
    assert len(wire.alice.indices) == 0
    assert wire.alice.peer.next_timer() is None
    assert wire.alice.peer.take_actions() == []
    assert wire.alice.peer.preshared_key == bytes(32)


def test_the_order_of_indices_never_repeats_over_many_rekeys():
    wire = Wire()
    for _ in range(50):
        for node in wire.nodes:
            node.peer.key_wanted(wire.now_ns, node.wall_ns)
            node.act()
            wire.run(6)
    indices = [seen.data[4:8] for seen in wire.eve if seen.type in (INITIATION, RESPONSE)]
    assert len(set(indices)) == len(indices) == 200
    assert all(len(node.indices) <= 3 for node in wire.nodes)


def test_an_accepted_initiation_under_another_key_of_ours_becomes_the_key_between_us():
    wire = Wire()
    wire.alice.send(b"1")
    wire.run(1)
    old, new = wire.bob.identity, Identity(b"n" * 32)
    wire.alice.peer.close()
    wire.alice.peer = Peer(
        identity=wire.alice.identity,
        public_key=new.public_key,
        indices=wire.alice.indices,
        random=wire.alice.random.randbytes,
    )
    wire.run(1)
    wire.alice.peer.key_wanted(wire.now_ns, wire.alice.wall_ns)
    (sent,) = wire.alice.peer.take_actions()
    opened = new.open_initiation_untrusted(sent.message)
    bob = wire.bob.peer
    assert not bob.receive_initiation(opened, wire.now_ns, wire.bob.wall_ns)  # the key it knows is another
    assert bob.identity is old
    forged = replace(opened, sealed_timestamp=bytes(len(opened.sealed_timestamp)))
    assert not bob.receive_initiation(forged, wire.now_ns, wire.bob.wall_ns, under=new)
    assert bob.identity is old
    bob._sent_tick = old.ticks.tick + 7
    assert bob.receive_initiation(opened, wire.now_ns, wire.bob.wall_ns, under=new)
    assert bob.identity is new
    assert old.ticks.tick == bob._sent_tick  # whoever has the old key next does not stamp the same again
    wire.run(1)
    assert not bob.receive_initiation(opened, wire.now_ns, wire.bob.wall_ns, under=new)  # a replay
    assert not bob.receive_initiation(opened, wire.now_ns, wire.bob.wall_ns, under=old)
    assert bob.identity is new


def test_a_silent_peer_costs_no_mathematics(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = noise.dh_untrusted
    monkeypatch.setattr(noise, "dh_untrusted", lambda *keys: made.append(keys) or real(*keys))
    identity = Identity(b"i" * 32)
    peers = [
        Peer(
            identity=identity,
            public_key=bytes([n]) * 32,
            indices=IndexTable(bytes, lambda _: False),
            random=bytes,
        )
        for n in range(1, 5)
    ]
    peers[0].set_identity(Identity(b"j" * 32), 1)
    assert made == []
    assert {id(peer.preshared_key) for peer in peers} == {id(peers[0].preshared_key)}
