"""One shape for every error."""

from __future__ import annotations

import json

import pytest
from quart_trio import QuartTrio
from werkzeug.exceptions import ImATeapot

from api.errors import ApiError, error_body, register


def test_the_shape() -> None:
    assert json.loads(error_body("no")) == {"error": "no"}
    assert json.loads(error_body("no", {"available": ["a"]})) == {"error": "no", "available": ["a"]}
    response = ApiError(503, "no").response()
    assert (response.status_code, response.content_type) == (503, "application/json")


@pytest.fixture
def app() -> QuartTrio:
    app = QuartTrio("tested", static_folder=None)
    register(app)

    @app.get("/refused")
    async def refused() -> str:
        raise ApiError(418, "tea", headers={"Retry-After": "5"}, extra={"pot": 1})

    @app.get("/framework")
    async def framework() -> str:
        raise ImATeapot

    return app


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/refused", 418, {"error": "tea", "pot": 1}),
        ("GET", "/framework", 418, {"error": "i'm a teapot"}),
        ("GET", "/nowhere", 404, {"error": "not found"}),
        ("POST", "/refused", 405, {"error": "method not allowed"}),
    ],
)
async def test_errors_are_json(
    app: QuartTrio, method: str, path: str, status: int, body: dict[str, object]
) -> None:
    response = await app.test_client().open(path, method=method)
    assert response.status_code == status
    assert response.content_type == "application/json"
    assert json.loads(await response.get_data()) == body


async def test_headers_that_belong_to_an_error(app: QuartTrio) -> None:
    client = app.test_client()
    assert (await client.get("/refused")).headers["Retry-After"] == "5"
    assert (await client.post("/refused")).headers["Allow"] == "GET, HEAD, OPTIONS"
