"""What Hypercorn's parser refuses is answered in JSON, whoever asks; and plain text stays HTTP/1."""

from __future__ import annotations

import json
import re

import pytest
import trio

from api import listener
from api.lane import Headers, Lane, Question, Reply
from tests.api.fakes import TOKEN, FakeControl
from tests.api.served import exchange, served

BROKEN = {
    "no request line": b"\x16\x03\x01\x02\x00 hello\r\n\r\n",
    "length that is no number": b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
    "negative length": b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "no host": b"GET /v1/regions HTTP/1.1\r\n\r\n",
    "path that is not ASCII": b"GET /v1/\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
async def test_a_request_that_is_no_http_is_answered_in_json(raw: bytes) -> None:
    async with served(FakeControl()) as base:
        head, _, body = (await exchange(base, raw)).partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == b"400"
    assert b"content-type: application/json" in head.lower()
    assert json.loads(body) == {"error": "malformed request"}


async def test_a_header_beyond_all_measure_is_answered_in_json() -> None:
    raw = b"GET /v1/regions HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 100_000 + b"\r\n\r\n"
    async with served(FakeControl()) as base:
        head, _, body = (await exchange(base, raw)).partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == b"431"
    assert json.loads(body) == {"error": "request header too large"}


_H2_SETTINGS = bytes.fromhex("000000040000000000")


async def test_nobody_is_upgraded_to_http_2() -> None:
    words = b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    async with served(FakeControl()) as base:
        answer = await exchange(base, b"GET /v1/regions HTTP/1.1\r\nHost: x\r\n" + words)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b'{"regions":[{"code":"ash","node_count":1}]}\n')


async def test_http_2_is_not_assumed_either() -> None:
    async with served(FakeControl()) as base:
        answer = await exchange(base, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _H2_SETTINGS)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b'{"error":"malformed request"}\n')


def _usage(*headers: str) -> bytes:
    words = ("GET /v1/usage HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}", *headers)
    return "\r\n".join([*words, "", ""]).encode()


async def test_questions_in_one_breath_are_answered_in_their_order() -> None:
    """Plain ones are answered where they are read, others by tasks: no answer overtakes another."""
    long = ["Content-Length: 0"]
    asked = b"".join(_usage(f"X-Request-Id: {n}", *(long if n % 3 else [])) for n in range(30))
    async with served(FakeControl()) as base:
        answer = await exchange(base, asked + _usage("X-Request-Id: 30", "Connection: close"))
    assert re.findall(rb"x-request-id: (\d+)", answer) == [b"%d" % n for n in range(31)]
    assert answer.count(b"HTTP/1.1 200 ") == answer.count(b'"tier":"paid"') == 31


async def test_who_asks_much_in_one_breath_takes_turns_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = most_at_once = 0
    answer = Lane.answer

    async def count(lane: Lane, question: Question, headers: Headers) -> Reply:
        nonlocal answers
        answers += 1
        return await answer(lane, question, headers)

    async def another_task() -> None:
        nonlocal most_at_once
        while True:
            before = answers
            await trio.lowlevel.checkpoint()
            most_at_once = max(most_at_once, answers - before)

    monkeypatch.setattr(Lane, "answer", count)
    async with served(FakeControl()) as base, trio.open_nursery() as nursery:
        nursery.start_soon(another_task)
        await exchange(base, _usage() * 100 + _usage("Connection: close"))
        nursery.cancel_scope.cancel()
    assert answers == 101
    assert most_at_once <= 2  # the order of tasks within one round is a matter of chance


async def test_a_question_leaves_no_name_behind() -> None:
    """It is answered in the connection's own task, which goes on."""
    broken = b"no HTTP at all\r\n\r\n"
    async with served(FakeControl()) as base:
        answer = await exchange(base, _usage("X-Request-Id: mine") + broken)
    first, second = re.findall(rb"x-request-id: (\S+)", answer)
    assert first == b"mine"
    assert re.fullmatch(rb"[0-9a-f]{16}", second)


async def test_a_connection_has_so_many_questions_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener._Settings, "keep_alive_max_requests", 3)
    async with served(FakeControl()) as base:
        plain = await exchange(base, _usage() * 3)
        others = await exchange(base, b"GET /v1/regions HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    for answer in (plain, others):
        assert answer.count(b"HTTP/1.1 200 ") == 3
        assert answer.count(b"connection: close") == 1


@pytest.mark.parametrize("close", ["HTTP/1.1\r\nHost: x\r\nConnection: close", "HTTP/1.0"])
async def test_a_question_may_be_the_last(close: str) -> None:
    async with served(FakeControl()) as base:
        answer = await exchange(base, f"GET /v1/usage {close}\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in head.lower()
    assert json.loads(body) == {"error": "missing token"}


async def test_one_who_waits_to_be_told_to_continue_is_told() -> None:
    async with served(FakeControl()) as base:
        answer = await exchange(base, _usage("Expect: 100-continue", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 100 ")
    assert b"HTTP/1.1 200 " in answer
