"""JSON, strictly, out of whatever a client sends."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.body import parse_json
from api.errors import ApiError

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
)


@given(_VALUES)
def test_json_is_read_back(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_a_400(body: bytes) -> None:
    try:
        parse_json(body)
    except ApiError as refusal:
        answer = refusal.status, refusal.message
    else:
        answer = 400, "invalid json"
    assert answer == (400, "invalid json")


@pytest.mark.parametrize(
    "body", [b"", b"NaN", b"[Infinity]", b"\xff", b"\xef\xbb\xbf{}", b"[" * 60_000, b"9" * 5000]
)
def test_what_other_parsers_let_through(body: bytes) -> None:
    with pytest.raises(ApiError):
        parse_json(body)
