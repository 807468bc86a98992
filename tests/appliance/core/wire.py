"""Two peers on a fake wire, with a virtual clock and an eavesdropper. No sockets, no waiting.

A `Node` is a device in small: one `Peer`, and a dumb stand-in for the data plane that keeps the three
key slots with their keys, stages payloads while there is no key, seals and opens real transport
messages, and tells the peer what C would tell it. A `Wire` carries datagrams between two nodes, asks a
`fate` function what becomes of each (a list of delays: none = lost, two = duplicated), jumps its
clock from event to event, and lets `eve` see everything that was sent.
"""

from __future__ import annotations

import heapq
import itertools
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from appliance.core.actions import (
    DropStaged,
    EraseKeys,
    HandshakeDone,
    InstallKeypair,
    SendInitiation,
    SendResponse,
)
from appliance.core.indices import IndexTable
from appliance.core.messages import (
    NS_PER_SECOND,
    REJECT_AFTER_TIME_NS,
    BadMessage,
    MessageType,
    parse_response_untrusted,
)
from appliance.core.noise import Identity, PendingInitiation
from appliance.core.peer import Peer
from appliance.core.symmetric import PlainState

MILLISECOND_NS = 1_000_000
START_NS = 5_000 * NS_PER_SECOND
WALL_MINUS_BOOT_NS = 1_780_000_000 * NS_PER_SECOND
TRANSPORT_HEADER = struct.Struct("<IIQ")

Fate = Callable[[bytes], list[int]]


@dataclass(frozen=True)
class Seen:
    """One datagram as Eve noted it."""

    at_ns: int
    sender: str
    data: bytes

    @property
    def type(self) -> int:
        return self.data[0]


def wiped(pending: PendingInitiation) -> bool:
    """Whether nothing is left of a handshake's state, which is of the plain kind here."""
    state = pending.state
    assert isinstance(state, PlainState)
    return state._chain_key == state._hash == bytes(32)


class Session:
    """A keypair in the stand-in data plane."""

    def __init__(self, spec: InstallKeypair) -> None:
        self.spec = spec
        self.sent = 0
        self.seen: set[int] = set()

    def usable(self, now_ns: int) -> bool:
        return now_ns < self.spec.keypair.created_ns + REJECT_AFTER_TIME_NS


class Node:
    """One end of the wire."""

    def __init__(self, name: str, wire: Wire, identity: Identity, remote_key: bytes, psk: bytes) -> None:
        self.name = name
        self.wire = wire
        self.identity = identity
        self.random = random.Random(f"{wire.seed}/{name}")
        self.indices: IndexTable[Peer] = IndexTable(self.random.randbytes, self.in_use)
        self.peer = Peer(
            identity=identity,
            public_key=remote_key,
            indices=self.indices,
            random=self.random.randbytes,
            preshared_key=psk,
        )
        self.previous: Session | None = None
        self.current: Session | None = None
        self.next: Session | None = None
        self.staged: list[bytes] = []
        self.received: list[bytes] = []
        self.actions: list[object] = []  # all that the peer ever asked for
        self.wall_shift_ns = 0

    def sessions(self) -> list[Session]:
        return [session for session in (self.previous, self.current, self.next) if session is not None]

    def in_use(self, index: int) -> bool:
        return any(session.spec.keypair.local_index == index for session in self.sessions())

    @property
    def wall_ns(self) -> int:
        return self.wire.now_ns + WALL_MINUS_BOOT_NS + self.wall_shift_ns

    def count(self, kind: type) -> int:
        return sum(isinstance(action, kind) for action in self.actions)

    # ---- what the data plane does ----

    def send(self, payload: bytes) -> None:
        if self.current is not None and self.current.usable(self.wire.now_ns):
            self._seal(self.current, payload)
        else:
            self.staged.append(payload)
            self.peer.key_wanted(self.wire.now_ns, self.wall_ns)
            self.act()

    def receive(self, data: bytes) -> None:
        now_ns = self.wire.now_ns
        if data[0] == MessageType.INITIATION:
            try:
                opened = self.identity.open_initiation_untrusted(data)
            except BadMessage:
                return
            if opened.public_key == self.peer.public_key:
                self.peer.receive_initiation(opened, now_ns, self.wall_ns)
        elif data[0] == MessageType.RESPONSE:
            try:
                owner = self.indices.find(parse_response_untrusted(data).receiver_index)
            except BadMessage:
                return
            if owner is self.peer:
                self.peer.receive_response_untrusted(data, now_ns, self.wall_ns)
        else:
            self._open(data)
        self.act()

    def _seal(self, session: Session, payload: bytes) -> None:
        header = TRANSPORT_HEADER.pack(
            MessageType.TRANSPORT, session.spec.transport.remote_index, session.sent
        )
        nonce = bytes(4) + header[8:]
        session.sent += 1
        sealed = ChaCha20Poly1305(session.spec.transport.send_key).encrypt(nonce, payload, b"")
        self.wire.send(self, header + sealed)

    def _open(self, data: bytes) -> None:
        _, index, counter = TRANSPORT_HEADER.unpack_from(data)
        for session in self.sessions():
            if session.spec.keypair.local_index != index or not session.usable(self.wire.now_ns):
                continue
            try:
                payload = ChaCha20Poly1305(session.spec.transport.receive_key).decrypt(
                    bytes(4) + data[8:16], data[16:], b""
                )
            except InvalidTag:
                return
            if counter in session.seen:
                return
            session.seen.add(counter)
            if session is self.next:
                self.previous, self.current, self.next = self.current, session, None
                self._flush()
                self.peer.confirmed(self.wire.now_ns, self.wall_ns)
            if payload:
                self.received.append(payload)
            return

    def _flush(self) -> None:
        assert self.current is not None
        staged, self.staged = self.staged, []
        for payload in staged:
            self._seal(self.current, payload)

    def _install(self, spec: InstallKeypair) -> None:
        assert not self.in_use(spec.keypair.local_index)
        session = Session(spec)
        if not spec.keypair.is_initiator:
            self.previous, self.next = None, session
            return
        self.previous = self.current if self.next is None else self.next
        self.current, self.next = session, None
        if self.staged:
            self._flush()
        else:
            self._seal(session, b"")

    def act(self) -> None:
        """What device.py does with actions."""
        for action in self.peer.take_actions():
            self.actions.append(action)
            match action:
                case SendInitiation(message=message) | SendResponse(message=message):
                    self.wire.send(self, message)
                case InstallKeypair():
                    self._install(action)
                case EraseKeys():
                    self.previous = self.current = self.next = None
                case DropStaged():
                    self.staged.clear()
                case HandshakeDone():
                    pass


class Wire:
    """Alice, Bob, the air between them, and Eve."""

    def __init__(self, *, seed: int = 0, psk: bytes = bytes(32), bobs_psk: bytes | None = None) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now_ns = START_NS
        self.fate: Fate = lambda data: [MILLISECOND_NS]
        self.eve: list[Seen] = []
        self._order = itertools.count()
        self._air: list[tuple[int, int, Node, bytes]] = []
        alice, bob = Identity(self.random.randbytes(32)), Identity(self.random.randbytes(32))
        self.alice = Node("alice", self, alice, bob.public_key, psk)
        self.bob = Node("bob", self, bob, alice.public_key, psk if bobs_psk is None else bobs_psk)

    @property
    def nodes(self) -> tuple[Node, Node]:
        return self.alice, self.bob

    def send(self, sender: Node, data: bytes) -> None:
        self.eve.append(Seen(self.now_ns, sender.name, data))
        receiver = self.bob if sender is self.alice else self.alice
        for delay_ns in self.fate(data):
            heapq.heappush(self._air, (self.now_ns + delay_ns, next(self._order), receiver, data))

    def inject(self, receiver: Node, data: bytes) -> None:
        """Eve speaks."""
        receiver.receive(data)

    def heard(self, kind: MessageType, sender: str | None = None) -> list[Seen]:
        return [seen for seen in self.eve if seen.type == kind and sender in (None, seen.sender)]

    def next_event_ns(self) -> int | None:
        times = [node.peer.next_timer() for node in self.nodes]
        if self._air:
            times.append(self._air[0][0])
        return min((at_ns for at_ns in times if at_ns is not None), default=None)

    def run(self, seconds: float = 1.0, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, from event to event, for `seconds` or until something holds."""
        end_ns = self.now_ns + round(seconds * NS_PER_SECOND)
        while not until():
            at_ns = self.next_event_ns()
            if at_ns is None or at_ns > end_ns:
                self.now_ns = end_ns
                return
            self.now_ns = max(self.now_ns, at_ns)
            while self._air and self._air[0][0] <= self.now_ns:
                _, _, receiver, data = heapq.heappop(self._air)
                receiver.receive(data)
            for node in self.nodes:
                node.peer.handle_timer(self.now_ns, node.wall_ns)
                node.act()


def lost(data: bytes) -> list[int]:
    """The fate of a cut cable."""
    return []


def terrible(rng: random.Random) -> Fate:
    """A network that loses, repeats, delays (up to 8 s) and so reorders whatever it is given."""

    def fate(data: bytes) -> list[int]:
        copies = rng.choice([0, 0, 1, 1, 1, 2])
        return [rng.choice([1, 20, 300, 2_000, 8_000]) * MILLISECOND_NS for _ in range(copies)]

    return fate
