"""Bearer tokens: from the `Authorization` header to an account, or one of two answers.

No header, or one of another scheme: 401 `missing token`. A bearer token that opens nothing (unknown,
expired, revoked, not even the form of a token): 401 `invalid token`, so that nobody learns which it was.
"""

from __future__ import annotations

from typing import Final

from api.errors import ApiError
from appliance.control.door import Control
from appliance.control.views import Account

# RFC 6750, section 3: the refusal names the scheme.
_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}


async def authenticate(control: Control, authorization: str | None) -> Account:
    """The account behind an `Authorization` header's value; raises the 401 to answer otherwise."""
    token = bearer_token(authorization)
    if token is None:
        raise ApiError(401, "missing token", headers=_CHALLENGE)
    # Ours are ASCII; what is not need not trouble the store, which would have to encode it.
    account = await control.authenticate(token) if token.isascii() else None
    if account is None:
        raise ApiError(401, "invalid token", headers=_CHALLENGE)
    return account


def bearer_token(authorization: str | None) -> str | None:
    """The token of a bearer header, None when there is none. The scheme's case does not matter."""
    words = (authorization or "").split(maxsplit=1)
    if len(words) != 2 or words[0].lower() != "bearer":
        return None
    return words[1].rstrip()
