"""The app factory: one Quart-Trio app over the door, with every limit that Quart itself keeps.

`appliance/main.py` makes an app for each start of the listener (a Quart app is served once) and hands it
to `api.listener.serve`, with the lane that goes past it. The app has no start-up or shut-down hooks on
purpose: a hook is skipped when the parent is cancelled, so nothing that must happen may depend on one.
"""

from __future__ import annotations

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import RequestEntityTooLarge

from api import errors, pages, tunnelbyte
from api.body import BODY_LIMIT_BYTES
from api.lane import Lane
from appliance.control.door import Control


def create_app(control: Control) -> QuartTrio:
    """All dialects over `control`."""
    app = QuartTrio("sallyport.api", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT_BYTES
    # `/v1//regions` is not a resource; the alternative is a redirect, whose body is HTML.
    app.url_map.merge_slashes = False
    errors.register(app)
    app.register_blueprint(tunnelbyte.create_blueprint(control))
    app.register_blueprint(pages.create_blueprint(app))

    @app.before_request
    async def refuse_large_bodies() -> None:
        """Where no handler reads the body, one that announces itself as too large is refused all the same."""
        if (request.content_length or 0) > BODY_LIMIT_BYTES:
            raise RequestEntityTooLarge

    @app.after_request
    async def finish(response: Response) -> Response:
        response.headers.update(errors.FIXED_HEADERS)
        if request.method == "OPTIONS" and response.status_code == 200:
            # What the path takes is in `Allow`; there is no body, so no type and no length either.
            response.status_code = 204
            response.headers.remove("Content-Type")
            response.headers.remove("Content-Length")
        return response

    return app


def create_lane(control: Control) -> Lane:
    """The way past the app, to the same `control`."""
    return Lane(tunnelbyte.Questions(control).find, tunnelbyte.told)
