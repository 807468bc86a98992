"""Which headers carry a bearer token, and what the others are told."""

from __future__ import annotations

from typing import cast

import pytest

from api.auth import authenticate, bearer_token
from api.errors import ApiError
from appliance.control.door import Control
from tests.api.fakes import TOKEN, FakeControl


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER   abc  ", "abc"),
        ("Bearer a b", "a b"),
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearerabc", None),
        ("Basic YTpi", None),
        ("abc", None),
    ],
)
def test_bearer_token(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token


async def test_a_good_token_opens_its_account() -> None:
    account = await authenticate(cast(Control, FakeControl()), f"bearer {TOKEN}")
    assert account.id == "alice"


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        (None, "missing token"),
        ("Basic YTpi", "missing token"),
        ("Bearer wrong", "invalid token"),
        (f"Bearer {TOKEN}x", "invalid token"),
        ("Bearer gr\xfc\xdfe", "invalid token"),
        ("Bearer " + "x" * 10_000, "invalid token"),
    ],
)
async def test_everything_else_is_a_401(header: str | None, answer: str) -> None:
    with pytest.raises(ApiError) as refusal:
        await authenticate(cast(Control, FakeControl()), header)
    assert (refusal.value.status, refusal.value.message) == (401, answer)
    assert refusal.value.headers == {"WWW-Authenticate": "Bearer"}
