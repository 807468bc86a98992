"""Request bodies: bounded in size and time, and JSON whatever their Content-Type says.

curl's `-d` calls its body a form, so the type is never asked for. The framework keeps the limit of a body
that announces its length; one that does not (chunked) is counted here while it arrives, because not every
version of the framework does so before the end, and some bodies have none.
"""

from __future__ import annotations

import json
from typing import Final, NoReturn

import trio
from hypercorn.typing import HTTPScope
from quart import Request
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from api.errors import ApiError

BODY_LIMIT_BYTES: Final = 64 * 1024
BODY_TIMEOUT_SECONDS: Final = 10

_BODY_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding"})


def has_no_body(scope: HTTPScope) -> bool:
    """Whether it is certain from a request's head that nothing follows it (RFC 9112, section 6.3)."""
    if not scope["http_version"].startswith("1."):
        return False  # frames say it, later
    return not any(name in _BODY_HEADERS for name, _ in scope["headers"])


def parse_json(body: bytes) -> object:
    """Strictly: UTF-8 only, no NaN, and nothing that only a parser's limit stops."""
    try:
        return json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ApiError(400, "invalid json") from None


async def read_body(request: Request) -> bytes:
    """The whole body; raises the 408 or 413 to answer otherwise."""
    data = bytearray()
    with trio.move_on_after(BODY_TIMEOUT_SECONDS) as deadline:
        async for part in request.body:
            data += part
            if len(data) > BODY_LIMIT_BYTES:
                raise RequestEntityTooLarge
    if deadline.cancelled_caught:
        raise RequestTimeout
    return bytes(data)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
