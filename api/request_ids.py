"""Request ids: one name for a request, in its answer and in every line that is logged about it.

A client may bring its own in `X-Request-Id`, as long as it is one plain word; anything else is replaced, not
refused. The id lives in a context variable (`appliance.log.REQUEST`), so that whatever runs for the
request knows it without being told. `answered` is asked by the HTTP server for every answer, also for those
that no app has seen (a request that is no HTTP): those get an id of their own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextvars import Token
from typing import Final

from appliance.log import REQUEST

HEADER: Final = b"x-request-id"

_SANE: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_BYTES: Final = 8


def begin(headers: Iterable[tuple[bytes, bytes]]) -> Token[str | None]:
    """Name the request of this task: as its client does, if that is one sane word, said once.

    A task that goes on after its request ends the name with what this gave.
    """
    brought = [value for name, value in headers if name.lower() == HEADER]
    sane = len(brought) == 1 and _SANE.fullmatch(brought[0])
    return REQUEST.set(brought[0].decode() if sane else _new())


def end(name: Token[str | None]) -> None:
    """What this task does from now on is done for nobody."""
    REQUEST.reset(name)


def answered() -> tuple[bytes, bytes]:
    """The header for an answer that is sent from this task."""
    return HEADER, (REQUEST.get() or _new()).encode()


def _new() -> str:
    return os.urandom(_BYTES).hex()
