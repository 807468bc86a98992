"""HTTP/1 as Hypercorn speaks it, with four changes.

* **JSON.** A request that its parser refuses (a broken request line or length, an oversized header) is
  answered before any app sees it, with an empty body: here with a JSON error, like every other.
* **One write.** Head, body and end of an answer are three events. They leave together, as one segment.
* **The lane.** A plain question (lane.py) is answered where it was read, by the task that reads. The parser
  is the same one, and so is what follows an answer; what falls away is the task and the channel that an app
  gets for each request, and the app.
* **No HTTP/2 in plain text.** Clients could ask for it (`Upgrade: h2c`) or assume it (`PRI * HTTP/2.0`).
  Browsers do neither, and whoever does could carry requests past the rules of a proxy in front of us.
  HTTP/2 is spoken where TLS has agreed upon it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import h11
import trio
from hypercorn.events import RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import H11SendableEvent

from api import origin, request_ids
from api.errors import JSON, error_body
from api.lane import Headers, Lane, Question, Reply
from api.shares import Shares

_WORDS = {431: "request header too large"}


@lru_cache(maxsize=64)
def _head(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> h11.Response:
    """The head of an answer. Making one checks each of its headers, so those that come again are kept."""
    return h11.Response(status_code=status, headers=list(headers))


class OurH11Protocol(H11Protocol):
    """An HTTP/1 connection: answers in one write, refusals in JSON, plain questions past the app."""

    def __init__(self, lane: Lane | None, shares: Shares, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._lane = lane
        self._shares = shares
        self._held = b""
        self._last_client: str | None = None
        self._last_source: str | None = None

    async def _create_stream(self, request: h11.Request) -> None:
        """Serve a request whose head has arrived."""
        if self._lane is not None:
            headers = list(request.headers)
            question = self._lane.question(request.method, request.target, request.http_version, headers)
            if question is not None and await self._answered(self._lane, question, headers):
                return
        await super()._create_stream(request)

    async def _answered(self, lane: Lane, question: Question, headers: Headers) -> bool:
        """Whether it was answered here; one that is too many of its source is refused like all others."""
        source = self._source(headers)
        if not self._shares.take(source):
            return False
        name = request_ids.begin(headers)
        try:
            self.connection.next_event()  # the end of a body that has nothing in it
            self.keep_alive_requests += 1
            await self.send(RawData(self._written(await lane.answer(question, headers))))
        finally:
            request_ids.end(name)
            self._shares.give_back(source)
        await self._maybe_recycle()
        if self.connection.trailing_data[0]:
            # It sent many questions in one breath: others take turns with it.
            await trio.lowlevel.checkpoint()
        return True

    def _written(self, reply: Reply) -> bytes:
        """A reply as it is sent."""
        headers = reply.headers
        if self.keep_alive_requests >= self.config.keep_alive_max_requests:
            headers = (*headers, (b"connection", b"close"))
        head = self.connection.send(_head(reply.status, headers)).removesuffix(b"\r\n")
        # What differs from one answer to the next (date, id) is ours, and of characters that need no check.
        varying = [b"%s: %s\r\n" % header for header in self.config.response_headers("h11")]
        body = self.connection.send(h11.Data(data=reply.body))
        end = self.connection.send(h11.EndOfMessage())
        return b"".join([head, *varying, b"\r\n", body, end])

    def _source(self, headers: Headers) -> str | None:
        """Whose share a request uses. The addresses of one connection rarely change, so the last is known."""
        client = self._shares.client(self.client[0], headers) if self.client else None
        if client != self._last_client:
            self._last_client = client
            self._last_source = origin.source(client) if client is not None else None
        return self._last_source

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
