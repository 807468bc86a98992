"""Handshake messages on the wire, and every size, limit and time of the handshake.

WireGuard paper, sections 5.4 and 6.1; the kernel's messages.h. All integers are little-endian. The
type is one byte followed by three reserved zero bytes, so it is compared as one 32-bit number and a
non-zero reserved byte makes the message none of ours. Handshake messages have exactly one length.

The suffix `_untrusted`, here and in the whole of `core/`, marks a function that eats bytes from the
network. Whatever those bytes are, such a function fails in one way only: `BadMessage`. (The verbs of
`Peer` go further: they turn it into False.)
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

NS_PER_SECOND = 1_000_000_000

# Sizes.
KEY_BYTES = 32
TAG_BYTES = 16
MAC_BYTES = 16
INDEX_BYTES = 4
TIMESTAMP_BYTES = 12
INITIATION_BYTES = 148
RESPONSE_BYTES = 92

# Names that go into the hashes (paper, section 5.4).
CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
MAC1_LABEL = b"mac1----"

# Times and limits of the paper (section 6.1), as far as getting a key is concerned. Those of an
# established key (rekey, reject, keepalive) are C's.
REJECT_AFTER_TIME_NS = 180 * NS_PER_SECOND
REKEY_TIMEOUT_NS = 5 * NS_PER_SECOND
REKEY_ATTEMPT_TIME_NS = 90 * NS_PER_SECOND

# Times and limits that every implementation shares though the paper does not name them.
# Added to each wait for a response, so that two peers that started together drift apart.
REKEY_TIMEOUT_JITTER_MAX_NS = NS_PER_SECOND // 3
# The wait is given up when more retransmits than this were made: after the 20th message, the first
# one and the one that made the count pass 18 included.
HANDSHAKE_ATTEMPTS_MAX = REKEY_ATTEMPT_TIME_NS // REKEY_TIMEOUT_NS
# Keys are erased this long after the last session was derived, or after a handshake was given up.
ERASE_AFTER_NS = 3 * REJECT_AFTER_TIME_NS
# An initiation closer than this to the one consumed before is a flood (50 a second).
INITIATION_INTERVAL_MIN_NS = NS_PER_SECOND // 50


class BadMessage(Exception):
    """Bytes from the network that are not a message for us: drop them, say nothing."""


class MessageType(IntEnum):
    """The first byte of every datagram."""

    INITIATION = 1
    RESPONSE = 2
    COOKIE_REPLY = 3
    TRANSPORT = 4


# Attributes of an enumeration are Python code in 3.11, and there is one handshake message after another.
INITIATION_TYPE = int(MessageType.INITIATION)
RESPONSE_TYPE = int(MessageType.RESPONSE)

# offset  0 type u8, reserved 3 x 0 | 4 sender index | 8 ephemeral | 40 static, sealed |
#        88 timestamp, sealed | 116 mac1 | 132 mac2
INITIATION_LAYOUT = struct.Struct("<II32s48s28s16s16s")
INITIATION_UNSIGNED = struct.Struct("<II32s48s28s")  # as far as mac1 protects it
INITIATION_MAC1_OFFSET = INITIATION_UNSIGNED.size

# offset  0 type u8, reserved 3 x 0 | 4 sender index | 8 receiver index | 12 ephemeral |
#        44 nothing, sealed | 60 mac1 | 76 mac2
RESPONSE_LAYOUT = struct.Struct("<III32s16s16s16s")
RESPONSE_UNSIGNED = struct.Struct("<III32s16s")
RESPONSE_MAC1_OFFSET = RESPONSE_UNSIGNED.size

if INITIATION_LAYOUT.size != INITIATION_BYTES or RESPONSE_LAYOUT.size != RESPONSE_BYTES:
    raise AssertionError("handshake layouts do not have the sizes of the protocol")

# mac2 proves a cookie; without one it is zero.
NO_MAC2 = bytes(MAC_BYTES)


class Initiation(NamedTuple):
    """The first message, cut into its fields; nothing of it is verified yet."""

    type_and_reserved: int
    sender_index: int
    ephemeral: bytes
    sealed_static: bytes
    sealed_timestamp: bytes
    mac1: bytes
    mac2: bytes


class Response(NamedTuple):
    """The second message, cut into its fields; nothing of it is verified yet."""

    type_and_reserved: int
    sender_index: int
    receiver_index: int
    ephemeral: bytes
    sealed_nothing: bytes
    mac1: bytes
    mac2: bytes


def parse_initiation_untrusted(data: bytes) -> Initiation:
    """Cut a datagram into the fields of an initiation; BadMessage for a wrong length or type."""
    if len(data) != INITIATION_BYTES:
        raise BadMessage("length")
    fields = tuple.__new__(Initiation, INITIATION_LAYOUT.unpack(data))
    if fields.type_and_reserved != INITIATION_TYPE:
        raise BadMessage("type")
    return fields


def parse_response_untrusted(data: bytes) -> Response:
    """Cut a datagram into the fields of a response; BadMessage for a wrong length or type.

    The device also uses it to find, by `receiver_index`, the peer that a response is for.
    """
    if len(data) != RESPONSE_BYTES:
        raise BadMessage("length")
    fields = tuple.__new__(Response, RESPONSE_LAYOUT.unpack(data))
    if fields.type_and_reserved != RESPONSE_TYPE:
        raise BadMessage("type")
    return fields
