"""The crowd of initiators, against a responder of our own in this process."""

from __future__ import annotations

import json
import os
import socket
import threading

from appliance.core.actions import SendResponse
from appliance.core.indices import IndexTable
from appliance.core.noise import Identity
from appliance.core.peer import Peer
from bench.initiator import Task, as_line, initiations, shake_hands

SECOND_NS = 1_000_000_000


def _task(identity: Identity, port: int, peers: int, rounds: int) -> tuple[Task, list[Identity]]:
    crowd = [Identity(os.urandom(32)) for _ in range(peers)]
    keys = tuple(one.private_key.hex() for one in crowd)
    return Task("127.0.0.1", port, identity.public_key.hex(), keys, rounds, start_tick=100), crowd


def _answers(identity: Identity, crowd: list[Identity], messages: list[bytes]) -> list[bytes]:
    indices: IndexTable[Peer] = IndexTable(os.urandom, lambda index: False)
    peers = {
        one.public_key: Peer(identity=identity, public_key=one.public_key, indices=indices, random=os.urandom)
        for one in crowd
    }
    answers = []
    for number, message in enumerate(messages):
        opened = identity.open_initiation_untrusted(message)
        peer, now = peers[opened.public_key], (number + 1) * SECOND_NS
        assert peer.receive_initiation(opened, now, now)
        answers += [action.message for action in peer.take_actions() if isinstance(action, SendResponse)]
    return answers


def test_every_message_is_new_to_the_responder() -> None:
    identity = Identity(os.urandom(32))
    task, crowd = _task(identity, 1, peers=3, rounds=2)
    messages = initiations(task)
    assert len(messages) == 6
    answers = _answers(identity, crowd, messages)
    assert [int.from_bytes(answer[8:12], "little") for answer in answers] == [1, 2, 3, 4, 5, 6]


def test_what_is_not_answered_is_not_counted() -> None:
    identity = Identity(os.urandom(32))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as responder:
        responder.bind(("127.0.0.1", 0))
        responder.settimeout(10)
        task, crowd = _task(identity, responder.getsockname()[1], peers=4, rounds=1)
        messages = initiations(task)

        def serve() -> None:
            for number in range(len(messages)):
                data, sender = responder.recvfrom(2048)
                if number > 0:  # the first is lost
                    responder.sendto(_answers(identity, crowd, [data])[0], sender)
                    responder.sendto(b"\x04no response", sender)

        thread = threading.Thread(target=serve)
        thread.start()
        assert shake_hands(task, messages) == 3
        thread.join()


def test_a_task_survives_the_line() -> None:
    task, _ = _task(Identity(os.urandom(32)), 1, peers=2, rounds=1)
    told = json.loads(as_line(task))
    assert Task(**{**told, "private_keys": tuple(told["private_keys"])}) == task
