"""The session API, `/v1`: the dialect that TunnelByte's clients speak.

    GET    /v1/regions          public
    POST   /v1/sessions         bearer; 200
    GET    /v1/sessions/{id}    bearer, owner only; live and ended sessions
    DELETE /v1/sessions/{id}    bearer, owner only; repeated with the same answer
    GET    /v1/usage            bearer

Checks go from cheap to dear, and nothing is held before all have passed: token, JSON, fields, and then
whatever the door refuses. A body is JSON whatever its Content-Type says (curl's `-d` calls it a form).
A session of somebody else and one that never was are the same 404.
"""

from __future__ import annotations

import re
from typing import Final

from quart import Blueprint, Response, request

from api.auth import authenticate
from api.body import parse_json, read_body
from api.errors import JSON, ApiError, error_response, unexpected
from api.models import (
    Answer,
    BadFields,
    Created,
    CreateRequest,
    QuotaSpent,
    Region,
    Regions,
    Status,
    Usage,
    read_create_request,
)
from api.openapi import Operation, described
from appliance.control.door import Control
from appliance.control.errors import (
    AnswerGone,
    BadClientKey,
    KeyReused,
    NoActiveNodes,
    NoNodeInRegion,
    PeerApplyFailed,
    QuotaExceeded,
    Refused,
    SessionNotFound,
    StorageUnavailable,
    SubnetExhausted,
    TooManyKeys,
)
from appliance.control.idempotency import Once
from appliance.control.views import Account

_CLIENT_CLOSED: Final = "client_closed"
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
_KEY_FORM: Final = re.compile(r"[!-~]{1,255}", re.ASCII)

# Refusals whose words are fixed; those that say more are in `_refused`.
_ANSWERS: Final[dict[type[Refused], tuple[int, str]]] = {
    SessionNotFound: (404, "session not found"),
    AnswerGone: (409, "idempotency key used before; its answer held a private key and is gone"),
    KeyReused: (422, "idempotency key used before with another body"),
    TooManyKeys: (429, "too many idempotency keys"),
    NoActiveNodes: (503, "no active nodes"),
    SubnetExhausted: (503, "subnet exhausted"),
    PeerApplyFailed: (503, "peer apply failed; node may be disconnected"),
    StorageUnavailable: (503, "storage unavailable"),
}

# The same for the document; a 503 says when to try again.
_RETRY: Final = {429: {"Retry-After": "3600"}, 503: {"Retry-After": "5"}}
_SESSION_REFUSALS: Final = {404: "no such session, or somebody else's", 503: "the exit cannot do it now"}
_CREATE_REFUSALS: Final = {
    402: "the account's bytes are spent",
    409: "the idempotency key was used before, and its answer is gone",
    422: "the idempotency key was used before with another body",
    503: "the exit cannot make a session now",
}
_CREATE_HEADERS: Final = {
    IDEMPOTENCY_KEY: {
        "description": "the same key and body within 24 hours give the same answer, not a second session",
        "schema": {"type": "string", "pattern": f"^{_KEY_FORM.pattern}$"},
    }
}


def create_blueprint(control: Control) -> Blueprint:
    """The routes of the dialect over `control`."""
    blueprint = Blueprint("tunnelbyte", __name__, url_prefix="/v1")

    async def account() -> Account:
        return await authenticate(control, request.headers.get("Authorization"))

    @blueprint.get("/regions")
    @described(Operation("The regions that can carry a session now", Regions, bearer=False))
    async def regions() -> Response:
        return _answer(Regions(regions=[Region.model_validate(view) for view in control.regions()]))

    @blueprint.post("/sessions")
    @described(
        Operation(
            "Make a session",
            Created,
            body=CreateRequest,
            refusals=_CREATE_REFUSALS,
            headers=_CREATE_HEADERS,
        )
    )
    async def create() -> Response:
        owner = await account()
        once_key = _idempotency_key()
        body = await read_body(request)
        asked = _fields(parse_json(body))
        once = Once(once_key, body) if once_key is not None else None
        # The door sees to it that a client that hangs up in the middle leaves nothing behind.
        created = await control.create_session(owner, asked.region, asked.client_public_key, once)
        return _answer(Created.model_validate(created))

    @blueprint.get("/sessions/<session_id>")
    @described(Operation("A session's state and byte counts", Status, refusals=_SESSION_REFUSALS))
    async def status(session_id: str) -> Response:
        return _answer(Status.model_validate(await control.session(await account(), session_id)))

    @blueprint.delete("/sessions/<session_id>")
    @described(Operation("End a session", Status, refusals=_SESSION_REFUSALS))
    async def end(session_id: str) -> Response:
        ended = await control.end_session(await account(), session_id, _CLIENT_CLOSED)
        return _answer(Status.model_validate(ended))

    @blueprint.get("/usage")
    @described(Operation("What the account has used", Usage))
    async def usage() -> Response:
        return _answer(Usage.model_validate(await control.usage(await account())))

    blueprint.register_error_handler(Refused, _refused)
    return blueprint


def _idempotency_key() -> str | None:
    brought = request.headers.getlist(IDEMPOTENCY_KEY)
    if not brought:
        return None
    if len(brought) != 1 or not _KEY_FORM.fullmatch(brought[0]):
        raise ApiError(400, "Idempotency-Key must be 1 to 255 visible ASCII characters")
    return brought[0]


def _fields(document: object) -> CreateRequest:
    try:
        return read_create_request(document)
    except BadFields as reason:
        raise ApiError(400, str(reason)) from None


def _answer(answer: Answer) -> Response:
    return Response(answer.body(), status=200, content_type=JSON)


async def _refused(refusal: Refused) -> Response:
    if isinstance(refusal, BadClientKey):
        return error_response(400, str(refusal))
    if isinstance(refusal, QuotaExceeded):
        used = QuotaSpent.model_validate(refusal.usage)
        return error_response(402, "quota exceeded", extra=used.model_dump(mode="json"))
    if isinstance(refusal, NoNodeInRegion):
        extra = {"available": list(refusal.available)}
        return error_response(503, f"no active node in region {refusal.region}", _RETRY[503], extra)
    if type(refusal) not in _ANSWERS:
        return await unexpected(refusal)  # a refusal this dialect has no words for is a bug
    status, words = _ANSWERS[type(refusal)]
    return error_response(status, words, _RETRY.get(status))
