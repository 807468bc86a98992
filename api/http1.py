"""HTTP/1 as Hypercorn speaks it, with three changes.

* **JSON.** A request that its parser refuses (a broken request line or length, an oversized header) is
  answered before any app sees it, with an empty body: here with a JSON error, like every other.
* **One write.** Head, body and end of an answer are three events. They leave together, as one segment.
* **No HTTP/2 in plain text.** Clients could ask for it (`Upgrade: h2c`) or assume it (`PRI * HTTP/2.0`).
  Browsers do neither, and whoever does could carry requests past the rules of a proxy in front of us.
  HTTP/2 is spoken where TLS has agreed upon it.

Hypercorn's connection class has no settings for that, so `listener` puts this one in its place, where
Hypercorn looks it up; a test holds that the place is still there.
"""

from __future__ import annotations

from typing import Any

import h11
import hypercorn.protocol
from hypercorn.events import RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import H11SendableEvent

from api.errors import JSON, error_body

_WORDS = {431: "request header too large"}


class OurH11Protocol(H11Protocol):
    """An HTTP/1 connection whose answers are one write, whose refusals are JSON, and which stays HTTP/1."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._held = b""

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        try:
            data = self.connection.send(event)
        except h11.LocalProtocolError:
            if self.connection.their_state != h11.ERROR:
                raise
            return
        self._held += data
        if self._held and type(event) is not h11.Response:
            data, self._held = self._held, b""
            await self.send(RawData(data))

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

    async def _check_protocol(self, event: h11.Request) -> None:
        """Whatever it asks for."""


def install() -> None:
    """Let every connection from now on be one of these."""
    vars(hypercorn.protocol)["H11Protocol"] = OurH11Protocol
