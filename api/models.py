"""The bodies of the session API, as models: the one place that says what a field may be.

Requests are judged here before anything is held or asked: a model that exists is a request that makes
sense. Unknown fields are ignored (a newer client must work). Answers are written from models too, so that
their field names, their order and the form of their times stand in one place. Optional fields are left
out of answers, never null.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

# The same form as the operator's `region` setting has (appliance/config.py).
REGION_FORM: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")

_PUBLIC_KEY_CHARACTERS: Final = 44
_PUBLIC_KEY_BYTES: Final = 32

# What the validators below accept, in the words of the API's document (api/openapi.py).
_REGION_WORDS: Final = {"type": "string", "pattern": f"^{REGION_FORM.pattern}$"}
_KEY_WORDS: Final = {"type": "string", "pattern": "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$"}


class BadFields(ValueError):
    """The body is JSON but not a request; the message is the reason to answer."""


def _region(value: object) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("region", "region must be a string")
    if not value:
        raise PydanticCustomError("region", "missing region")
    if not REGION_FORM.fullmatch(value):
        raise PydanticCustomError("region", "region must be a code such as those of /v1/regions")
    return value


def _client_public_key(value: object) -> bytes:
    # null is refused, too: an absent field asks us for a key pair, and a client whose own key went
    # missing on the way must hear of it rather than get a configuration with somebody else's.
    problem = PydanticCustomError(
        "client_public_key", "client_public_key must be standard base64 of 32 bytes, 44 characters"
    )
    if not isinstance(value, str) or len(value) != _PUBLIC_KEY_CHARACTERS or not value.isascii():
        raise problem
    try:
        key = base64.b64decode(value, validate=True)
    except binascii.Error:
        raise problem from None
    # 44 characters hold two bits more than 32 bytes; one key must not have four spellings.
    if len(key) != _PUBLIC_KEY_BYTES or base64.b64encode(key).decode() != value:
        raise problem
    return key


class CreateRequest(BaseModel):
    """Body of `POST /v1/sessions`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    region: Annotated[str, PlainValidator(_region), WithJsonSchema(_REGION_WORDS)]
    client_public_key: Annotated[
        bytes | None, PlainValidator(_client_public_key), WithJsonSchema(_KEY_WORDS)
    ] = None


def read_create_request(document: object) -> CreateRequest:
    """A create request out of parsed JSON, or BadFields with the first reason against it."""
    if not isinstance(document, dict):
        raise BadFields("body must be a JSON object")
    try:
        return CreateRequest.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise BadFields(
            f"missing {first['loc'][0]}" if first["type"] == "missing" else first["msg"]
        ) from None


def time_text(moment: datetime) -> str:
    """RFC 3339 in UTC and whole seconds, the only form of times on the wire."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


Time = Annotated[
    datetime,
    PlainSerializer(time_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Answer(BaseModel):
    """Base of answers: filled from the attributes of a view of `control`."""

    model_config = ConfigDict(from_attributes=True, frozen=True)

    def body(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode() + b"\n"


class Region(Answer):
    code: str
    node_count: int


class Regions(Answer):
    """Answer of `GET /v1/regions`."""

    regions: list[Region]


class Created(Answer):
    """Answer of `POST /v1/sessions`."""

    id: str
    public_ip: str
    wg_config: str
    expires_at: Time
    tier: Literal["anonymous", "free", "paid"]


class Status(Answer):
    """Answer of `GET` and `DELETE /v1/sessions/{id}`; `bytes_in` is toward the client."""

    id: str
    terminated_at: Time | None
    terminated_reason: str | None
    bytes_in: int
    bytes_out: int
    created_at: Time
    tier: Literal["anonymous", "free", "paid"]
    quota_bytes_used: int
    quota_bytes_limit: int
    quota_seconds_used: int
    quota_seconds_limit: int


class QuotaSpent(Answer):
    """Body of 402, beside `error`: what was used, and when a create can succeed again.

    Only bytes are limited, and only for accounts that paid for them in advance.
    """

    tier: Literal["anonymous", "free", "paid"]
    bytes_used: int
    bytes_limit: int
    session_seconds: int
    session_limit: Annotated[int, Field(validation_alias="session_seconds_limit")]
    bytes_window_resets_at: Time
    seconds_window_resets_at: Time
    resets_at: Annotated[Time, Field(validation_alias="bytes_window_resets_at")]
    hint: str = "all bytes that this token was paid for are used; another token is needed"


class Usage(Answer):
    """Answer of `GET /v1/usage`."""

    tier: Literal["anonymous", "free", "paid"]
    bytes_used: int
    bytes_limit: int
    session_seconds: int
    session_seconds_limit: int
    max_session_seconds: int
    bytes_window_resets_at: Time
    seconds_window_resets_at: Time
