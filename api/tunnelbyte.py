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
from functools import partial
from typing import Final

from quart import Blueprint, Response, request

from api.auth import authenticate
from api.body import parse_json, read_body
from api.errors import JSON, ApiError, bug
from api.lane import Question
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
# Ids of ours are plainer still; anything else is the framework's to take apart.
_STATUS_PATH: Final = re.compile(r"/v1/sessions/([A-Za-z0-9_-]{1,64})")
_STATUS_ROUTE: Final = "/v1/sessions/<session_id>"
_KEY_FORM: Final = re.compile(r"[!-~]{1,255}", re.ASCII)

# Refusals whose words are fixed; those that say more are in `told`.
_ANSWERS: Final[dict[type[Exception], tuple[int, str]]] = {
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


class Questions:
    """What clients ask about what they have, from the `Authorization` header's value to an answer."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def status(self, authorization: str | None, session_id: str) -> Status:
        account = await authenticate(self._control, authorization)
        return Status.model_validate(await self._control.session(account, session_id))

    async def usage(self, authorization: str | None) -> Usage:
        return Usage.model_validate(
            await self._control.usage(await authenticate(self._control, authorization))
        )

    def find(self, path: str) -> Question | None:
        """The question of a `GET`, where its path leaves no doubt about it."""
        if path == "/v1/usage":
            return Question(path, self.usage)
        plain = _STATUS_PATH.fullmatch(path)
        return plain and Question(_STATUS_ROUTE, partial(self.status, session_id=plain[1]))


def create_blueprint(control: Control) -> Blueprint:
    """The routes of the dialect over `control`."""
    blueprint = Blueprint("tunnelbyte", __name__, url_prefix="/v1")
    questions = Questions(control)

    async def account() -> Account:
        return await authenticate(control, _authorization())

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
        return _answer(await questions.status(_authorization(), session_id))

    @blueprint.delete("/sessions/<session_id>")
    @described(Operation("End a session", Status, refusals=_SESSION_REFUSALS))
    async def end(session_id: str) -> Response:
        ended = await control.end_session(await account(), session_id, _CLIENT_CLOSED)
        return _answer(Status.model_validate(ended))

    @blueprint.get("/usage")
    @described(Operation("What the account has used", Usage))
    async def usage() -> Response:
        return _answer(await questions.usage(_authorization()))

    blueprint.register_error_handler(Refused, _refused)
    return blueprint


def told(failure: Exception) -> ApiError | None:
    """What is answered to it; None when it is a bug."""
    if isinstance(failure, ApiError):
        return failure
    if isinstance(failure, BadClientKey):
        return ApiError(400, str(failure))
    if isinstance(failure, QuotaExceeded):
        used = QuotaSpent.model_validate(failure.usage)
        return ApiError(402, "quota exceeded", extra=used.model_dump(mode="json"))
    if isinstance(failure, NoNodeInRegion):
        extra = {"available": list(failure.available)}
        return ApiError(503, f"no active node in region {failure.region}", headers=_RETRY[503], extra=extra)
    known = _ANSWERS.get(type(failure))
    return known and ApiError(known[0], known[1], headers=_RETRY.get(known[0]))


async def _refused(refusal: Refused) -> Response:
    return (told(refusal) or bug(refusal, request.method, request.url_rule)).response()


def _authorization() -> str | None:
    return request.headers.get("Authorization")


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
