import hmac
from hashlib import blake2s

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import BLAKE2s
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from appliance.core import primitives
from appliance.core.messages import BadMessage

KEY = st.binary(min_size=32, max_size=32)

# The points of small order, in every encoding below 2^255 that reaches them.
LOW_ORDER = [
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
]


def test_blake2s_of_rfc_7693():
    assert (
        primitives.hash_(b"abc").hex() == "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"
    )


def test_initial_values():
    # The numbers that boringtun carries precomputed.
    assert primitives.INITIAL_CHAIN_KEY.hex() == (
        "60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36"
    )
    assert primitives.INITIAL_HASH.hex() == "2211b361081ac566691243db458ad5322d9c6c662293e8b70ee19c65ba079ef3"


@given(KEY, st.binary(max_size=100))
def test_kdf_is_hkdf_over_hmac(chain_key, material):
    reference = HKDF(BLAKE2s(32), 96, salt=chain_key, info=b"").derive(material)
    outputs = (reference[:32], reference[32:64], reference[64:])
    assert primitives.kdf1(chain_key, material) == outputs[0]
    assert primitives.kdf2(chain_key, material) == outputs[:2]
    assert primitives.kdf3(chain_key, material) == outputs
    assert primitives.kdf1(bytearray(chain_key), material) == outputs[0]
    pseudorandom = hmac.digest(chain_key, material, "blake2s256")
    assert outputs[0] == hmac.digest(pseudorandom, b"\x01", "blake2s256")


@given(KEY, st.binary(max_size=100))
def test_mac_is_keyed_blake2s(key, data):
    assert primitives.mac(key, data) == blake2s(data, key=key, digest_size=16).digest()


@given(KEY, st.binary(max_size=48), st.binary(max_size=40), st.data())
def test_seal_opens_unless_a_bit_flips(key, plaintext, associated, data):
    sealed = primitives.seal(key, plaintext, associated)
    assert primitives.open_untrusted(key, sealed, associated) == plaintext
    bad = bytearray(sealed)
    bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for arguments in (
        (key, bytes(bad), associated),
        (key, sealed, associated + b"x"),
        (key, sealed[:8], associated),
    ):
        with pytest.raises(BadMessage):
            primitives.open_untrusted(*arguments)


def test_dh_of_rfc_7748():
    private = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    public = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    shared = primitives.dh_untrusted(
        X25519PrivateKey.from_private_bytes(private), X25519PublicKey.from_public_bytes(public)
    )
    assert shared.hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"


@pytest.mark.parametrize("top_bit", [0, 0x80])
@pytest.mark.parametrize("point", LOW_ORDER)
def test_keys_with_which_no_handshake_is_possible(point, top_bit):
    assert primitives.is_low_order(point[:-1] + bytes([point[-1] | top_bit]))


@given(KEY)
def test_any_other_key_is_as_good_as_the_next(private):
    public = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    assert not primitives.is_low_order(public)


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_zero_dh_is_a_bad_message(point):
    with pytest.raises(BadMessage):
        primitives.dh_untrusted(
            X25519PrivateKey.from_private_bytes(bytes(32)), X25519PublicKey.from_public_bytes(point)
        )
