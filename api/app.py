"""The app factory: one Quart-Trio app over the door, with every limit that Quart itself keeps.

`appliance/main.py` makes an app for each start of the listener (a Quart app is served once) and hands it
to `api.listener.serve`. The app has no start-up or shut-down hooks on purpose: a hook is skipped when
the parent is cancelled, so nothing that must happen may depend on one.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Final

from quart import Response, request
from quart.wrappers import Response as QuartResponse
from quart_trio import QuartTrio
from werkzeug.exceptions import RequestEntityTooLarge

from api import errors, tunnelbyte
from appliance.control.door import Control
from appliance.log import event

BODY_LIMIT_BYTES: Final = 64 * 1024
BODY_TIMEOUT_SECONDS: Final = 10

_log = logging.getLogger("sallyport.api")


class _App(QuartTrio):
    def log_exception(
        self,
        exception_info: tuple[type, BaseException, TracebackType] | tuple[None, None, None],
    ) -> None:
        """One line for a handler that failed. The route's pattern, not the path: ids stay out of logs."""
        event(
            _log,
            logging.ERROR,
            "request handler failed",
            exc_info=exception_info[1],
            method=request.method,
            route=request.url_rule,
        )

    async def make_default_options_response(self) -> QuartResponse:
        """What the path takes; there is no body, so no type and no length either."""
        response = await super().make_default_options_response()
        response.status_code = 204
        response.headers.remove("Content-Type")
        response.headers.remove("Content-Length")
        return response


def create_app(control: Control) -> QuartTrio:
    """All dialects over `control`."""
    app = _App("sallyport", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT_BYTES
    app.config["BODY_TIMEOUT"] = BODY_TIMEOUT_SECONDS
    # `//v1/regions` is not a resource; the alternative is a redirect, whose body is HTML.
    app.url_map.merge_slashes = False
    errors.register(app)
    app.register_blueprint(tunnelbyte.create_blueprint(control))

    @app.before_request
    async def refuse_large_bodies() -> None:
        """Where no handler reads the body, one that announces itself as too large is refused all the same."""
        if (request.content_length or 0) > BODY_LIMIT_BYTES:
            raise RequestEntityTooLarge

    @app.after_request
    async def never_cached(response: Response) -> Response:
        """Configurations hold private keys, and the other answers are about this moment."""
        response.headers["Cache-Control"] = "no-store"
        return response

    return app
