"""Every error is JSON, `{"error": "..."}`, whoever found it: our handlers, Quart's routing or a bug.

`ApiError` is what handlers raise; `register` also gives the framework's own errors (404, 405 with `Allow`,
408, 413) and unexpected exceptions (500, logged once: `bug`) the same shape.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Final

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from appliance.log import event

_log = logging.getLogger("sallyport.api")

JSON: Final = "application/json"

# In every answer: configurations hold private keys, and the other answers are about this moment.
FIXED_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

# Our words where the framework's would be a sentence for browsers.
_WORDS: Final = {
    404: "not found",
    405: "method not allowed",
    408: "request body took too long",
    413: "request body too large",
    500: "internal error",
}


class ApiError(Exception):
    """An answer other than success: status, the value of `error`, and what else the body carries."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def body(self) -> bytes:
        return error_body(self.message, self.extra)

    def response(self) -> Response:
        return Response(self.body(), status=self.status, headers=self.headers, content_type=JSON)


def error_body(message: str, extra: Mapping[str, object] | None = None) -> bytes:
    """The one shape of all errors."""
    fields = {"error": message, **(extra or {})}
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def register(app: QuartTrio) -> None:
    """Give every error of `app` the one shape."""
    app.register_error_handler(ApiError, _api_error)
    app.register_error_handler(HTTPException, _framework_error)
    app.register_error_handler(Exception, _unexpected)


def bug(failure: Exception, method: str, route: object) -> ApiError:
    """The answer to what should not happen, and one line in the log.

    The line names the route's pattern, not the path: ids stay out of logs.
    """
    event(_log, logging.ERROR, "request handler failed", exc_info=failure, method=method, route=route)
    return ApiError(500, _WORDS[500])


async def _unexpected(failure: Exception) -> Response:
    return bug(failure, request.method, request.url_rule).response()


async def _api_error(error: ApiError) -> Response:
    return error.response()


async def _framework_error(error: HTTPException) -> Response:
    status = error.code or 500
    headers = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return ApiError(status, _WORDS.get(status, error.name.lower()), headers=headers).response()
