"""A source has so many requests under way and no more, wherever they come in."""

from __future__ import annotations

from ipaddress import ip_network

from api.origin import Proxies
from api.shares import REQUESTS_PER_SOURCE, Shares

_BEHIND = [(b"x-forwarded-for", b"203.0.113.9, 198.51.100.1")]


def test_a_source_has_its_share_and_what_it_gives_back_it_has_again() -> None:
    shares = Shares(Proxies())
    assert all(shares.take("198.51.100.1") for _ in range(REQUESTS_PER_SOURCE))
    assert not shares.take("198.51.100.1")
    assert shares.take("198.51.100.2")
    shares.give_back("198.51.100.1")
    assert shares.take("198.51.100.1")
    assert not shares.take("198.51.100.1")


def test_nobody_is_remembered_who_has_nothing_under_way() -> None:
    shares = Shares(Proxies())
    for _ in range(2):
        assert shares.take("198.51.100.1")
    for _ in range(2):
        assert shares._under_way
        shares.give_back("198.51.100.1")
    assert not shares._under_way


def test_who_has_no_limit_has_none() -> None:
    shares = Shares(Proxies())
    assert all(shares.take(None) for _ in range(2 * REQUESTS_PER_SOURCE))
    shares.give_back(None)
    assert not shares._under_way


def test_a_client_is_whom_trusted_proxies_name() -> None:
    trusting = Shares(Proxies([ip_network("192.0.2.0/24")]))
    assert trusting.client("192.0.2.7", _BEHIND) == "198.51.100.1"
    assert trusting.client("192.0.3.7", _BEHIND) == "192.0.3.7"
