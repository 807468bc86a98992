"""Every answer carries an id; a sane one of the client's is taken over, any other is replaced."""

from __future__ import annotations

import io
import re

import pytest

from api import request_ids
from appliance.log import REQUEST, setup
from tests.api.fakes import TOKEN, FakeControl
from tests.api.served import exchange, served

_END = b"Connection: close\r\n\r\n"
_MADE = re.compile(r"[0-9a-f]{16}")


def _ids(answer: bytes) -> list[str]:
    head = answer.partition(b"\r\n\r\n")[0].decode()
    return re.findall(r"^x-request-id: (.*)$", head.replace("\r", ""), re.MULTILINE)


@pytest.mark.parametrize("brought", ["a", "7f3c.B_-9", "x" * 64])
def test_a_sane_id_is_taken_over(brought: str) -> None:
    request_ids.begin([(b"accept", b"*/*"), (b"X-Request-Id", brought.encode())])
    assert request_ids.answered() == (b"x-request-id", brought.encode())
    REQUEST.set(None)


@pytest.mark.parametrize("brought", [b"", b"a b", b"x" * 65, b"a\x1b[2J", b"\xff", b"a,b", b'"', b"a\n"])
def test_any_other_is_replaced(brought: bytes) -> None:
    request_ids.begin([(b"x-request-id", brought)])
    name = request_ids.answered()[1].decode()
    assert _MADE.fullmatch(name)
    assert request_ids.answered()[1].decode() == name
    REQUEST.set(None)


def test_two_ids_are_none() -> None:
    request_ids.begin([(b"x-request-id", b"a"), (b"x-request-id", b"b")])
    assert _MADE.fullmatch(request_ids.answered()[1].decode())
    REQUEST.set(None)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /v1/regions HTTP/1.1\r\nHost: x\r\n" + _END, 200),
        (b"GET /nowhere HTTP/1.1\r\nHost: x\r\n" + _END, 404),
        (b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n" + _END + b" " * 70_000, 413),
        (b"no HTTP at all\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000, 431),
    ],
)
async def test_every_answer_has_exactly_one(raw: bytes, status: int) -> None:
    async with served(FakeControl()) as base:
        answer = await exchange(base, raw)
        again = await exchange(base, raw)
    assert int(answer.split()[1]) == status
    assert len(_ids(answer)) == 1
    assert _ids(answer) != _ids(again)


async def test_the_requests_of_one_connection_have_ids_of_their_own() -> None:
    one = b"GET /v1/regions HTTP/1.1\r\nHost: x\r\nX-Request-Id: one\r\n\r\n"
    two = b"GET /v1/regions HTTP/1.1\r\nHost: x\r\n" + _END
    async with served(FakeControl()) as base:
        answer = await exchange(base, one + two)
    first, second = re.findall(rb"x-request-id: (\S+)", answer)
    assert first == b"one"
    assert _MADE.fullmatch(second.decode())


async def test_what_is_logged_about_a_request_names_it() -> None:
    control = FakeControl()
    control.refuse = RuntimeError("a bug")
    log = io.StringIO()
    setup("info", log)
    head = f"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nX-Request-Id: mine\r\n"
    async with served(control) as base:
        await exchange(base, head.encode() + b"Content-Length: 16\r\n" + _END + b'{"region":"ash"}')
    (line,) = log.getvalue().splitlines()
    assert " request=mine " in line
    assert TOKEN not in line
