"""Request ids: one name for a request, in its answer and in every line that is logged about it.

A client may bring its own in `X-Request-Id`, as long as it is one plain word; anything else is replaced, not
refused. The id lives in a context variable (`appliance.log.REQUEST`), so that whatever runs for the
request knows it without being told. `answered` is asked by the HTTP server for every answer, also for those
that no app has seen (a request that is no HTTP): those get an id of their own.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Final

from appliance.log import REQUEST

HEADER: Final = b"x-request-id"

_SANE: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_BYTES: Final = 8


def begin(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Name the request of this task: as its client does, if that is one sane word, said once."""
    brought = [value for name, value in headers if name.lower() == HEADER]
    sane = len(brought) == 1 and _SANE.fullmatch(brought[0])
    REQUEST.set(brought[0].decode() if sane else secrets.token_hex(_BYTES))


def answered() -> tuple[bytes, bytes]:
    """The header for an answer that is sent from this task."""
    return HEADER, (REQUEST.get() or secrets.token_hex(_BYTES)).encode()
