"""The symmetric state, step by step against the paper's formulas; every implementation, the one in C too."""

from __future__ import annotations

from hashlib import blake2s

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.messages import BadMessage
from appliance.core.primitives import hash_, kdf1, kdf2, kdf3, open_untrusted, seal
from appliance.core.symmetric import TEXT_MAX_BYTES, PlainState
from crypto_ext import Symmetric

KEY = st.binary(min_size=32, max_size=32)
TEXT = st.binary(max_size=TEXT_MAX_BYTES)
C, H, K = bytes(range(32)), bytes(range(50, 82)), bytes(range(100, 132))
each = pytest.mark.parametrize("maker", [PlainState, Symmetric])


def stands_at(state, chain_key: bytes, digest: bytes) -> bool:
    """Whether these are the chaining key and the hash, asked for by sealing something in a fork."""
    probe = state.fork(K)
    digest = hash_(digest + K)
    following, key = kdf2(kdf1(chain_key, K), K)
    sealed = seal(key, b"where?", digest)
    return probe.seal(K, b"where?") == sealed and probe.seal(K, b"") == seal(
        kdf2(following, K)[1], b"", hash_(digest + sealed)
    )


@each
@given(chain_key=KEY, digest=KEY, one=KEY, other=KEY)
def test_mixing(maker, chain_key, digest, one, other):
    state = maker(chain_key, digest)
    state.mix(one)
    assert stands_at(state, kdf1(chain_key, one), hash_(digest + one))
    state.mix(other, one, K)
    following = kdf1(kdf1(kdf1(kdf1(chain_key, one), other), one), K)
    assert stands_at(state, following, hash_(hash_(digest + one) + other))


@each
@given(chain_key=KEY, digest=KEY, secret=KEY, text=TEXT)
def test_sealing_and_opening(maker, chain_key, digest, secret, text):
    sender, receiver = maker(chain_key, digest), maker(chain_key, digest)
    sealed = sender.seal(secret, text)
    following, key = kdf2(chain_key, secret)
    assert open_untrusted(key, sealed, digest) == text
    assert receiver.open(secret, sealed) == text
    for state in (sender, receiver):
        assert stands_at(state, following, hash_(digest + sealed))


@each
@given(chain_key=KEY, digest=KEY, psk=KEY)
def test_the_end(maker, chain_key, digest, psk):
    sender, receiver = maker(chain_key, digest), maker(chain_key, digest)
    tag, *keys = sender.seal_end(psk)
    following, mixed, key = kdf3(chain_key, psk)
    assert tag == seal(key, b"", hash_(digest + mixed))
    assert tuple(keys) == kdf2(following, b"")
    assert receiver.open_end(psk, tag) == tuple(keys)
    for state in (sender, receiver):
        assert stands_at(state, bytes(32), bytes(32)), "something is left"


@each
@given(text=TEXT, bit=st.integers(0, 8 * 80 - 1), wrong=st.integers(0, 255))
def test_a_forgery_opens_nothing_and_changes_nothing(maker, text, bit, wrong):
    sealed = maker(C, H).seal(K, text)
    spoilt, other = bytearray(sealed), bytearray(K)
    spoilt[bit // 8 % len(sealed)] ^= 1 << bit % 8
    other[wrong // 8] ^= 1 << wrong % 8
    state = maker(C, H)
    assert state.open(K, bytes(spoilt)) is None
    assert state.open(bytes(other), sealed) is None
    assert maker(C, bytes(other)).open(K, sealed) is None
    assert stands_at(state, C, H)
    assert state.open(K, sealed) == text


@each
@given(bit=st.integers(0, 127), wrong=st.integers(0, 255))
def test_a_forged_end_ends_nothing(maker, bit, wrong):
    tag, *keys = maker(C, H).seal_end(K)
    spoilt, other = bytearray(tag), bytearray(K)
    spoilt[bit // 8] ^= 1 << bit % 8
    other[wrong // 8] ^= 1 << wrong % 8
    state = maker(C, H)
    assert state.open_end(K, bytes(spoilt)) is None
    assert state.open_end(bytes(other), tag) is None
    assert stands_at(state, C, H)
    assert state.open_end(K, tag) == tuple(keys)


@each
def test_forks_go_their_own_ways_and_a_wipe_is_of_one(maker):
    state = maker(C, H)
    one, other = state.fork(K), state.fork(K, C, H)
    one.mix(K)
    assert stands_at(state, C, H)
    state.wipe()
    assert stands_at(state, bytes(32), bytes(32))
    assert stands_at(other, kdf1(kdf1(kdf1(C, K), C), H), hash_(H + K))


@each
@given(key=KEY, data=st.binary(max_size=200))
def test_a_mac_is_no_step(maker, key, data):
    state = maker(C, H)
    assert state.mac(key, data) == blake2s(data, key=key, digest_size=16).digest()
    assert stands_at(state, C, H)


@each
@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_secret_of_another_length_is_our_own_mistake(maker, size):
    state, bad = maker(C, H), bytes(size)
    for attempt in (
        lambda: maker(bad, H),
        lambda: maker(C, bad),
        lambda: state.mac(bad, b""),
        lambda: state.fork(bad),
        lambda: state.fork(K, K, bad),
        lambda: state.mix(bad),
        lambda: state.mix(bad, K, K),
        lambda: state.mix(K, bad, K),
        lambda: state.mix(K, K, bad),
        lambda: state.seal(bad, b""),
        lambda: state.open(bad, bytes(16)),
        lambda: state.seal_end(bad),
        lambda: state.open_end(bad, bytes(16)),
        lambda: state.open_end(K, bytes(size)),
    ):
        with pytest.raises(ValueError, match="bytes"):
            attempt()
    assert stands_at(state, C, H)


@each
def test_so_is_a_text_of_an_impossible_one(maker):
    state = maker(C, H)
    for attempt in (
        lambda: state.seal(K, bytes(TEXT_MAX_BYTES + 1)),
        lambda: state.open(K, bytes(15)),
        lambda: state.open(K, bytes(TEXT_MAX_BYTES + 17)),
    ):
        with pytest.raises(ValueError, match="bytes"):
            attempt()
    assert stands_at(state, C, H)


def test_the_plain_kind_is_wiped_with_its_last_reference():
    state = PlainState(C, H)
    chain_key, digest = state._chain_key, state._hash
    del state
    assert chain_key == digest == bytes(32)


def test_forgery_is_told_by_none_and_not_by_an_exception():
    """So that an implementation needs to know nothing of core, its exceptions included."""
    assert PlainState(C, H).open(K, bytes(16)) is None
    with pytest.raises(BadMessage):
        open_untrusted(K, bytes(16), b"")
