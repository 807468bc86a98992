"""Endpoints survive the way to C and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crypto_ext import Endpoint
from crypto_ext.addresses import from_c, host_of, to_c

endpoints = st.builds(Endpoint, st.ip_addresses(), st.integers(0, 65535), st.integers(0, 2**32 - 1))


@given(endpoints)
def test_there_and_back(endpoint: Endpoint) -> None:
    assert from_c(to_c(endpoint)) == endpoint


def test_none_is_family_zero() -> None:
    assert to_c(None).family == 0
    assert from_c(to_c(None)) is None


def test_only_the_family_s_bytes_count() -> None:
    assert str(host_of(4, bytes([192, 0, 2, 1]) + b"rubbish behind")) == "192.0.2.1"
