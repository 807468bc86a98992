"""The words of the configuration protocol: what parses, what is refused with which errno, what a get says."""

from __future__ import annotations

import errno
from ipaddress import IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.uapi_text import (
    AllowedIpChange,
    DeviceState,
    PeerState,
    UapiError,
    format_endpoint,
    format_get,
    parse_endpoint_untrusted,
    parse_set_untrusted,
)

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))


def test_a_whole_set_keeps_order_and_values() -> None:
    change = parse_set_untrusted(
        [
            f"private_key={KEY.hex()}",
            "listen_port=51820",
            "fwmark=0xca6c",
            f"public_key={OTHER.hex()}",
            f"preshared_key={KEY.hex().upper()}",
            "endpoint=[2001:db8::1]:51821",
            "persistent_keepalive_interval=25",
            "replace_allowed_ips=true",
            "allowed_ip=10.1.2.3/24",
            "allowed_ip=-::/0",
            "protocol_version=1",
            f"public_key={KEY.hex()}",
            "update_only=true",
            "remove=true",
        ]
    )
    assert (change.private_key, change.listen_port, change.fwmark) == (KEY, 51820, 0xCA6C)
    first, second = change.peers
    assert (first.public_key, first.preshared_key, first.keepalive_seconds) == (OTHER, KEY, 25)
    assert first.endpoint == (IPv6Address("2001:db8::1"), 51821)
    assert first.allowed_ips == [
        AllowedIpChange("replace"),
        AllowedIpChange("add", ip_network("10.1.2.0/24")),
        AllowedIpChange("remove", ip_network("::/0")),
    ]
    assert (second.remove, second.update_only, second.endpoint) == (True, True, None)


def test_replace_peers_forgets_the_blocks_before_it() -> None:
    # It stands among the device keys in every tool's output, so before the first peer it changes nothing.
    assert parse_set_untrusted(["replace_peers=true", f"public_key={KEY.hex()}"]).peers[0].public_key == KEY


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("nonsense", errno.EPROTO),
        ("", errno.EPROTO),
        ("colour=blue", errno.EINVAL),
        ("private_key=00", errno.EINVAL),
        (f"private_key={'g' * 64}", errno.EINVAL),
        (f"private_key={' ' + '0' * 63}", errno.EINVAL),
        ("listen_port=65536", errno.EINVAL),
        ("listen_port=-1", errno.EINVAL),
        ("listen_port=", errno.EINVAL),
        ("listen_port=\u0661", errno.EINVAL),
        ("fwmark=4294967296", errno.EINVAL),
        ("replace_peers=yes", errno.EINVAL),
        ("allowed_ip=10.0.0.0/8", errno.EINVAL),  # a peer's key without a peer
    ],
)
def test_device_lines_that_are_refused(line: str, number: int) -> None:
    with pytest.raises(UapiError) as caught:
        parse_set_untrusted([line])
    assert caught.value.errno == number


@pytest.mark.parametrize(
    "line",
    [
        "allowed_ip=10.0.0.0",
        "allowed_ip=10.0.0.0/33",
        "allowed_ip=banana/8",
        "allowed_ip=",
        "endpoint=1.2.3.4",
        "endpoint=1.2.3.4:65536",
        "endpoint=::1:5",
        "endpoint=[1.2.3.4]:5",
        "endpoint=example.org:5",
        "persistent_keepalive_interval=65536",
        "protocol_version=2",
        "remove=false",
        "update_only=1",
        "replace_allowed_ips=",
        "preshared_key=",
        "listen_port=1",
    ],
)
def test_peer_lines_that_are_refused(line: str) -> None:
    with pytest.raises(UapiError) as caught:
        parse_set_untrusted([f"public_key={KEY.hex()}", line])
    assert caught.value.errno == errno.EINVAL


@given(st.lists(st.text(max_size=80), max_size=8))
def test_no_text_raises_anything_else(lines: list[str]) -> None:
    numbers = {0}
    try:
        parse_set_untrusted(lines)
    except UapiError as refused:
        numbers = {refused.errno}
    assert numbers <= {0, errno.EINVAL, errno.EPROTO}


def test_endpoints_round_trip() -> None:
    for text in ("1.2.3.4:5", "[2001:db8::1]:65535"):
        host, port = parse_endpoint_untrusted(text)
        assert format_endpoint(host, port) == text
    zoned, _ = parse_endpoint_untrusted("[fe80::1%eth0]:5")
    assert isinstance(zoned, IPv6Address)
    assert zoned.scope_id == "eth0"
    assert format_endpoint(IPv6Address("fe80::1"), 5, "eth0") == "[fe80::1%eth0]:5"


def test_get_says_what_wg_reads_in_its_order() -> None:
    peer = PeerState(
        public_key=OTHER,
        preshared_key=bytes(32),
        endpoint="1.2.3.4:5",
        handshake_wall_ns=1_700_000_000_000_000_005,
        tx_bytes=7,
        rx_bytes=8,
        keepalive_seconds=0,
        allowed_ips=(ip_network("10.0.0.0/8"), ip_network("::/0")),
    )
    text = "".join(format_get(DeviceState(KEY, 51820, 0), [peer]))
    assert text == (
        f"private_key={KEY.hex()}\nlisten_port=51820\n"
        f"public_key={OTHER.hex()}\npreshared_key={'0' * 64}\nprotocol_version=1\nendpoint=1.2.3.4:5\n"
        "last_handshake_time_sec=1700000000\nlast_handshake_time_nsec=5\ntx_bytes=7\nrx_bytes=8\n"
        "persistent_keepalive_interval=0\nallowed_ip=10.0.0.0/8\nallowed_ip=::/0\nerrno=0\n\n"
    )


def test_get_of_a_bare_device_is_only_the_errno() -> None:
    assert "".join(format_get(DeviceState(None, 0, 0), [])) == "errno=0\n\n"
