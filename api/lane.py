"""A lane past the framework, for what clients ask again and again.

A client that shows its user how many bytes went through asks for them every second. The HTTP server and the
framework take such a question through two dozen steps that it has no use for (a task, a channel, events,
routing, contexts, signals) and spend more on them than on everything else together. So a `GET` whose path a
dialect knows by heart (`Question`) goes from the parser (http1.py) straight to the dialect, which is also
what the framework's route for it calls: the same checks, the same words, the same bytes; a test compares
them. Whatever is not plainly such a question takes the long way: other methods, anything that could be a
body, an upgrade or a wait for `100 Continue`, odd spellings of a path, HTTP/2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from api.errors import FIXED_HEADERS, JSON, ApiError, bug
from api.models import Answer

Headers = Sequence[tuple[bytes, bytes]]

_TYPE: Final = (b"content-type", JSON.encode())
_FIXED: Final = [(name.lower().encode(), value.encode()) for name, value in FIXED_HEADERS.items()]
# Headers after which there is more to do than to answer.
_LONGER: Final = frozenset({b"content-length", b"expect", b"transfer-encoding", b"upgrade"})


@dataclass(frozen=True, slots=True)
class Question:
    """What stands behind a path: its route, and whom to ask with the `Authorization` header's value."""

    route: str
    ask: Callable[[str | None], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, but for the headers that every answer has."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Lane:
    """From an HTTP/1 request to its answer.

    `find` gives the question of a path, None for the long way; `told` a failure in the dialect's words, None
    for what it has none for.
    """

    def __init__(
        self, find: Callable[[str], Question | None], told: Callable[[Exception], ApiError | None]
    ) -> None:
        self._find = find
        self._told = told

    def question(self, method: bytes, target: bytes, version: bytes, headers: Headers) -> Question | None:
        """The question that a request is, None for the long way. Names of headers are in lower case."""
        if method != b"GET" or not version.startswith(b"1."):
            return None
        question = self._find(target.partition(b"?")[0].decode("ascii"))
        if question is None or any(name in _LONGER for name, _ in headers):
            return None
        return question

    async def answer(self, question: Question, headers: Headers) -> Reply:
        """What is answered to a question with these headers; never fails."""
        status, extra = 200, {}
        try:
            body = (await question.ask(_authorization(headers))).body()
        except Exception as failure:
            error = self._told(failure) or bug(failure, "GET", question.route)
            status, body, extra = error.status, error.body(), error.headers
        return Reply(
            status,
            (
                _TYPE,
                (b"content-length", b"%d" % len(body)),
                *((name.lower().encode(), value.encode()) for name, value in extra.items()),
                *_FIXED,
            ),
            body,
        )


def _authorization(headers: Headers) -> str | None:
    return next((value.decode("latin1") for name, value in headers if name == b"authorization"), None)
