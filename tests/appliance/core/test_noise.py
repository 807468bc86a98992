"""The mathematics of the handshake, against an independent Noise library and against bad bytes."""

import random
import warnings
from types import SimpleNamespace
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from appliance.core import messages, primitives
from appliance.core.messages import BadMessage
from appliance.core.noise import (
    Identity,
    Pairing,
    Transport,
    consume_response_untrusted,
    create_initiation,
    create_response,
)
from appliance.core.symmetric import PlainState
from crypto_ext import Symmetric
from tests.appliance.core.test_primitives import LOW_ORDER

KEY = st.binary(min_size=32, max_size=32)
PSK = st.just(bytes(32)) | KEY
STAMP = bytes(range(12))
each_state = pytest.mark.parametrize("state_maker", [PlainState, Symmetric])


class Reference:
    """noiseprotocol in one role."""

    def __init__(
        self, role: str, key: bytes, ephemeral: bytes, psk: bytes, remote: bytes | None = None
    ) -> None:
        self.connection = NoiseConnection.from_name(messages.CONSTRUCTION)
        self.connection.set_prologue(messages.IDENTIFIER)
        self.connection.set_psks(psk)
        getattr(self.connection, f"set_as_{role}")()
        self.connection.set_keypair_from_private_bytes(Keypair.STATIC, key)
        self.connection.set_keypair_from_private_bytes(Keypair.EPHEMERAL, ephemeral)
        if remote is not None:
            self.connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, remote)
        with warnings.catch_warnings():
            # It warns that a fixed ephemeral is for tests only. This is one.
            warnings.simplefilter("ignore")
            self.connection.start_handshake()

    def write(self, payload: bytes = b"") -> bytes:
        return bytes(self.connection.write_message(payload))

    def read(self, data: bytes) -> bytes:
        return bytes(self.connection.read_message(data))

    @property
    def send_key(self) -> bytes:
        return self.connection.noise_protocol.cipher_state_encrypt.k

    @property
    def receive_key(self) -> bytes:
        return self.connection.noise_protocol.cipher_state_decrypt.k


def frame_response(noise_message: bytes, receiver: Identity, local: int, remote: int) -> bytes:
    unsigned = b"\2\0\0\0" + local.to_bytes(4, "little") + remote.to_bytes(4, "little") + noise_message
    return unsigned + primitives.mac(receiver.mac1_key, unsigned) + bytes(16)


def frame_initiation(noise_message: bytes, receiver: Identity, local: int) -> bytes:
    unsigned = b"\1\0\0\0" + local.to_bytes(4, "little") + noise_message
    return unsigned + primitives.mac(receiver.mac1_key, unsigned) + bytes(16)


@given(
    our_key=KEY,
    their_key=KEY,
    our_ephemeral=KEY,
    their_ephemeral=KEY,
    psk=PSK,
    stamp=st.binary(min_size=12, max_size=12),
)
@each_state
def test_as_initiator_every_byte_equals_the_reference(
    state_maker, our_key, their_key, our_ephemeral, their_ephemeral, psk, stamp
):
    us, them = Identity(our_key, state_maker), Identity(their_key, state_maker)
    message, pending = create_initiation(
        Pairing(us, them.public_key), local_index=0x11223344, ephemeral_key=our_ephemeral, timestamp=stamp
    )
    same = Reference("initiator", us.private_key, our_ephemeral, psk, them.public_key)
    assert message == frame_initiation(same.write(stamp), them, 0x11223344)

    responder = Reference("responder", them.private_key, their_ephemeral, psk)
    assert responder.read(message[8:116]) == stamp
    response = frame_response(responder.write(), us, 0x55667788, 0x11223344)
    transport = consume_response_untrusted(pending, response, preshared_key=psk)
    assert transport == Transport(responder.receive_key, responder.send_key, 0x55667788)


@given(
    our_key=KEY,
    their_key=KEY,
    our_ephemeral=KEY,
    their_ephemeral=KEY,
    psk=PSK,
    stamp=st.binary(min_size=12, max_size=12),
)
@each_state
def test_as_responder_every_byte_equals_the_reference(
    state_maker, our_key, their_key, our_ephemeral, their_ephemeral, psk, stamp
):
    us, them = Identity(our_key, state_maker), Identity(their_key, state_maker)
    initiator = Reference("initiator", them.private_key, their_ephemeral, psk, us.public_key)
    first = initiator.write(stamp)
    opened = us.open_initiation_untrusted(frame_initiation(first, us, 0x55667788))
    assert opened.public_key == them.public_key
    pairing = Pairing(us, them.public_key)
    assert opened.authenticate_untrusted(pairing.static_static) == stamp
    assert opened.sender_index == 0x55667788
    message, transport = create_response(
        pairing, opened, local_index=0x11223344, ephemeral_key=our_ephemeral, preshared_key=psk
    )

    same = Reference("responder", us.private_key, our_ephemeral, psk)
    same.read(first)
    assert message == frame_response(same.write(), them, 0x11223344, 0x55667788)
    initiator.read(message[12:60])
    assert transport == Transport(initiator.receive_key, initiator.send_key, 0x55667788)


# ---- one finished exchange to mutilate -------------------------------------------------------------


class Exchange:
    """Both messages of a handshake between fixed keys."""

    def __init__(self, state_maker, seed: int = 1) -> None:
        rng = random.Random(seed)
        self.initiator, self.responder = (Identity(rng.randbytes(32), state_maker) for _ in range(2))
        self.psk = rng.randbytes(32)
        self.forth = Pairing(self.initiator, self.responder.public_key)
        self.back = Pairing(self.responder, self.initiator.public_key)
        self.first, self.pending = create_initiation(
            self.forth, local_index=7, ephemeral_key=rng.randbytes(32), timestamp=STAMP
        )
        opened = self.responder.open_initiation_untrusted(self.first)
        opened.authenticate_untrusted(self.back.static_static)
        self.second, self.transport = create_response(
            self.back,
            opened,
            local_index=9,
            ephemeral_key=rng.randbytes(32),
            preshared_key=self.psk,
        )

    def open(self, data: bytes) -> bytes:
        opened = self.responder.open_initiation_untrusted(data)
        return opened.authenticate_untrusted(self.back.static_static)

    def consume(self, data: bytes, psk: bytes | None = None):
        return consume_response_untrusted(self.pending, data, preshared_key=self.psk if psk is None else psk)

    def sign_first(self, data: bytes) -> bytes:
        return data[:116] + primitives.mac(self.responder.mac1_key, data[:116]) + bytes(16)

    def sign_second(self, data: bytes) -> bytes:
        return data[:60] + primitives.mac(self.initiator.mac1_key, data[:60]) + bytes(16)


EXCHANGE = Exchange(PlainState)
each_exchange = pytest.mark.parametrize("exchange", [EXCHANGE, Exchange(Symmetric)], ids=["plain", "C"])


def flip(data: bytes, bit: int) -> bytes:
    mutated = bytearray(data)
    mutated[bit // 8] ^= 1 << bit % 8
    return bytes(mutated)


@each_exchange
def test_both_ends_agree(exchange):
    ours = exchange.consume(exchange.second)
    theirs = exchange.transport
    assert (ours.send_key, ours.receive_key) == (theirs.receive_key, theirs.send_key)
    assert (ours.remote_index, theirs.remote_index) == (9, 7)
    assert ours.send_key != ours.receive_key


@each_exchange
def test_an_initiation_that_was_not_proven_gets_no_answer(exchange):
    opened = exchange.responder.open_initiation_untrusted(exchange.first)
    answer, _ = create_response(
        exchange.back, opened, local_index=9, ephemeral_key=bytes(range(32)), preshared_key=exchange.psk
    )
    with pytest.raises(BadMessage, match="nothing"):
        exchange.consume(answer)


@each_exchange
def test_without_a_cookie_mac2_is_zero(exchange):
    assert exchange.first[132:] == exchange.second[76:] == bytes(16)


@given(st.integers(0, 116 * 8 - 1), st.booleans())
@each_exchange
def test_a_flipped_bit_spoils_an_initiation(exchange, bit, signed):
    bad = flip(exchange.first, bit)
    if signed and 32 <= bit < 64:
        return  # the sender index alone is not protected before the response
    with pytest.raises(BadMessage):
        exchange.open(exchange.sign_first(bad) if signed else bad)


@each_exchange
def test_the_ignored_top_bit_of_an_ephemeral_is_in_the_transcript(exchange):
    """X25519 takes no notice of it, the hash does."""
    with pytest.raises(BadMessage):
        exchange.open(exchange.sign_first(flip(exchange.first, 8 * 39 + 7)))


@given(st.integers(0, 60 * 8 - 1), st.booleans())
@each_exchange
def test_a_flipped_bit_spoils_a_response(exchange, bit, signed):
    if signed and 32 <= bit < 64:
        return  # the sender's choice, like above
    bad = flip(exchange.second, bit)
    with pytest.raises(BadMessage):
        exchange.consume(exchange.sign_second(bad) if signed else bad)


@pytest.mark.parametrize("bit", [0, 7, 64, 127])
@each_exchange
def test_a_wrong_mac1_costs_no_curve_operation(exchange, bit):
    with (
        mock.patch("appliance.core.noise.dh_untrusted", side_effect=AssertionError("DH before mac1")),
        mock.patch("appliance.core.noise.X25519PublicKey", side_effect=AssertionError),
    ):
        with pytest.raises(BadMessage, match="mac1"):
            exchange.open(flip(exchange.first, 116 * 8 + bit))
        with pytest.raises(BadMessage, match="mac1"):
            exchange.consume(flip(exchange.second, 60 * 8 + bit))


@each_exchange
def test_a_wrong_preshared_key_is_a_bad_response(exchange):
    for psk in (bytes(32), flip(exchange.psk, 3)):
        with pytest.raises(BadMessage):
            exchange.consume(exchange.second, psk)


@each_exchange
def test_an_initiation_for_somebody_else_is_bad(exchange):
    with pytest.raises(BadMessage):
        exchange.initiator.open_initiation_untrusted(exchange.first)


@each_state
def test_a_bad_response_leaves_the_handshake_answerable_and_a_wipe_does_not(state_maker):
    exchange = Exchange(state_maker, 2)
    for data in (b"", exchange.second[:-1], flip(exchange.second, 500), exchange.first):
        with pytest.raises(BadMessage):
            exchange.consume(data)
    exchange.consume(exchange.second)
    exchange.pending.wipe()
    with pytest.raises(BadMessage):
        exchange.consume(exchange.second)


@pytest.mark.parametrize("point", LOW_ORDER)
@pytest.mark.parametrize("top_bit", [0, 0x80])
@each_exchange
def test_low_order_points_abort(exchange, point, top_bit):
    point = point[:31] + bytes([point[31] | top_bit])
    with pytest.raises(BadMessage):
        Pairing(exchange.initiator, point)
    with pytest.raises(BadMessage, match="zero"):
        exchange.open(exchange.sign_first(exchange.first[:8] + point + exchange.first[40:]))
    with pytest.raises(BadMessage, match="zero"):
        exchange.consume(exchange.sign_second(exchange.second[:12] + point + exchange.second[44:]))


@given(st.binary(max_size=200) | st.binary(min_size=116, max_size=116) | st.binary(min_size=60, max_size=60))
@each_exchange
def test_random_bytes_are_bad_messages_and_nothing_else(exchange, data):
    forged_first = exchange.sign_first(b"\1\0\0\0" + data[4:].ljust(112, b"\0"))
    forged_second = exchange.sign_second(
        b"\2\0\0\0" + data[4:8].ljust(4, b"\0") + b"\7\0\0\0" + data[12:].ljust(48, b"\0")
    )
    for bad in (data, forged_first):
        with pytest.raises(BadMessage):
            exchange.open(bad)
    for bad in (data, forged_second):
        with pytest.raises(BadMessage):
            exchange.consume(bad)


@given(st.binary(min_size=32, max_size=32))
def test_private_keys_are_clamped(key):
    identity = Identity(key)
    assert identity.private_key[0] & 7 == 0
    assert identity.private_key[31] & 0xC0 == 0x40
    assert identity.private_key[1:31] == key[1:31]
    reference = X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
    assert identity.public_key == reference == Identity(identity.private_key).public_key


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_is_our_own_mistake(size):
    with pytest.raises(ValueError, match="32 bytes"):
        Identity(bytes(size))


@each_exchange
def test_a_zero_static_static_would_prove_nothing(exchange):
    """Why a Pairing with a low-order key must not exist: anybody can forge with a secret of zeros."""
    liar = SimpleNamespace(
        identity=SimpleNamespace(public_key=LOW_ORDER[0], state_maker=exchange.initiator.state_maker),
        public_key=exchange.responder.public_key,
        remote=exchange.forth.remote,
        static_static=bytes(32),
        mac1_key=exchange.forth.mac1_key,
    )
    forged, _ = create_initiation(liar, local_index=1, ephemeral_key=bytes(range(32)), timestamp=STAMP)
    opened = exchange.responder.open_initiation_untrusted(forged)
    assert opened.public_key == LOW_ORDER[0]
    with pytest.raises(BadMessage):
        opened.authenticate_untrusted(exchange.back.static_static)
    assert opened.authenticate_untrusted(bytes(32)) == STAMP
