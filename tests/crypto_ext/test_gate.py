"""The gate: nothing unproven reaches Python, and what does is whole."""

from __future__ import annotations

import errno
import hashlib

import pytest

from crypto_ext import Pump
from tests.crypto_ext.rig import Rig, endpoint, refused, udp_socket

KEYS = [bytes([n]) * 32 for n in (7, 8)]


def message(kind: int, length: int, key: bytes = KEYS[0], tail: bytes = bytes(16)) -> bytes:
    """A message whose only right field is mac1."""
    body = kind.to_bytes(4, "little") + bytes(i % 256 for i in range(length - 36))
    return body + hashlib.blake2s(body, key=key, digest_size=16).digest() + tail


@pytest.mark.parametrize(("kind", "length"), [(1, 148), (2, 92)])
@pytest.mark.parametrize("key", [0, 1])
def test_a_proven_message_goes_up_whole(kind: int, length: int, key: int) -> None:
    with Rig() as rig, udp_socket("127.0.0.1") as client:
        rig.b.pump.set_mac1_keys(KEYS)
        data = message(kind, length, KEYS[key], tail=b"mac2 is Python's")
        client.sendto(data, rig.b.udp.getsockname())
        rig.settle()
        (up,) = rig.b.pump.take_datagrams()
        assert (up.data, up.source, up.mac1_key) == (data, endpoint(client), key)
        assert rig.b.pump.stats().handshakes_up == 1
        assert rig.b.pump.take_datagrams() == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (message(1, 149), "malformed"),
        (message(1, 92), "malformed"),
        (message(2, 148), "malformed"),
        (message(3, 92), "malformed"),
        (b"\x01\x00\x01\x00" + message(1, 148)[4:], "malformed"),
        (message(1, 148, bytes(32)), "mac1"),
        (message(2, 92)[:-17] + b"x" + bytes(16), "mac1"),
    ],
)
def test_everything_else_does_not(data: bytes, reason: str) -> None:
    with Rig() as rig, udp_socket("127.0.0.1") as client:
        rig.b.pump.set_mac1_keys(KEYS)
        client.sendto(data, rig.b.udp.getsockname())
        rig.settle()
        assert rig.b.pump.take_datagrams() == []
        assert rig.b.drops == {reason: 1}


def test_with_no_key_nothing_passes() -> None:
    with Rig() as rig, udp_socket("127.0.0.1") as client:
        rig.b.pump.set_mac1_keys(KEYS)
        rig.b.pump.set_mac1_keys([])
        client.sendto(message(1, 148), rig.b.udp.getsockname())
        rig.settle()
        assert rig.b.drops == {"mac1": 1}


def test_a_cookie_reply_has_no_mac1() -> None:
    with Rig() as rig, udp_socket("127.0.0.1") as client:
        client.sendto(b"\x03\x00\x00\x00" + bytes(60), rig.b.udp.getsockname())
        rig.settle()
        assert [up.data[0] for up in rig.b.pump.take_datagrams()] == [3]


def test_the_ring_is_bounded_and_drops_the_newest() -> None:
    with Rig() as rig, udp_socket("127.0.0.1") as client:
        rig.b.pump.set_mac1_keys(KEYS)
        for n in range(300):
            client.sendto(message(1, 148, tail=n.to_bytes(16, "big")), rig.b.udp.getsockname())
            if n % 50 == 49:
                rig.settle()
        rig.settle()
        assert rig.b.drops == {"ring_full": 44}
        assert [int.from_bytes(up.data[-16:], "big") for up in rig.b.pump.take_datagrams()] == list(
            range(256)
        )


def test_keys_have_32_bytes_and_are_two_at_most() -> None:
    pump = Pump(seed=1)
    with pytest.raises(ValueError, match="32 bytes"):
        pump.set_mac1_keys([bytes(31)])
    with refused(errno.EINVAL):
        pump.set_mac1_keys([bytes(32)] * 3)
    pump.close()
