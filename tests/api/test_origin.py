"""Whose word counts: X-Forwarded-For from trusted networks alone, read from the right."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.origin import Proxies, source, without_forwarded

TRUSTED = Proxies([ip_network("192.0.2.0/24"), ip_network("2001:db8:f::/48")])


def _said(*lines: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", line.encode("latin1")) for line in lines]


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:192.0.2.1", ["198.51.100.1"], "198.51.100.1"),
        ("192.0.2.1", ["10.0.0.1, 198.51.100.1"], "198.51.100.1"),
        ("192.0.2.1", ["6.6.6.6", "198.51.100.1, 192.0.2.7"], "198.51.100.1"),
        ("192.0.2.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("192.0.2.1", ["[2001:db8::5]:4711"], "2001:db8::5"),
        ("2001:db8:f::1", ["2001:db8::5"], "2001:db8::5"),
        ("192.0.2.1", ["198.51.100.1, unknown"], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1, nonsense, 192.0.2.7"], "192.0.2.7"),
        ("192.0.2.1", ["192.0.2.2, 192.0.2.3"], "192.0.2.2"),
        ("192.0.2.1", [", ,"], "192.0.2.1"),
        ("192.0.2.1", ["\xff"], "192.0.2.1"),
    ],
)
def test_the_client(peer: str, lines: list[str], client: str) -> None:
    assert TRUSTED.client(peer, _said(*lines)) == client


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert Proxies().client("127.0.0.1", _said("198.51.100.1")) == "127.0.0.1"


@given(st.binary(max_size=200))
def test_nonsense_is_never_an_error(said: bytes) -> None:
    assert TRUSTED.client("192.0.2.1", [(b"x-forwarded-for", said)])


def test_the_header_goes_no_further() -> None:
    headers = [(b"X-Forwarded-For", b"1.2.3.4"), (b"accept", b"*/*")]
    assert without_forwarded(headers) == [(b"accept", b"*/*")]


@pytest.mark.parametrize(
    ("host", "share"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", None),
        ("::1", None),
        ("somebody", None),
    ],
)
def test_the_source(host: str, share: str | None) -> None:
    assert source(host) == share
