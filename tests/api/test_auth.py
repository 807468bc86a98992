"""Which headers carry a bearer token, and what the others are told."""

from __future__ import annotations

import io
from typing import cast

import pytest

from api.auth import authenticate, bearer_token
from api.errors import ApiError
from appliance.control.door import Control
from appliance.log import setup
from tests.api.fakes import TOKEN, FakeControl
from tests.api.served import exchange, served


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER   abc  ", "abc"),
        ("Bearer a b", "a b"),
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearerabc", None),
        ("Basic YTpi", None),
        ("abc", None),
    ],
)
def test_bearer_token(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token


async def test_a_good_token_opens_its_account() -> None:
    account = await authenticate(cast(Control, FakeControl()), f"bearer {TOKEN}")
    assert account.id == "alice"


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        (None, "missing token"),
        ("Basic YTpi", "missing token"),
        ("Bearer wrong", "invalid token"),
        (f"Bearer {TOKEN}x", "invalid token"),
        ("Bearer gr\xfc\xdfe", "invalid token"),
        ("Bearer " + "x" * 10_000, "invalid token"),
    ],
)
async def test_everything_else_is_a_401(header: str | None, answer: str) -> None:
    with pytest.raises(ApiError) as refusal:
        await authenticate(cast(Control, FakeControl()), header)
    assert (refusal.value.status, refusal.value.message) == (401, answer)
    assert refusal.value.headers == {"WWW-Authenticate": "Bearer"}


@pytest.mark.parametrize("name", ["token", "access_token", "Authorization", "bearer"])
async def test_a_token_in_the_url_opens_nothing_and_is_not_logged(name: str) -> None:
    log = io.StringIO()
    setup("debug", log)
    request = f"GET /v1/usage?{name}={TOKEN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with served(FakeControl()) as base:
        answer = await exchange(base, request.encode())
    assert answer.startswith(b"HTTP/1.1 401")
    assert TOKEN.encode() not in answer
    assert log.getvalue() == ""


@pytest.mark.parametrize("where", ["header", "body", "path", "request id"])
async def test_no_token_is_in_a_trace(where: str) -> None:
    log = io.StringIO()
    setup("debug", log)
    control = FakeControl()
    control.refuse = RuntimeError("a bug")
    told = {
        "header": f"X-Token: {TOKEN}\r\n",
        "body": "",
        "path": "",
        "request id": f"X-Request-Id: {TOKEN}!\r\n",
    }[where]
    body = f'{{"region":"ash","token":"{TOKEN}"}}' if where == "body" else '{"region":"ash"}'
    path = f"/v1/sessions?x={TOKEN}" if where == "path" else "/v1/sessions"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n"
    raw = f"{head}{told}Content-Length: {len(body)}\r\n\r\n{body}"
    async with served(control) as base:
        assert (await exchange(base, raw.encode())).startswith(b"HTTP/1.1 500")
    assert "RuntimeError: a bug" in log.getvalue()
    assert TOKEN not in log.getvalue()
