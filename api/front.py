"""What stands between the HTTP server and an app: what neither of them does.

* **Names.** Every request gets its id (request_ids.py), and its client the address that trusted proxies
  vouch for (origin.py).
* **Shares.** A source that has as many requests under way as it may (shares.py) is told so: 429.
* **Lingering.** An answer that comes before the request's body has arrived (413, 401) would be followed by
  a closed socket with unread bytes in it, which TCP turns into a reset that can destroy the answer on its
  way. So the answer goes out at once, and then the rest of the body is read and thrown away, within
  limits, before the exchange ends.
* **Size.** The framework queues whatever arrives, also where nobody reads it. It gets one byte more than the
  limit of a body and no more.
* **Closing.** When an answer is over, the server first tells the app that its client is gone and then goes
  on, to the next request or to closing the connection. The framework takes the former as a reason to cancel
  what it is doing, which is the latter: the connection would stay open for ever. So once the last event of
  an answer is being sent, an app is told no more.
* **Targets that are no path.** `OPTIONS *`, `CONNECT host:port`, `GET ?x` and absolute URLs pass the server;
  the framework takes some of them apart with code that raises. They become a path here.
* **Hosts.** No answer depends on the `Host` header, and the framework raises on odd ones: it is replaced.
* **WebSockets.** There are none, and saying so is an error like any other: JSON.
"""

from __future__ import annotations

from typing import Final

import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    HTTPScope,
    Scope,
    WebsocketResponseBodyEvent,
    WebsocketResponseStartEvent,
)

from api import origin, request_ids
from api.body import BODY_LIMIT_BYTES, has_no_body
from api.errors import JSON, error_body
from api.shares import Shares

# How much of a refused body is read, and for how long, before the sender is cut off after all.
LINGER_BYTES: Final = 32 * 1024 * 1024
LINGER_SECONDS: Final = 5.0


class Front:
    """An ASGI app around an ASGI app."""

    def __init__(self, app: ASGIFramework, shares: Shares) -> None:
        self._app = app
        self._shares = shares

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http":
            request_ids.begin(scope["headers"])
            await self._request(self._plain(scope), _Exchange(receive, send, bodyless=has_no_body(scope)))
        elif scope["type"] == "websocket":
            request_ids.begin(scope["headers"])
            await _refuse_websocket(receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: HTTPScope, exchange: _Exchange) -> None:
        source = origin.source(scope["client"][0]) if scope["client"] else None
        if not self._shares.take(source):
            await _refuse_too_many(exchange.send)
            return
        try:
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            self._shares.give_back(source)

    def _plain(self, scope: HTTPScope) -> HTTPScope:
        """The request with a target, a host and a client that any framework can take as they are."""
        path = scope["path"]
        scheme, separator, rest = path.partition("://")
        if separator and scheme.lower() in ("http", "https"):
            path = "/" + rest.partition("/")[2]
        elif not path.startswith("/"):
            path = "/" + path  # names nothing: 404
        headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
        client = scope["client"]
        if client is not None:
            client = (self._shares.client(client[0], headers), client[1])
        headers = [(b"host", b"localhost"), *origin.without_forwarded(headers)]
        return {**scope, "path": path, "client": client, "headers": headers}


class _Exchange:
    """One request and its answer. The app goes on receiving while it sends; that is what drains the body."""

    def __init__(self, receive: ASGIReceiveCallable, send: ASGISendCallable, *, bodyless: bool) -> None:
        self._receive = receive
        self._send = send
        self._body_over = trio.Event()
        if bodyless:
            self._body_over.set()
        self._received_bytes = 0
        self._answered = False

    async def receive(self) -> ASGIReceiveEvent:
        message = await self._receive()
        if message["type"] == "http.request":
            room_bytes = max(0, BODY_LIMIT_BYTES + 1 - self._received_bytes)
            self._received_bytes += len(message["body"])
            if not message["more_body"] or self._received_bytes > LINGER_BYTES:
                self._body_over.set()
            return {**message, "body": message["body"][:room_bytes]}
        if self._answered:
            await trio.sleep_forever()
        self._body_over.set()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] != "http.response.body" or message.get("more_body", False):
            await self._send(message)
            return
        if not self._body_over.is_set():
            await self._send({"type": "http.response.body", "body": message["body"], "more_body": True})
            with trio.move_on_after(LINGER_SECONDS):
                await self._body_over.wait()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        self._answered = True
        await self._send(message)


async def _refuse_too_many(send: ASGISendCallable) -> None:
    words = error_body("too many requests at once")
    start: HTTPResponseStartEvent = {
        "type": "http.response.start",
        "status": 429,
        "headers": [
            (b"content-type", JSON.encode()),
            (b"content-length", str(len(words)).encode()),
            (b"retry-after", b"1"),
            (b"cache-control", b"no-store"),
        ],
    }
    body: HTTPResponseBodyEvent = {"type": "http.response.body", "body": words, "more_body": False}
    await send(start)
    await send(body)


async def _refuse_websocket(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    await receive()  # websocket.connect
    start: WebsocketResponseStartEvent = {
        "type": "websocket.http.response.start",
        "status": 404,
        "headers": [(b"content-type", JSON.encode())],
    }
    body: WebsocketResponseBodyEvent = {
        "type": "websocket.http.response.body",
        "body": error_body("not found"),
        "more_body": False,
    }
    await send(start)
    await send(body)
