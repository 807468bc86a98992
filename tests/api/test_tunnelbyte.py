"""The dialect over a fake door: shapes, words, statuses, and a wide table of bad input."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quart.typing import TestClientProtocol as Client

from api.app import create_app
from appliance.control.door import Control
from appliance.control.errors import (
    AnswerGone,
    BadClientKey,
    KeyReused,
    NoActiveNodes,
    PeerApplyFailed,
    QuotaExceeded,
    StorageUnavailable,
    SubnetExhausted,
    TooManyKeys,
)
from appliance.control.idempotency import Once
from appliance.control.views import UsageView
from tests.api.fakes import OTHER_TOKEN, TOKEN, FakeControl, UnknownRefusal

AUTH = {"Authorization": f"Bearer {TOKEN}"}
BOB = {"Authorization": f"Bearer {OTHER_TOKEN}"}
KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
def client(control: FakeControl) -> Client:
    return create_app(cast(Control, control)).test_client()


async def _ask(
    client: Client,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    response = await client.open(path, method=method, data=body, headers=headers or {})
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    document = json.loads(await response.get_data())
    if response.status_code != 200:
        assert isinstance(document["error"], str)
    return response.status_code, document


async def test_regions_need_no_token_and_mind_none(client: Client) -> None:
    expected = (200, {"regions": [{"code": "ash", "node_count": 1}]})
    assert await _ask(client, "GET", "/v1/regions") == expected
    assert await _ask(client, "GET", "/v1/regions", headers={"Authorization": "Bearer no"}) == expected


async def test_create_status_end_and_end_again(client: Client) -> None:
    status, created = await _ask(client, "POST", "/v1/sessions", b'{"region":"ash"}', AUTH)
    assert status == 200
    assert list(created) == ["id", "public_ip", "wg_config", "expires_at", "tier"]
    assert created["expires_at"] == "2026-06-27T14:02:14Z"
    path = f"/v1/sessions/{created['id']}"
    status, live = await _ask(client, "GET", path, headers=AUTH)
    assert (status, live["bytes_in"]) == (200, 5 << 32)
    assert "terminated_at" not in live
    first = await _ask(client, "DELETE", path, headers=AUTH)
    assert first[0] == 200
    assert first[1]["terminated_reason"] == "client_closed"
    assert first == await _ask(client, "DELETE", path, headers=AUTH)
    assert first == await _ask(client, "GET", path, headers=AUTH)


async def test_usage(client: Client) -> None:
    status, usage = await _ask(client, "GET", "/v1/usage", headers=AUTH)
    assert status == 200
    assert usage == {
        "tier": "paid",
        "bytes_used": (5 << 32) + 7,
        "bytes_limit": 0,
        "session_seconds": 840,
        "session_seconds_limit": 0,
        "max_session_seconds": 0,
        "bytes_window_resets_at": "2026-06-04T14:02:14Z",
        "seconds_window_resets_at": "2026-05-29T14:02:14Z",
    }


async def test_the_client_key_reaches_the_door(client: Client, control: FakeControl) -> None:
    await _ask(client, "POST", "/v1/sessions", b'{"region":"ash"}', AUTH)
    body = json.dumps({"region": "ash", "client_public_key": KEY}).encode()
    await _ask(client, "POST", "/v1/sessions", body, AUTH)
    assert control.keys == [None, bytes(range(32))]


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "", "no/such; ="],
)
async def test_a_body_is_json_whatever_its_type_says(client: Client, content_type: str) -> None:
    headers = {**AUTH, "Content-Type": content_type}
    assert (await _ask(client, "POST", "/v1/sessions", b'{"region":"ash"}', headers))[0] == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/sessions"),
        ("GET", "/v1/sessions/tb_000000"),
        ("DELETE", "/v1/sessions/tb_000000"),
        ("GET", "/v1/usage"),
    ],
)
async def test_the_token_comes_first(client: Client, method: str, path: str) -> None:
    missing, invalid = (401, {"error": "missing token"}), (401, {"error": "invalid token"})
    assert await _ask(client, method, path, b"no json") == missing
    assert await _ask(client, method, path, b"no json", {"Authorization": "Basic YTpi"}) == missing
    assert await _ask(client, method, path, b"no json", {"Authorization": "Bearer no"}) == invalid


INVALID_JSON = [
    b"",
    b" ",
    b"{",
    b'{"region":"ash"',
    b"{'region':'ash'}",
    b'{"region":"ash"} x',
    b'{"region":"ash",}',
    b"region=ash",
    b"NaN",
    b'{"region":"ash","x":NaN}',
    b'{"region":"ash","x":-Infinity}',
    b'{"region":"a\nb"}',
    b'\xff{"region":"ash"}',
    b'{"region":"\xe4"}',
    b'\xef\xbb\xbf{"region":"ash"}',
    '{"region":"ash"}'.encode("utf-16"),
    b"\0" * 100,
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b'{"region":' + b"9" * 5000 + b"}",
]
BAD_FIELDS = [
    b"null",
    b"5",
    b'"ash"',
    b"[]",
    b'[{"region":"ash"}]',
    b"{}",
    b'{"Region":"ash"}',
    b'{"region":null}',
    b'{"region":""}',
    b'{"region":1e999}',
    b'{"region":{"region":"ash"}}',
    b'{"region":"../ash"}',
    b'{"region":"\\ud800"}',
    b'{"region":"ash\\u0000"}',
    b'{"region":"ash","region":1}',
    b'{"region":"ash","client_public_key":null}',
    b'{"region":"ash","client_public_key":"short"}',
]


@pytest.mark.parametrize("body", INVALID_JSON, ids=lambda body: repr(body[:20]))
async def test_a_body_that_is_no_json(client: Client, control: FakeControl, body: bytes) -> None:
    assert await _ask(client, "POST", "/v1/sessions", body, AUTH) == (400, {"error": "invalid json"})
    assert control.sessions == {}


@pytest.mark.parametrize("body", BAD_FIELDS, ids=repr)
async def test_json_that_is_no_request(client: Client, control: FakeControl, body: bytes) -> None:
    status, answer = await _ask(client, "POST", "/v1/sessions", body, AUTH)
    assert status == 400
    assert answer["error"] not in ("", "invalid json")
    assert control.sessions == {}


@pytest.mark.parametrize("body", [b'{"region":1,"region":"ash"}', b'{"region":"ash","x":{"y":[1e400]}}'])
async def test_tolerated(client: Client, body: bytes) -> None:
    assert (await _ask(client, "POST", "/v1/sessions", body, AUTH))[0] == 200


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
async def test_no_body_is_a_server_error(body: bytes) -> None:
    control = FakeControl()
    client = create_app(cast(Control, control)).test_client()
    status, _ = await _ask(client, "POST", "/v1/sessions", body, AUTH)
    assert status == 400
    assert control.sessions == {}


async def test_an_unknown_region_lists_the_known(client: Client) -> None:
    status, answer = await _ask(client, "POST", "/v1/sessions", b'{"region":"nope"}', AUTH)
    assert (status, answer) == (503, {"error": "no active node in region nope", "available": ["ash"]})


@pytest.mark.parametrize(
    ("refusal", "status", "error"),
    [
        (NoActiveNodes(), 503, "no active nodes"),
        (SubnetExhausted(), 503, "subnet exhausted"),
        (PeerApplyFailed(), 503, "peer apply failed; node may be disconnected"),
        (StorageUnavailable(), 503, "storage unavailable"),
        (BadClientKey("client_public_key is in use"), 400, "client_public_key is in use"),
        (UnknownRefusal(), 500, "internal error"),
        (ExceptionGroup("g", [SubnetExhausted()]), 503, "subnet exhausted"),
        (RuntimeError("secret"), 500, "internal error"),
        (ExceptionGroup("g", [RuntimeError("secret")]), 500, "internal error"),
    ],
)
async def test_what_the_door_refuses(
    client: Client, control: FakeControl, refusal: Exception, status: int, error: str
) -> None:
    control.refuse = refusal
    assert await _ask(client, "POST", "/v1/sessions", b'{"region":"ash"}', AUTH) == (status, {"error": error})


async def test_a_spent_account_is_told_all_about_it(client: Client, control: FakeControl) -> None:
    never = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    control.refuse = QuotaExceeded(UsageView("free", 999, 1000, 77, 0, 0, never, never))
    status, answer = await _ask(client, "POST", "/v1/sessions", b'{"region":"ash"}', AUTH)
    assert status == 402
    assert answer.pop("hint")
    assert answer == {
        "error": "quota exceeded",
        "tier": "free",
        "bytes_used": 999,
        "bytes_limit": 1000,
        "session_seconds": 77,
        "session_limit": 0,
        "bytes_window_resets_at": "9999-12-31T23:59:59Z",
        "seconds_window_resets_at": "9999-12-31T23:59:59Z",
        "resets_at": "9999-12-31T23:59:59Z",
    }


@pytest.mark.parametrize(
    "refusal", [StorageUnavailable(), PeerApplyFailed(), SubnetExhausted(), NoActiveNodes()]
)
async def test_a_refusal_that_passes_says_when_to_come_back(
    client: Client, control: FakeControl, refusal: Exception
) -> None:
    control.refuse = refusal
    response = await client.post("/v1/sessions", data=b'{"region":"ash"}', headers=AUTH)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_foreign_and_unknown_sessions_are_the_same(client: Client, method: str) -> None:
    _, created = await _ask(client, "POST", "/v1/sessions", b'{"region":"ash"}', AUTH)
    foreign = await _ask(client, method, f"/v1/sessions/{created['id']}", headers=BOB)
    assert foreign == (404, {"error": "session not found"})
    for unknown in ("tb_zzzzzz", "x", "%00", "%ff%fe", "..", "a" * 2000, "%ed%a0%80", "'%20or%201=1"):
        assert await _ask(client, method, f"/v1/sessions/{unknown}", headers=BOB) == foreign
    assert (
        "terminated_at" not in (await _ask(client, "GET", f"/v1/sessions/{created['id']}", headers=AUTH))[1]
    )


@pytest.mark.parametrize(
    ("refusal", "status", "error"),
    [
        (AnswerGone(), 409, "idempotency key used before; its answer held a private key and is gone"),
        (KeyReused(), 422, "idempotency key used before with another body"),
        (TooManyKeys(), 429, "too many idempotency keys"),
    ],
)
async def test_what_the_door_refuses_about_keys(
    client: Client, control: FakeControl, refusal: Exception, status: int, error: str
) -> None:
    control.refuse = refusal
    assert await _ask(client, "POST", "/v1/sessions", b'{"region":"ash"}', AUTH) == (status, {"error": error})


@pytest.mark.parametrize("key", ["a", "!~" * 127, "8e03978e-40d5-43dd-bc93-6894a57f9324"])
async def test_an_idempotency_key_reaches_the_door_with_the_body(
    client: Client, control: FakeControl, key: str
) -> None:
    headers = {**AUTH, "Idempotency-Key": key}
    assert (await _ask(client, "POST", "/v1/sessions", b'{"region": "ash"}', headers))[0] == 200
    assert control.once == Once(key, b'{"region": "ash"}')
    assert (await _ask(client, "POST", "/v1/sessions", b'{"region": "ash"}', AUTH))[0] == 200
    assert control.once is None


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "\xe9", "a\x7f"])
async def test_a_bad_idempotency_key(client: Client, control: FakeControl, key: str) -> None:
    headers = {**AUTH, "Idempotency-Key": key}
    assert await _ask(client, "POST", "/v1/sessions", b'{"region":"ash"}', headers) == (
        400,
        {"error": "Idempotency-Key must be 1 to 255 visible ASCII characters"},
    )
    assert control.sessions == {}
