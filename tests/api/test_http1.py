"""What Hypercorn's parser refuses is answered in JSON, whoever asks; and plain text stays HTTP/1."""

from __future__ import annotations

import inspect
import json

import hypercorn.protocol
import pytest

from api import http1
from tests.api.fakes import FakeControl
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


def test_hypercorn_still_looks_its_class_up_there() -> None:
    http1.install()
    assert vars(hypercorn.protocol)["H11Protocol"] is http1.OurH11Protocol
    assert "= H11Protocol(" in inspect.getsource(hypercorn.protocol.ProtocolWrapper)
