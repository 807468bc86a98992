"""What holds for the whole app: limits, methods, unknown paths, and failures logged once."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import cast

import pytest
import trio
import trio.testing
from quart.typing import TestClientProtocol as Client

from api.app import create_app
from api.body import BODY_LIMIT_BYTES, BODY_TIMEOUT_SECONDS
from appliance.control.door import Control
from appliance.log import setup
from tests.api.fakes import TOKEN, FakeControl

AUTH = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
def client(control: FakeControl) -> Client:
    return create_app(cast(Control, control)).test_client()


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    everything, ours = logging.getLogger(), logging.getLogger("sallyport")
    before = everything.handlers[:], everything.level, ours.level
    setup("debug", stream)
    yield stream
    everything.handlers[:] = before[0]
    everything.setLevel(before[1])
    ours.setLevel(before[2])


def _padded(size: int) -> bytes:
    return b'{"region":"ash"}'.ljust(size)


async def test_a_body_up_to_the_limit(client: Client) -> None:
    response = await client.post("/v1/sessions", data=_padded(BODY_LIMIT_BYTES), headers=AUTH)
    assert response.status_code == 200


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_a_body_over_the_limit(client: Client, control: FakeControl, method: str) -> None:
    path = "/v1/sessions" if method == "POST" else "/v1/sessions/tb_000000"
    body = _padded(BODY_LIMIT_BYTES + 1)
    headers = {**AUTH, "Content-Length": str(len(body))}
    response = await client.open(path, method=method, data=body, headers=headers)
    assert response.status_code == 413
    assert json.loads(await response.get_data()) == {"error": "request body too large"}
    assert control.sessions == {}


@pytest.mark.parametrize("chunk", [1000, BODY_LIMIT_BYTES])
async def test_a_body_over_the_limit_that_does_not_say_so(client: Client, chunk: int) -> None:
    async with client.request("/v1/sessions", method="POST", headers=AUTH) as connection:
        for _ in range(BODY_LIMIT_BYTES // chunk + 1):
            await connection.send(b" " * chunk)
        response = await connection.as_response()
    assert response.status_code == 413


async def test_a_body_that_never_ends(client: Client, autojump_clock: trio.testing.MockClock) -> None:
    async with client.request("/v1/sessions", method="POST", headers=AUTH) as connection:
        await connection.send(b"{")
        response = await connection.as_response()
    assert response.status_code == 408
    assert trio.current_time() == pytest.approx(BODY_TIMEOUT_SECONDS, abs=1)


@pytest.mark.parametrize(
    "path",
    [
        *[
            "/",
            "/v1",
            "/v1/",
            "/v2/regions",
            "/v1/sessions/",
            "/v1/sessions/a/b",
            "/v1//regions",
        ],
        *["/v1/regions/", "/V1/regions", "/static/x", "/v1/%2e%2e/regions", "/%00", "/\N{SNOWMAN}"],
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_unknown_paths(client: Client, method: str, path: str) -> None:
    response = await client.open(path, method=method, headers=AUTH)
    assert (response.status_code, response.content_type) == (404, "application/json")
    assert json.loads(await response.get_data()) == {"error": "not found"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/regions", "GET, HEAD, OPTIONS"),
        ("GET", "/v1/sessions", "OPTIONS, POST"),
        ("HEAD", "/v1/sessions", "OPTIONS, POST"),
        ("PUT", "/v1/sessions", "OPTIONS, POST"),
        ("PATCH", "/v1/sessions/x", "DELETE, GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/usage", "GET, HEAD, OPTIONS"),
        ("BREW", "/v1/usage", "GET, HEAD, OPTIONS"),
    ],
)
async def test_wrong_methods(client: Client, method: str, path: str, allowed: str) -> None:
    response = await client.open(path, method=method, headers=AUTH)
    assert (response.status_code, response.content_type) == (405, "application/json")
    assert response.headers["Allow"] == allowed


async def test_options_and_head(client: Client) -> None:
    options = await client.options("/v1/sessions/x")
    assert options.status_code == 204
    assert set(options.headers["Allow"].split(", ")) == {"DELETE", "GET", "HEAD", "OPTIONS"}
    assert await options.get_data() == b""
    assert (await client.head("/v1/regions")).status_code == 200
    assert (await client.head("/v1/usage")).status_code == 401


async def test_a_failing_handler_is_logged_once_without_secrets(
    client: Client, control: FakeControl, logged: io.StringIO
) -> None:
    control.refuse = RuntimeError("the disk\nis gone")
    response = await client.post("/v1/sessions", data=b'{"region":"ash"}', headers=AUTH)
    assert response.status_code == 500
    lines = logged.getvalue().splitlines()
    assert len(lines) == 1
    assert 'part=api msg="request handler failed" method=POST route=/v1/sessions trace=' in lines[0]
    assert r"RuntimeError: the disk\nis gone" in lines[0]
    assert TOKEN not in lines[0]


async def test_good_and_bad_requests_alike_log_no_token(client: Client, logged: io.StringIO) -> None:
    await client.get("/v1/usage", headers=AUTH)
    await client.get("/v1/usage", headers={"Authorization": "Bearer wrong-token"})
    await client.get("/v1/sessions/tb_secret", headers=AUTH)
    assert logged.getvalue() == ""
