"""A crowd of initiators: `python -m bench.initiator` shakes hands with one responder, as often as it is told.

stdin is one JSON object (`Task`), stdout the number of answers. All initiations are made before the first
is sent, and answers are only counted, so that the responder is what limits the pace; and no more than a
few messages are under way at a time, so that none is lost and no responder believes to be under attack
(and asks for cookies).
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass

from appliance.core.messages import RESPONSE_BYTES, MessageType
from appliance.core.noise import Pairing, create_initiation
from appliance.core.tai64n import encode
from appliance.device.peers import own_identity

SILENCE_SECONDS = 2.0
ROOM = 2048
GAP_SECONDS = 0.025  # a responder may take a second initiation of a peer within 20 ms for a flood
WINDOW = 16  # messages under way


@dataclass(frozen=True)
class Task:
    """Whom to ask, as whom (private keys in hex), and how often each of these."""

    address: str
    port: int
    public_key: str
    private_keys: tuple[str, ...]
    rounds: int
    start_tick: int  # of the stamps: later than those of a run before


def initiations(task: Task) -> list[bytes]:
    """Round after round, one message of each peer; every message has its own receiver index."""
    pairings = [
        Pairing(own_identity(bytes.fromhex(key)), bytes.fromhex(task.public_key)) for key in task.private_keys
    ]
    return [
        create_initiation(
            pairing,
            local_index=turn * len(pairings) + number + 1,
            ephemeral_key=os.urandom(32),
            timestamp=encode(task.start_tick + turn),
        )[0]
        for turn in range(task.rounds)
        for number, pairing in enumerate(pairings)
    ]


def shake_hands(task: Task, messages: list[bytes]) -> int:
    """Send them all; gives how many were answered."""
    answered: set[int] = set()
    sent, crowd = 0, len(task.private_keys)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outlet:
        outlet.connect((task.address, task.port))
        outlet.settimeout(SILENCE_SECONDS)
        while len(answered) < len(messages):
            if sent == len(answered) and sent % crowd == 0:
                time.sleep(GAP_SECONDS)  # between rounds, when nothing is under way
            round_end = (len(answered) // crowd + 1) * crowd
            while sent < round_end and sent - len(answered) < WINDOW:
                outlet.send(messages[sent])
                sent += 1
            try:
                data = outlet.recv(ROOM)
            except TimeoutError:
                break
            if len(data) == RESPONSE_BYTES and data[0] == MessageType.RESPONSE:
                answered.add(int.from_bytes(data[8:12], "little"))
    return len(answered)


def main() -> int:
    told = json.loads(sys.stdin.readline())
    task = Task(**{**told, "private_keys": tuple(told["private_keys"])})
    print(shake_hands(task, initiations(task)))
    return 0


def as_line(task: Task) -> str:
    """The task as stdin has it."""
    return json.dumps(asdict(task)) + "\n"


if __name__ == "__main__":
    sys.exit(main())
