"""A lane past the framework, for what clients ask again and again.

A client that shows its user how many bytes went through asks for them every second. The framework takes such
a question through a dozen steps that it has no use for (routing, sessions, contexts, signals, two tasks) and
spends more on them than on everything else together. So a `GET` whose path a dialect knows by heart
(`Question`) goes straight to the dialect, which is also what the framework's route for it calls: the same
checks, the same words, the same bytes; a test compares them. Whatever is not plainly such a question takes
the long way: other methods, any body, odd spellings of a path, HTTP/2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    HTTPScope,
    Scope,
)

from api.body import has_no_body
from api.errors import FIXED_HEADERS, JSON, ApiError, bug
from api.models import Answer

_FIXED: Final = [(name.lower().encode(), value.encode()) for name, value in FIXED_HEADERS.items()]


@dataclass(frozen=True)
class Question:
    """What stands behind a path: its route, and whom to ask with the `Authorization` header's value."""

    route: str
    ask: Callable[[str | None], Awaitable[Answer]]


class Lane:
    """An ASGI app in front of an ASGI app.

    `find` gives the question of a path, None for the long way; `told` a failure in the dialect's words, None
    for what it has none for.
    """

    def __init__(
        self,
        app: ASGIFramework,
        find: Callable[[str], Question | None],
        told: Callable[[Exception], ApiError | None],
    ) -> None:
        self._app = app
        self._find = find
        self._told = told

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and has_no_body(scope):
            question = self._find(scope["path"])
            if question is not None:
                await self._answer(question, scope, send)
                return
        await self._app(scope, receive, send)

    async def _answer(self, question: Question, scope: HTTPScope, send: ASGISendCallable) -> None:
        status, extra = 200, {}
        try:
            body = (await question.ask(_authorization(scope))).body()
        except Exception as failure:
            error = self._told(failure) or bug(failure, scope["method"], question.route)
            status, body, extra = error.status, error.body(), error.headers
        start: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", JSON.encode()),
                (b"content-length", b"%d" % len(body)),
                *((name.lower().encode(), value.encode()) for name, value in extra.items()),
                *_FIXED,
            ],
        }
        end: HTTPResponseBodyEvent = {"type": "http.response.body", "body": body, "more_body": False}
        await send(start)
        await send(end)


def _authorization(scope: HTTPScope) -> str | None:
    return next(
        (value.decode("latin1") for name, value in scope["headers"] if name == b"authorization"), None
    )
