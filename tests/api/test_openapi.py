"""The document tells the truth: every route is in it, and the real answers are as it says."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, cast

import pytest
from pydantic import BaseModel
from quart import Response
from quart_trio import QuartTrio

from api.app import create_app
from api.models import Answer
from api.openapi import Operation, described, document, operations
from appliance.control.door import Control
from tests.api.fakes import TOKEN, FakeControl

AUTH = {"Authorization": f"Bearer {TOKEN}"}
KEY = base64.b64encode(bytes(range(32))).decode()
UNDOCUMENTED = {"/v1/openapi.json", "/docs"}


def _app() -> QuartTrio:
    return create_app(cast(Control, FakeControl()))


MADE = document(_app())


def test_every_route_is_documented() -> None:
    app = _app()
    served = {rule.rule for rule in app.url_map.iter_rules()}
    assert {rule.rule for rule, _, _ in operations(app)} == served - UNDOCUMENTED
    assert [(path, sorted(methods)) for path, methods in MADE["paths"].items()] == [
        ("/v1/regions", ["get"]),
        ("/v1/sessions", ["post"]),
        ("/v1/sessions/{session_id}", ["delete", "get"]),
        ("/v1/usage", ["get"]),
    ]


def test_it_is_openapi_3_1_without_loose_ends() -> None:
    assert MADE["openapi"] == "3.1.0"
    text = json.dumps(MADE)
    named = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert named <= set(MADE["components"]["schemas"])
    assert "null" not in text
    names = [operation["operationId"] for path in MADE["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names)) == 5


def test_what_needs_a_token_says_so() -> None:
    public = [
        path
        for path, methods in MADE["paths"].items()
        for operation in methods.values()
        if not operation["security"]
    ]
    assert public == ["/v1/regions"]
    for methods in MADE["paths"].values():
        for operation in methods.values():
            assert ("401" in operation["responses"]) == bool(operation["security"])


def test_the_patterns_are_those_that_the_validators_keep() -> None:
    words = MADE["components"]["schemas"]["CreateRequest"]
    assert words["required"] == ["region"]
    assert re.search(words["properties"]["region"]["pattern"], "fsn-1")
    assert not re.search(words["properties"]["region"]["pattern"], "FSN")
    key = words["properties"]["client_public_key"]["pattern"]
    assert re.search(key, KEY)
    assert not re.search(key, KEY[:-2] + "9=")  # two bits more than 32 bytes


async def test_real_answers_have_the_documented_fields() -> None:
    client = _app().test_client()
    schemas = MADE["components"]["schemas"]

    async def fields(method: str, path: str) -> set[str]:
        answer = await client.open(path, method=method, headers=AUTH, data=b'{"region":"ash"}')
        assert answer.status_code == 200
        return set(json.loads(await answer.get_data()))

    assert await fields("POST", "/v1/sessions") == set(schemas["Created"]["required"])
    live = await fields("GET", "/v1/sessions/tb_000000")
    ended = await fields("DELETE", "/v1/sessions/tb_000000")
    assert live == set(schemas["Status"]["required"])
    assert ended == set(schemas["Status"]["properties"])
    assert await fields("GET", "/v1/usage") == set(schemas["Usage"]["required"])


def test_a_handler_that_is_not_described_is_not_in_it() -> None:
    class Asked(BaseModel):
        """A body."""

        size: int

    class Told(Answer):
        """An answer."""

        note: str | None

    app = QuartTrio("small", static_folder=None)

    @app.put("/things/<int:number>/<name>")
    @described(Operation("Put it", Told, body=Asked, headers={"X-Y": {"schema": {"type": "string"}}}))
    async def put(number: int, name: str) -> Response:
        return Response()

    @app.get("/hidden")
    async def hidden() -> Response:
        return Response()

    made: dict[str, Any] = document(app)
    (operation,) = made["paths"]["/things/{number}/{name}"].values()
    assert list(made["paths"]) == ["/things/{number}/{name}"]
    assert [each["name"] for each in operation["parameters"]] == ["name", "number", "X-Y"]
    assert {"200", "400", "401", "408", "413", "429", "500"} == set(operation["responses"])
    assert made["components"]["schemas"]["Told"].get("required", []) == []


@pytest.mark.parametrize("status", ["429", "503"])
def test_who_is_asked_to_wait_is_told_for_how_long(status: str) -> None:
    answers = MADE["paths"]["/v1/sessions"]["post"]["responses"]
    assert answers[status]["headers"]["Retry-After"]["schema"] == {"type": "integer"}
