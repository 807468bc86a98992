"""What is no HTTP at all gets a JSON error, too.

Hypercorn answers a request that its parser refuses (a broken request line or length, an oversized header)
before any app sees it, with an empty body. Its connection class has no setting for that, so `listener`
puts this one in its place, where Hypercorn looks it up; a test holds that the place is still there.
"""

from __future__ import annotations

import h11
import hypercorn.protocol
from hypercorn.protocol.h11 import H11Protocol

from api.errors import JSON, error_body

_WORDS = {431: "request header too large"}


class JsonH11Protocol(H11Protocol):
    """An HTTP/1 connection whose own refusals speak JSON."""

    async def _send_error_response(self, status_code: int) -> None:
        body = error_body(_WORDS.get(status_code, "malformed request"))
        headers = [
            (b"Content-Type", JSON.encode()),
            (b"Content-Length", str(len(body)).encode()),
            (b"Connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


def install() -> None:
    """Let every connection from now on be one of these."""
    vars(hypercorn.protocol)["H11Protocol"] = JsonH11Protocol
