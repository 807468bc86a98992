"""The lane and the long way give the same answers, to the byte; and the lane is really taken."""

from __future__ import annotations

import io
import re
from ipaddress import ip_network
from typing import cast

import h11
import pytest
import trio

from api import shares
from api.app import create_app, create_lane
from api.body import BODY_LIMIT_BYTES
from api.lane import Headers, Lane, Question, Reply
from api.origin import Proxies
from api.tunnelbyte import Questions
from appliance.control.door import Control
from appliance.control.errors import PeerApplyFailed, StorageUnavailable
from appliance.control.views import Account, SessionView, UsageView
from appliance.log import setup
from tests.api.fakes import OTHER_TOKEN, TOKEN, FakeControl, UnknownRefusal
from tests.api.served import exchange, served

_PATHS = ["/v1/usage", "/v1/sessions/tb_000000", "/v1/sessions/tb_nosuch", "/v1/sessions/" + "a" * 64]

_CLOSE = "Connection: close"
_LOOPBACK = Proxies([ip_network("127.0.0.1/32")])


class Failing(FakeControl):
    """A door that answers every question with the same failure."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self._failure = failure

    async def session(self, account: Account, session_id: str) -> SessionView:
        raise self._failure

    async def usage(self, account: Account) -> UsageView:
        raise self._failure


async def _both(
    control: FakeControl, path: str, headers: str = "", proxies: Proxies | None = None
) -> tuple[list[bytes], list[bytes]]:
    """The same question on the lane and, for its announced body of nothing, on the long way; sorted lines."""
    found = []
    async with served(control, proxies=proxies) as base:
        for body in ("", "Content-Length: 0\r\n"):
            head = (
                f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}{body}X-Request-Id: a\r\nConnection: close\r\n"
            )
            answer = re.sub(rb"\r\ndate: [^\r]*", b"", await exchange(base, head.encode("latin1") + b"\r\n"))
            found.append(sorted(answer.split(b"\r\n")))
    return found[0], found[1]


@pytest.mark.parametrize(
    "headers",
    [
        "",
        f"Authorization: Bearer {TOKEN}\r\n",
        f"authorization: bearer  {TOKEN} \r\n",
        f"Authorization: Bearer {OTHER_TOKEN}\r\n",
        f"Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer no\r\n",
        f"Authorization: Basic YTpi\r\nAuthorization: Bearer {TOKEN}\r\n",
        "Authorization: Bearer wrong\r\n",
        "Authorization: Bearer gr\xfc\xdfe\r\n",
        "Authorization: Basic YTpi\r\n",
    ],
)
@pytest.mark.parametrize("path", _PATHS)
async def test_both_ways_answer_alike(path: str, headers: str) -> None:
    control = FakeControl()
    await control.create_session(Account("alice", "paid"), "ash", None)
    lane, long = await _both(control, path, headers)
    assert lane == long


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (StorageUnavailable(), b"503"),
        (PeerApplyFailed(), b"503"),
        (UnknownRefusal(), b"500"),
        (RuntimeError("a bug"), b"500"),
        (ExceptionGroup("several", [ValueError("one"), OSError("other")]), b"500"),
    ],
)
@pytest.mark.parametrize("path", _PATHS[:2])
async def test_both_ways_fail_alike(path: str, failure: Exception, status: bytes) -> None:
    log = io.StringIO()
    setup("debug", log)
    lane, long = await _both(Failing(failure), path, f"Authorization: Bearer {TOKEN}\r\n")
    assert lane == long
    assert any(line.startswith(b"HTTP/1.1 " + status) for line in lane)
    assert TOKEN not in log.getvalue()
    lines = [re.sub(r" trace=.*", "", line).partition(" part=")[2] for line in log.getvalue().splitlines()]
    assert len(lines) == (2 if status == b"500" else 0)
    assert len(set(lines)) <= 1
    for line in lines:
        assert "method=GET" in line
        assert f"route={'/v1/usage' if path == '/v1/usage' else '/v1/sessions/<session_id>'}" in line


@pytest.mark.parametrize(
    ("lane", "method", "target", "version", "headers"),
    [
        (True, "GET", "/v1/usage", "1.1", []),
        (True, "GET", "/v1/usage?x=1", "1.1", []),
        (True, "GET", "/v1/usage", "1.0", []),
        (True, "GET", "/v1/sessions/tb_a3kf91c0pw2x", "1.1", []),
        (True, "GET", "/v1/usage", "1.1", [("connection", "upgrade"), ("accept", "*/*")]),
        (False, "HEAD", "/v1/usage", "1.1", []),
        (False, "get", "/v1/usage", "1.1", []),
        (False, "DELETE", "/v1/sessions/tb_1", "1.1", []),
        (False, "GET", "/v1/usage", "2.0", []),
        (False, "GET", "/v1/usage", "1.1", [("content-length", str(BODY_LIMIT_BYTES + 1))]),
        (False, "GET", "/v1/usage", "1.1", [("content-length", "0")]),
        (False, "GET", "/v1/usage", "1.1", [("transfer-encoding", "chunked")]),
        (False, "GET", "/v1/usage", "1.1", [("upgrade", "websocket"), ("connection", "upgrade")]),
        (False, "GET", "/v1/usage", "1.1", [("expect", "100-continue")]),
        (False, "GET", "/v1/usage/", "1.1", []),
        (False, "GET", "http://x/v1/usage", "1.1", []),
        (False, "GET", "/v1/%75sage", "1.1", []),
        (False, "GET", "/v1/usage#x", "1.1", []),
        (False, "GET", "/v1/regions", "1.1", []),
        (False, "GET", "/v1/sessions", "1.1", []),
        (False, "GET", "/v1/sessions/", "1.1", []),
        (False, "GET", "/v1/sessions/a/b", "1.1", []),
        (False, "GET", "/v1/sessions/%c3%a4", "1.1", []),
        (False, "GET", "/v1/sessions/a%0a", "1.1", []),
        (False, "GET", "/v1/sessions/" + "a" * 65, "1.1", []),
    ],
)
def test_only_plain_questions_take_the_lane(
    lane: bool, method: str, target: str, version: str, headers: list[tuple[str, str]]
) -> None:
    """As the parser of the connection tells them."""
    said = "".join(f"{name.title()}: {value}\r\n" for name, value in [("host", "x"), *headers])
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(f"{method} {target} HTTP/{version}\r\n{said}\r\n".encode())
    request = parser.next_event()
    assert isinstance(request, h11.Request)
    question = create_lane(cast(Control, FakeControl())).question(
        request.method, request.target, request.http_version, list(request.headers)
    )
    assert (question is not None) is lane


async def test_the_lane_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Question] = []
    answer = Lane.answer

    async def note(lane: Lane, question: Question, headers: Headers) -> Reply:
        taken.append(question)
        return await answer(lane, question, headers)

    monkeypatch.setattr(Lane, "answer", note)
    await _both(FakeControl(), "/v1/usage")
    assert [question.route for question in taken] == ["/v1/usage"]


async def test_the_lane_knows_no_more_room_than_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "REQUESTS_PER_SOURCE", 0)
    lane, long = await _both(FakeControl(), "/v1/usage", "X-Forwarded-For: 198.51.100.1\r\n", _LOOPBACK)
    assert lane == long
    assert any(line.startswith(b"HTTP/1.1 429") for line in lane)
    lane, long = await _both(FakeControl(), "/v1/usage", "X-Forwarded-For: 198.51.100.1\r\n")
    assert lane == long
    assert any(line.startswith(b"HTTP/1.1 401") for line in lane)


async def test_questions_of_one_connection_use_the_shares_of_their_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shares, "REQUESTS_PER_SOURCE", 1)
    control, creating, go_on = FakeControl(), trio.Event(), trio.Event()

    async def wait() -> None:
        creating.set()
        await go_on.wait()

    control.before_create = wait

    def asked(what: str, client: str, *more: str) -> bytes:
        words = (f"{what} HTTP/1.1", "Host: x", f"X-Forwarded-For: {client}", *more)
        return "\r\n".join([*words, "", ""]).encode()

    create = asked(
        "POST /v1/sessions", "198.51.100.1", f"Authorization: Bearer {TOKEN}", "Content-Length: 16", _CLOSE
    )
    one, two = (asked("GET /v1/usage", client) for client in ("198.51.100.1", "198.51.100.2"))
    last = asked("GET /v1/usage", "198.51.100.2", _CLOSE)
    async with served(control, proxies=_LOOPBACK) as base, trio.open_nursery() as nursery:
        assert re.findall(rb"HTTP/1.1 (\d+)", await exchange(base, one + two + one + last)) == [b"401"] * 4
        nursery.start_soon(exchange, base, create + b'{"region":"ash"}')
        await creating.wait()
        answer = await exchange(base, two + one + last)
        go_on.set()
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"401", b"429", b"401"]


def test_the_lane_names_the_routes_of_the_framework() -> None:
    app = create_app(cast(Control, FakeControl()))
    questions = Questions(cast(Control, FakeControl()))
    routes = {rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    for path in ("/v1/usage", "/v1/sessions/tb_1"):
        question = questions.find(path)
        assert question is not None
        assert question.route in routes
