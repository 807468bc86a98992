"""The document and the page are there for anybody, and the page needs nothing and may do nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from typing import cast

from quart.typing import TestClientProtocol as Client

from api.app import create_app
from api.openapi import document
from appliance.control.door import Control
from tests.api.fakes import FakeControl


def _client() -> Client:
    return create_app(cast(Control, FakeControl())).test_client()


async def test_the_document_needs_no_token() -> None:
    answer = await _client().get("/v1/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert json.loads(await answer.get_data()) == document(create_app(cast(Control, FakeControl())))


async def test_the_page_shows_every_call_status_and_field() -> None:
    page = (await (await _client().get("/docs")).get_data()).decode()
    made = document(create_app(cast(Control, FakeControl())))
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            assert f"<code>{method.upper()} {path}</code>" in page
            assert escape(operation["summary"]) in page
            assert all(f"<td>{status}</td>" in page for status in operation["responses"])
    for name, schema in made["components"]["schemas"].items():
        assert f'id="{name}"' in page
        assert all(f"<code>{field}</code>" in page for field in schema["properties"])


async def test_the_page_works_offline() -> None:
    page = (await (await _client().get("/docs")).get_data()).decode()
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!#|/v1/openapi\.json")', page)
    assert "http://" not in page
    assert "https://" not in page


async def test_its_policy_allows_its_style_and_nothing_else() -> None:
    answer = await _client().get("/docs")
    assert answer.content_type == "text/html; charset=utf-8"
    (style,) = re.findall(r"<style>(.*?)</style>", (await answer.get_data()).decode())
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert policy[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
