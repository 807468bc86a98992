"""`bench handshake`: what does a handshake cost the responder beyond the curve mathematics that all pay?

    the responder        from an initiation's bytes to the answer's in `core/`, in this process: opened,
                         proven, answered, keys derived. It is the code that a device runs, on the symmetric
                         state in C that `device/` gives every key of ours; what a device does before and
                         after it, the next row has. The peer is the bare X25519 mathematics of the same
                         `cryptography`, as much as one such handshake needs: an ephemeral key and three
                         exchanges. Slices of both take turns; a sample is the median of its slices.
    the whole program    a program on a host of its own, asked over UDP by a crowd (initiator.py): gate,
                         sockets, event loop, and keys handed to the data path included. What counts is the
                         CPU time of the process, all its threads.

Both are handshakes per second of one core.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from appliance.core.indices import IndexTable
from appliance.core.messages import NS_PER_SECOND
from appliance.core.noise import Pairing, create_initiation
from appliance.core.peer import Peer
from appliance.core.tai64n import encode, wall_tick
from appliance.device.peers import own_identity
from bench import wireguard
from bench.cpu import process_seconds
from bench.initiator import Task, as_line
from bench.lab import Host, Lab
from bench.process import LabError
from bench.registry import Bench, Say
from bench.roads import LISTEN_PORT
from bench.rows import Row

ROOT = Path(__file__).resolve().parent.parent
SLICES = 40
SLICE_HANDSHAKES = 20
CROWD = 128  # peers: each may shake hands 50 times a second, no responder takes more
ROUNDS = 12


class Responder:
    """`core/` as a responder, with messages enough for a sample."""

    def __init__(self, count: int) -> None:
        self._identity = own_identity(os.urandom(32))
        pairing = Pairing(own_identity(os.urandom(32)), self._identity.public_key)
        self._initiator = pairing.identity.public_key
        self._messages = [
            create_initiation(
                pairing, local_index=number + 1, ephemeral_key=os.urandom(32), timestamp=encode(number + 1)
            )[0]
            for number in range(count)
        ]
        self.rewind()

    def rewind(self) -> None:
        """Forget them: all may come again."""
        self._peer = Peer(
            identity=self._identity,
            public_key=self._initiator,
            indices=IndexTable(os.urandom, lambda index: False),
            random=os.urandom,
        )
        self._waiting = iter(self._messages)
        self._now_ns = NS_PER_SECOND

    def answer(self) -> None:
        """Answer the next initiation, as the device has it answered."""
        self._now_ns += NS_PER_SECOND
        opened = self._identity.open_initiation_untrusted(next(self._waiting))
        if not self._peer.receive_initiation(opened, self._now_ns, self._now_ns):
            raise LabError("an initiation of the bench was refused")
        self._peer.take_actions()
        self._peer.next_timer()


class Mathematics:
    """The X25519 operations of one such handshake, and nothing else."""

    def __init__(self) -> None:
        self._static = X25519PrivateKey.generate()
        self._remote = X25519PrivateKey.generate().public_key()
        self._message = self._remote.public_bytes_raw()

    def answer(self) -> None:
        theirs = X25519PublicKey.from_public_bytes(self._message)
        self._static.exchange(theirs)
        ours = X25519PrivateKey.from_private_bytes(os.urandom(32))
        ours.public_key().public_bytes_raw()
        ours.exchange(theirs)
        ours.exchange(self._remote)


def per_second(answer: Callable[[], None]) -> float:
    """How many in a second of this thread's CPU time, from one slice."""
    begin = time.thread_time()
    for _ in range(SLICE_HANDSHAKES):
        answer()
    return SLICE_HANDSHAKES / (time.thread_time() - begin)


def sample(responder: Responder, mathematics: Mathematics) -> tuple[float, float]:
    """Handshakes per second, and what they would be if only the mathematics took time."""
    responder.rewind()
    slices = [(per_second(responder.answer), per_second(mathematics.answer)) for _ in range(SLICES)]
    return median(one for one, _ in slices), median(other for _, other in slices)


class Program:
    """A program that serves an interface on a host of its own, and a crowd that knows it."""

    def __init__(self, lab: Lab, implementation: Path) -> None:
        self._host: Host = lab.host("r")
        self._interface = wireguard.start(self._host, implementation)
        self._key = wireguard.new_keys()
        self._crowd = [own_identity(os.urandom(32)) for _ in range(CROWD)]
        self._interface.configure(
            wireguard.config(
                self._key,
                *(
                    wireguard.peer(b64encode(one.public_key).decode(), f"10.7.{n >> 8}.{n & 255}/32")
                    for n, one in enumerate(self._crowd)
                ),
                listen_port=LISTEN_PORT,
            )
        )

    def sample(self, rounds: int) -> float:
        """Handshakes per second of CPU time."""
        task = Task(
            address="127.0.0.1",
            port=LISTEN_PORT,
            public_key=b64decode(self._key.public).hex(),
            private_keys=tuple(one.private_key.hex() for one in self._crowd),
            rounds=rounds,
            start_tick=wall_tick(time.time_ns()),
        )
        before = process_seconds(self._interface.process.pid)
        words = (sys.executable, "-P", "-m", "bench.initiator")
        done = self._host.run(
            *words, input_text=as_line(task), cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, seconds=120
        )
        spent = process_seconds(self._interface.process.pid) - before
        answered = int(done.stdout)
        if answered < CROWD * rounds:
            raise LabError(f"only {answered} of {CROWD * rounds} handshakes answered")
        return answered / spent


def measure(ours: Path, peer: Path, runs: int, say: Say) -> list[Row]:
    """All rows."""
    found: dict[str, list[tuple[float, float]]] = {"core": [], "program": []}
    responder, mathematics = Responder(SLICES * SLICE_HANDSHAKES), Mathematics()
    sample(responder, mathematics)
    with Lab() as lab:
        programs = Program(lab, ours), Program(lab, peer)
        for program in programs:
            program.sample(1)
        for number in range(runs):
            found["core"].append(sample(responder, mathematics))
            found["program"].append((programs[0].sample(ROUNDS), programs[1].sample(ROUNDS)))
            core, whole = found["core"][-1], found["program"][-1]
            say(
                f"{number + 1}/{runs} the responder {core[0]:,.0f}, bare mathematics {core[1]:,.0f};"
                f" whole program {whole[0]:,.0f}, peer {whole[1]:,.0f} handshakes/s of a core"
            )
    return [
        _row("responder, against bare X25519", found["core"], 0.75, 0.9),
        _row("whole program, against the peer", found["program"], None, None),
    ]


def _row(name: str, pairs: list[tuple[float, float]], gate: float | None, aim: float | None) -> Row:
    ours, peer = zip(*pairs, strict=True)
    return Row(name, "handshakes/core s", "higher", ours, peer, gate=gate, aim=aim)


def _run(options: argparse.Namespace, say: Say) -> list[Row]:
    return measure(options.ours, options.peer, options.runs, say)


BENCH = Bench(
    name="handshake",
    help="handshakes that a responder answers per second of a core",
    run=_run,
    programs=("ip", "wg", "setpriv"),
    compares=True,
)
