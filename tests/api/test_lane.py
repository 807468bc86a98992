"""The lane and the long way give the same answers, to the byte; and the lane is really taken."""

from __future__ import annotations

import io
import re
from typing import Any, cast

import pytest

from api.app import create_app
from api.body import BODY_LIMIT_BYTES
from api.lane import Lane
from api.tunnelbyte import Questions, told
from appliance.control.door import Control
from appliance.control.errors import PeerApplyFailed, StorageUnavailable
from appliance.control.views import Account, SessionView, UsageView
from appliance.log import setup
from tests.api.fakes import OTHER_TOKEN, TOKEN, FakeControl, UnknownRefusal
from tests.api.served import exchange, served

_PATHS = ["/v1/usage", "/v1/sessions/tb_000000", "/v1/sessions/tb_nosuch", "/v1/sessions/" + "a" * 64]


class Failing(FakeControl):
    """A door that answers every question with the same failure."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self._failure = failure

    async def session(self, account: Account, session_id: str) -> SessionView:
        raise self._failure

    async def usage(self, account: Account) -> UsageView:
        raise self._failure


async def _both(control: FakeControl, path: str, headers: str = "") -> tuple[list[bytes], list[bytes]]:
    """The same question on the lane and, for its announced body of nothing, on the long way; sorted lines."""
    found = []
    async with served(control) as base:
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


async def _goes_on(**changes: Any) -> bool:
    """Whether a request gets as far as the app behind the lane."""
    asked, sent = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope)

    async def send(message: Any) -> None:
        sent.append(message)

    lane = Lane(cast(Any, app), Questions(cast(Control, FakeControl())).find, told)
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/v1/usage", "headers": []}
    await lane(cast(Any, {**scope, **changes}), cast(Any, None), send)
    assert bool(asked) is not bool(sent)
    return bool(asked)


@pytest.mark.parametrize(
    ("long", "changes"),
    [
        (False, {}),
        (False, {"query_string": b"x=1"}),
        (False, {"http_version": "1.0"}),
        (False, {"path": "/v1/sessions/tb_a3kf91c0pw2x"}),
        (True, {"type": "lifespan"}),
        (True, {"method": "HEAD"}),
        (True, {"method": "DELETE", "path": "/v1/sessions/tb_1"}),
        (True, {"http_version": "2"}),
        (True, {"headers": [(b"content-length", str(BODY_LIMIT_BYTES + 1).encode())]}),
        (True, {"headers": [(b"transfer-encoding", b"chunked")]}),
        (True, {"path": "/v1/usage/"}),
        (True, {"path": "/v1/regions"}),
        (True, {"path": "/v1/sessions"}),
        (True, {"path": "/v1/sessions/"}),
        (True, {"path": "/v1/sessions/a/b"}),
        (True, {"path": "/v1/sessions/\xe4"}),
        (True, {"path": "/v1/sessions/a\n"}),
        (True, {"path": "/v1/sessions/" + "a" * 65}),
    ],
)
async def test_only_plain_questions_take_the_lane(long: bool, changes: dict[str, Any]) -> None:
    assert await _goes_on(**changes) is long


def test_the_lane_names_the_routes_of_the_framework() -> None:
    app = create_app(cast(Control, FakeControl()))
    questions = Questions(cast(Control, FakeControl()))
    routes = {rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    for path in ("/v1/usage", "/v1/sessions/tb_1"):
        question = questions.find(path)
        assert question is not None
        assert question.route in routes
