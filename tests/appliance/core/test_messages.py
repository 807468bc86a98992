import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core import messages
from appliance.core.messages import (
    BadMessage,
    MessageType,
    parse_initiation_untrusted,
    parse_response_untrusted,
)


def test_the_numbers_of_the_paper():
    second = 1_000_000_000
    assert (messages.INITIATION_BYTES, messages.RESPONSE_BYTES) == (148, 92)
    assert 5 * second == messages.REKEY_TIMEOUT_NS
    assert messages.HANDSHAKE_ATTEMPTS_MAX == 18
    assert 540 * second == messages.ERASE_AFTER_NS
    assert second // 50 == messages.INITIATION_INTERVAL_MIN_NS
    assert 333_000_000 <= messages.REKEY_TIMEOUT_JITTER_MAX_NS < 334_000_000


def test_layouts_have_no_gaps():
    fields = [bytes([value]) * size for value, size in enumerate((32, 48, 28, 16, 16), 10)]
    data = struct.pack("<BxxxI", 1, 0x01020304) + b"".join(fields)
    parsed = parse_initiation_untrusted(data)
    assert parsed.sender_index == 0x01020304
    assert list(parsed[2:]) == fields
    assert data[messages.INITIATION_MAC1_OFFSET :] == parsed.mac1 + parsed.mac2

    fields = [bytes([value]) * size for value, size in enumerate((32, 16, 16, 16), 10)]
    data = struct.pack("<BxxxII", 2, 0x01020304, 0x05060708) + b"".join(fields)
    response = parse_response_untrusted(data)
    assert (response.sender_index, response.receiver_index) == (0x01020304, 0x05060708)
    assert list(response[3:]) == fields
    assert data[messages.RESPONSE_MAC1_OFFSET :] == response.mac1 + response.mac2


@pytest.mark.parametrize(
    ("parse", "kind", "size"),
    [
        (parse_initiation_untrusted, MessageType.INITIATION, 148),
        (parse_response_untrusted, MessageType.RESPONSE, 92),
    ],
)
def test_only_the_exact_length_and_type_pass(parse, kind, size):
    good = bytes([kind]) + bytes(size - 1)
    parse(good)
    for bad in (b"", good[:-1], good + b"\0"):
        with pytest.raises(BadMessage):
            parse(bad)
    for offset in range(4):
        for bit in range(8):
            bad = bytearray(good)
            bad[offset] ^= 1 << bit
            with pytest.raises(BadMessage):
                parse(bytes(bad))


@given(st.binary(max_size=200) | st.binary(min_size=148, max_size=148) | st.binary(min_size=92, max_size=92))
def test_nothing_but_bad_message_escapes(data):
    for parse in (parse_initiation_untrusted, parse_response_untrusted):
        try:
            parse(data)
        except BadMessage:
            pass
