"""What a field may be, and how answers look on the wire."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import models
from api.models import BadFields, Regions, Status, Usage, read_create_request, time_text
from appliance import config
from appliance.control.views import SessionView

KEY = base64.b64encode(bytes(range(32))).decode()
_KEY_REASON = "client_public_key must be standard base64 of 32 bytes, 44 characters"
_REGION_REASON = "region must be a code such as those of /v1/regions"


def test_region_alone_and_with_a_key() -> None:
    assert read_create_request({"region": "ash"}).client_public_key is None
    asked = read_create_request({"region": "us-east-1", "client_public_key": KEY, "label": "unknown"})
    assert (asked.region, asked.client_public_key) == ("us-east-1", bytes(range(32)))


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "body must be a JSON object"),
        ("ash", "body must be a JSON object"),
        (None, "body must be a JSON object"),
        (1, "body must be a JSON object"),
        ({}, "missing region"),
        ({"region": ""}, "missing region"),
        ({"region": None}, "region must be a string"),
        ({"region": 1}, "region must be a string"),
        ({"region": ["ash"]}, "region must be a string"),
        ({"region": {"code": "ash"}}, "region must be a string"),
        ({"region": True}, "region must be a string"),
        ({"region": "ASH"}, _REGION_REASON),
        ({"region": "ash "}, _REGION_REASON),
        ({"region": "ash\n"}, _REGION_REASON),
        ({"region": "-ash"}, _REGION_REASON),
        ({"region": "a/b"}, _REGION_REASON),
        ({"region": "ä"}, _REGION_REASON),
        ({"region": "\ud800"}, _REGION_REASON),
        ({"region": "a" * 33}, _REGION_REASON),
        ({"region": "ash", "client_public_key": None}, _KEY_REASON),
        ({"region": "ash", "client_public_key": ""}, _KEY_REASON),
        ({"region": "ash", "client_public_key": 5}, _KEY_REASON),
        ({"region": "ash", "client_public_key": [KEY]}, _KEY_REASON),
        ({"region": "ash", "client_public_key": KEY[:-1]}, _KEY_REASON),
        ({"region": "ash", "client_public_key": KEY + "="}, _KEY_REASON),
        ({"region": "ash", "client_public_key": KEY + "\n"}, _KEY_REASON),
        ({"region": "ash", "client_public_key": " " + KEY[:-1]}, _KEY_REASON),
        ({"region": "ash", "client_public_key": "_" + KEY[1:]}, _KEY_REASON),
        ({"region": "ash", "client_public_key": "é" + KEY[1:]}, _KEY_REASON),
        ({"region": "ash", "client_public_key": bytes(range(32)).hex()}, _KEY_REASON),
        ({"region": "ash", "client_public_key": base64.b64encode(bytes(31)).decode()}, _KEY_REASON),
        ({"region": "ash", "client_public_key": base64.b64encode(bytes(33)).decode()}, _KEY_REASON),
    ],
)
def test_fields_that_cannot_be(document: object, reason: str) -> None:
    with pytest.raises(BadFields) as refusal:
        read_create_request(document)
    assert str(refusal.value) == reason


def test_one_key_has_one_spelling() -> None:
    accepted = []
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/":
        spelling = KEY[:42] + last + "="
        try:
            accepted.append(read_create_request({"region": "ash", "client_public_key": spelling}))
        except BadFields:
            continue
    assert len(accepted) == 16  # four bits of the last character count, the other two must be zero
    assert len({asked.client_public_key for asked in accepted}) == 16


@given(st.binary(min_size=32, max_size=32))
def test_any_key_is_read_back(key: bytes) -> None:
    spelling = base64.b64encode(key).decode()
    assert read_create_request({"region": "a", "client_public_key": spelling}).client_public_key == key


def test_the_operator_and_the_clients_mean_the_same_codes() -> None:
    assert models.REGION_FORM == config.REGION_FORM


def test_times_are_utc_and_whole_seconds() -> None:
    moment = datetime(2026, 5, 28, 16, 2, 14, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert time_text(moment) == "2026-05-28T14:02:14Z"


_LIVE = SessionView(
    id="tb_a3kf91",
    created_at=datetime(2026, 5, 28, 14, 2, 14, tzinfo=UTC),
    terminated_at=None,
    terminated_reason=None,
    bytes_in=187324162,
    bytes_out=13001216,
    tier="anonymous",
    quota_bytes_used=199768576,
    quota_bytes_limit=1073741824,
    quota_seconds_used=840,
    quota_seconds_limit=1800,
)


def test_a_live_session_has_no_end() -> None:
    expected = {
        "id": "tb_a3kf91",
        "bytes_in": 187324162,
        "bytes_out": 13001216,
        "created_at": "2026-05-28T14:02:14Z",
        "tier": "anonymous",
        "quota_bytes_used": 199768576,
        "quota_bytes_limit": 1073741824,
        "quota_seconds_used": 840,
        "quota_seconds_limit": 1800,
    }
    body = json.loads(Status.model_validate(_LIVE).body())
    assert body == expected
    assert list(body) == list(expected)


def test_an_ended_session_tells_when_and_why() -> None:
    end = {"terminated_at": _LIVE.created_at + timedelta(minutes=30), "terminated_reason": "client_closed"}
    body = json.loads(Status.model_validate(SessionView(**{**vars(_LIVE), **end})).body())
    assert list(body)[:3] == ["id", "terminated_at", "terminated_reason"]
    assert (body["terminated_at"], body["terminated_reason"]) == ("2026-05-28T14:32:14Z", "client_closed")


def test_no_region_is_an_empty_list() -> None:
    assert json.loads(Regions(regions=[]).body()) == {"regions": []}


def test_usage_has_no_default_region() -> None:
    assert set(Usage.model_fields) == {
        "tier",
        "bytes_used",
        "bytes_limit",
        "session_seconds",
        "session_seconds_limit",
        "max_session_seconds",
        "bytes_window_resets_at",
        "seconds_window_resets_at",
    }
