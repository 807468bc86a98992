"""What the API says about itself: the OpenAPI document, and a page made of it that works offline.

    GET /v1/openapi.json    public; for machines
    GET /docs               public; for people: one HTML page, no scripts, no pictures, nothing from elsewhere

The page may do nothing but show itself: its Content-Security-Policy allows its own style sheet, by hash, and
no more. Both are made once per app, when first asked for.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from html import escape
from typing import Any, Final

from quart import Blueprint, Response
from quart_trio import QuartTrio

from api.errors import JSON
from api.openapi import document

_STYLE: Final = (
    "body{font:16px/1.5 sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{font:14px/1.4 monospace}pre{padding:.7rem;overflow:auto}"
    "table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.15rem .8rem .15rem 0}"
    "h2{margin-top:2.2rem;border-top:1px solid #ccc;padding-top:.8rem}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


def create_blueprint(app: QuartTrio) -> Blueprint:
    """The two routes, about everything that `app` has when they are first asked."""
    blueprint = Blueprint("pages", __name__)

    @cache
    def made() -> dict[str, Any]:
        return document(app)

    @cache
    def text() -> bytes:
        return json.dumps(made(), indent=1).encode() + b"\n"

    @cache
    def page() -> str:
        return "\n".join(_page(made()))

    @blueprint.get("/v1/openapi.json")
    async def openapi() -> Response:
        return Response(text(), content_type=JSON)

    @blueprint.get("/docs")
    async def docs() -> Response:
        return Response(page(), headers=_HEADERS, content_type="text/html; charset=utf-8")

    return blueprint


def _page(made: dict[str, Any]) -> Iterator[str]:
    title = escape(made["info"]["title"])
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield f"<style>{_STYLE}</style></head><body><h1>{title} {escape(made['info']['version'])}</h1>"
    yield f"<p>{escape(made['info']['description'])}</p>"
    yield '<p>The same for machines: <a href="/v1/openapi.json">/v1/openapi.json</a> (OpenAPI 3.1).</p>'
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            yield from _operation(f"{method.upper()} {path}", operation)
    for name, schema in made["components"]["schemas"].items():
        yield from _schema(name, schema)
    yield "</body></html>"


def _operation(call: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<h2><code>{escape(call)}</code></h2><p>{escape(operation['summary'])}.</p>"
    yield "<p>Needs a bearer token.</p>" if operation["security"] else "<p>Needs no token.</p>"
    if "requestBody" in operation:
        yield f"<p>Body: {_kind(operation['requestBody']['content'][JSON]['schema'])}</p>"
    headers = [each for each in operation.get("parameters", ()) if each["in"] == "header"]
    if headers:
        yield "<table><tr><th>header</th><th></th></tr>"
        for each in headers:
            name, use = escape(each["name"]), escape(each["description"])
            yield f"<tr><td><code>{name}</code></td><td>{use}</td></tr>"
        yield "</table>"
    yield "<table><tr><th>status</th><th>when</th><th>body</th></tr>"
    for status, answer in operation["responses"].items():
        kind = _kind(answer["content"][JSON]["schema"])
        yield f"<tr><td>{status}</td><td>{escape(answer['description'])}</td><td>{kind}</td></tr>"
    yield "</table>"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f'<h2 id="{escape(name)}">{escape(name)}</h2><p>{escape(schema.get("description", ""))}</p>'
    yield "<table><tr><th>field</th><th>type</th><th></th></tr>"
    for field, words in schema["properties"].items():
        needed = "" if field in schema.get("required", ()) else "optional"
        yield f"<tr><td><code>{escape(field)}</code></td><td>{_kind(words)}</td><td>{needed}</td></tr>"
    yield "</table>"


def _kind(words: dict[str, Any]) -> str:
    if "$ref" in words:
        name = escape(words["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "enum" in words:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in words["enum"])
    if words.get("type") == "array":
        return f"list of {_kind(words['items'])}"
    return escape(
        " ".join(filter(None, (words.get("type", ""), words.get("format", ""), words.get("pattern", ""))))
    )
