"""Reading and writing netlink messages by hand."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.net.netlink import Message, Netlink, _messages, attribute, attributes, number

RTM_GETLINK = 18
RTM_DELLINK = 17


def link_request(index: int = 0) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, 0, 0)


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_attributes_round_trip(values: dict[int, bytes]):
    packed = b"".join(attribute(kind, value) for kind, value in values.items())
    assert len(packed) % 4 == 0
    assert attributes(packed) == values


def test_attributes_ignore_the_flags_of_their_kind():
    assert attributes(attribute(0x8000 | 5, b"nested") + attribute(0x4000 | 6, b"big")) == {
        5: b"nested",
        6: b"big",
    }


@given(st.binary(max_size=100))
def test_nonsense_is_read_to_its_end(data: bytes):
    attributes(data)
    list(_messages(data))


def test_a_cut_attribute_ends_the_reading():
    whole = attribute(1, b"1234")
    assert attributes(whole + attribute(2, b"1234")[:-1]) == {1: b"1234"}


def test_number():
    assert number(struct.pack("=I", 0xFFFFFFFF)) == 0xFFFFFFFF
    assert number(None) == 0
    assert number(b"ab") == 0


def test_dump_gives_every_link():
    with Netlink() as netlink:
        messages = netlink.dump(RTM_GETLINK, link_request())
        names = {attributes(message.body[16:])[3].rstrip(b"\0").decode() for message in messages}
        assert names == {name for _, name in socket.if_nameindex()}
        assert isinstance(netlink.get(RTM_GETLINK, link_request(socket.if_nametoindex("lo"))), Message)


def test_a_refusal_is_an_oserror_and_leaves_the_socket_usable():
    with Netlink() as netlink:
        for _ in range(2):
            with pytest.raises(OSError, match="No such device"):
                netlink.change(RTM_DELLINK, link_request(0x7FFFFFFF))
        assert netlink.dump(RTM_GETLINK, link_request())


def test_a_dump_that_raced_a_change_is_asked_again(monkeypatch: pytest.MonkeyPatch):
    """Played by a peer: NLM_F_DUMP_INTR on the first answer only, and the tail of an older dump before it."""
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    class Played:
        def sendto(self, data: bytes, address: object) -> None:
            sequence = struct.unpack_from("=IHHII", data)[3]
            stale = struct.pack("=IHHII", 20, 16, 2, sequence - 1, 0) + b"old "
            changed = 0x10 if sequence == 1 else 0
            answer = struct.pack("=IHHII", 20, 16, 2 | changed, sequence, 0) + b"%4d" % sequence
            done = struct.pack("=IHHIIi", 20, 3, 2, sequence, 0, 0)
            kernel.send(stale + answer + done)

        def recv(self, size: int) -> bytes:
            return ours.recv(size)

        def close(self) -> None: ...

    with ours, kernel, Netlink() as netlink:
        netlink._socket.close()
        monkeypatch.setattr(netlink, "_socket", Played())
        assert [message.body for message in netlink.dump(RTM_GETLINK, b"")] == [b"   2"]
