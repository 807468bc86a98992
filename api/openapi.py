"""The OpenAPI 3.1 document, made from the routes and the models: what is documented is what is there.

Each handler carries an `Operation` (the decorator `described`), which says what the route itself cannot:
what it answers and which refusals are its own. The rest is read from the app. Statuses that any request can
meet (too large, too many, a bug) stand in one place, here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from quart_trio import QuartTrio
from werkzeug.routing import Rule

from api.errors import JSON
from api.models import Answer
from appliance import __version__

_OPERATION: Final = "sallyport_operation"
_SCHEMAS: Final = "#/components/schemas/"
# <name> or <converter:name> in a rule of the framework.
_VARIABLE: Final = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")
_IMPLIED_METHODS: Final = frozenset({"HEAD", "OPTIONS"})

_ANYWHERE: Final = {413: "the body is too large", 429: "too many requests at once", 500: "a bug"}
_WITH_TOKEN: Final = {401: "no token, or one that opens nothing"}
_WITH_BODY: Final = {400: "the body is not JSON or makes no sense", 408: "the body took too long"}
_WAIT: Final = frozenset({429, 503})

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Failure(Answer):
    """Body of every answer that is no success; some refusals carry more fields beside `error`."""

    error: str


@dataclass(frozen=True)
class Operation:
    """What a handler answers. `headers` are those that it reads, with what each is for."""

    summary: str
    answer: type[Answer]
    body: type[BaseModel] | None = None
    bearer: bool = True
    refusals: Mapping[int, str] = field(default_factory=dict)
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def statuses(self) -> dict[int, str]:
        """Every status other than 200, with its reason."""
        found = {**_ANYWHERE, **self.refusals}
        if self.bearer:
            found |= _WITH_TOKEN
        if self.body is not None:
            found |= _WITH_BODY
        return dict(sorted(found.items()))


def described(operation: Operation) -> Callable[[Handler], Handler]:
    """Attach `operation` to a handler."""

    def attach(handler: Handler) -> Handler:
        setattr(handler, _OPERATION, operation)
        return handler

    return attach


def operations(app: QuartTrio) -> Iterator[tuple[Rule, str, Operation]]:
    """Every documented (route, method) of an app, in the order of the routes."""
    for rule in app.url_map.iter_rules():
        operation = getattr(app.view_functions[rule.endpoint], _OPERATION, None)
        if operation is not None:
            for method in sorted((rule.methods or set()) - _IMPLIED_METHODS):
                yield rule, method, operation


def document(app: QuartTrio) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    models: dict[type[BaseModel], JsonSchemaMode] = {Failure: "serialization"}
    for rule, method, operation in operations(app):
        models[operation.answer] = "serialization"
        if operation.body is not None:
            models[operation.body] = "validation"
        paths.setdefault(_VARIABLE.sub(r"{\1}", rule.rule), {})[method.lower()] = _operation(rule, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sallyport session API",
            "version": __version__,
            "description": "Sessions of a WireGuard exit: ask for one, get a configuration, read its counts.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(models),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(rule: Rule, operation: Operation) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": _content("done", operation.answer)}
    for status, reason in operation.statuses().items():
        answers[str(status)] = _content(reason, Failure)
        if status in _WAIT:
            answers[str(status)]["headers"] = {
                "Retry-After": {
                    "description": "seconds until a retry makes sense",
                    "schema": {"type": "integer"},
                }
            }
    made: dict[str, Any] = {
        "operationId": rule.endpoint.rpartition(".")[2],
        "summary": operation.summary,
        "security": [{"bearer": []}] if operation.bearer else [],
        "responses": answers,
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[^/]+$"}}
        for name in sorted(rule.arguments)
    ]
    parameters += [
        {"name": name, "in": "header", "required": False, **words}
        for name, words in operation.headers.items()
    ]
    if parameters:
        made["parameters"] = parameters
    if operation.body is not None:
        content = {JSON: {"schema": {"$ref": _SCHEMAS + operation.body.__name__}}}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _content(description: str, model: type[BaseModel]) -> dict[str, Any]:
    return {
        "description": description,
        "content": {JSON: {"schema": {"$ref": _SCHEMAS + model.__name__}}},
    }


def _schemas(models: Mapping[type[BaseModel], JsonSchemaMode]) -> dict[str, Any]:
    _, made = models_json_schema(list(models.items()), ref_template=_SCHEMAS + "{model}")
    answers = {model.__name__ for model, mode in models.items() if mode == "serialization"}
    schemas: dict[str, Any] = made["$defs"]
    for name, schema in schemas.items():
        if name in answers:
            _leave_out_null(schema)
        for words in schema["properties"].values():
            words.pop("default", None)  # what is left out is left out, not null
    return dict(sorted(schemas.items()))


def _leave_out_null(schema: dict[str, Any]) -> None:
    """Answers leave out what has no value (models.py), where the model has a null."""
    for name, words in schema["properties"].items():
        kinds = [kind for kind in words.get("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            schema["properties"][name] = {**kinds[0], "title": words["title"]}
            schema["required"] = [other for other in schema["required"] if other != name]
