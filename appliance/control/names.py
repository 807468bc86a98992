"""Names and secrets made here: ids that cannot be guessed in sequence, tokens with 256 random bits."""

from __future__ import annotations

import secrets
import string
from typing import Final

_LETTERS: Final = string.ascii_lowercase + string.digits
_ID_LETTERS: Final = 12  # 62 bits: no two of a billion meet by chance, and a unique index watches


def session_id() -> str:
    return "tb_" + _random_letters()


def token_id() -> str:
    return "tk_" + _random_letters()


def account_id() -> str:
    return "ac_" + _random_letters()


def token_secret() -> str:
    """The bearer token itself."""
    return "sp_" + secrets.token_urlsafe(32)


def _random_letters() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_ID_LETTERS))
