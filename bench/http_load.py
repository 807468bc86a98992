"""Clients of an HTTP API: so many requests a second, or as many as are answered. One process, one loop.

`bench api` runs this in the exit's namespace: a plan comes as JSON on stdin, what happened goes as JSON to
stdout.

At a rate, each request has its moment, whether earlier ones have been answered or not, and its latency counts
from that moment: an API that stalls is charged for every request that should have been sent meanwhile. The
clients stand for machines of their own, so they do not wait for a core of this one: they run at real-time
priority (they need a few per cent of a core). Without a rate, each connection asks again as soon as it is
answered.

With `--answer` it is the other side, reduced to the least: one fixed answer to whatever ends like a request.
How fast that goes is what this machine and its loopback allow.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Final

_READ_BYTES: Final = 64 * 1024
_PATIENCE_SECONDS: Final = 30.0
_END: Final = b"\r\n\r\n"
_BODY: Final = b'{"this":"is as long as a status","and":"no more than that' + b"." * 180 + b'"}\n'
_ANSWER: Final = b"HTTP/1.1 200 \r\ncontent-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)


@dataclass(frozen=True)
class Plan:
    """What to ask, how often. `paths` are taken in turns; either `count` or `seconds` ends it."""

    port: int
    paths: tuple[str, ...]
    token: str = ""
    method: str = "GET"
    body: str = ""
    rate: float | None = None
    count: int | None = None
    seconds: float | None = None
    connections: int = 4
    keep_bodies: bool = False

    def request(self, number: int) -> bytes:
        """The bytes of the request of that number."""
        head = (
            f"{self.method} {self.paths[number % len(self.paths)]} HTTP/1.1\r\n"
            f"Host: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n"
        )
        length = f"Content-Length: {len(self.body)}\r\n" if self.body else ""
        return f"{head}{length}\r\n{self.body}".encode()


@dataclass(frozen=True)
class Outcome:
    """What came of it, in the order of the answers."""

    seconds: float
    latencies_us: list[float]
    bodies: list[str]

    @property
    def per_second(self) -> float:
        return len(self.latencies_us) / self.seconds


class Failed(Exception):
    """An answer other than 200, or none."""


class _Connection:
    """One connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._received = b""
        self.since = 0.0
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def ask(self, request: bytes, since: float) -> None:
        self.since = since
        self._socket.sendall(request)

    def answer(self) -> bytes | None:
        """The body of an answer that is complete; None while it is not."""
        data = self._socket.recv(_READ_BYTES)
        self._received += data
        head, end, body = self._received.partition(_END)
        if not data:
            raise Failed("the connection was closed before the answer")
        if not end:
            return None
        words = head.lower()
        length = words.partition(b"content-length:")[2].partition(b"\r")[0]
        if len(body) < int(length):
            return None
        if not head.startswith(b"HTTP/1.1 200"):
            raise Failed(f"{head.splitlines()[0].decode()}: {body.decode(errors='replace').strip()}")
        self._received = b""
        if b"connection: close" in words:  # a server gives a connection so many requests and no more
            self._socket.close()
            self._connect()
        return body


class _Run:
    """A plan under way."""

    def __init__(self, plan: Plan, clock: Callable[[], float]) -> None:
        self._plan = plan
        self._clock = clock
        self._free = [_Connection(plan.port) for _ in range(plan.connections)]
        self._busy: set[_Connection] = set()
        self._waiting: deque[float] = deque()
        self._planned = self._asked = 0
        self._latencies_us: list[float] = []
        self._bodies: list[str] = []
        self._begin = clock()

    def close(self) -> None:
        for connection in (*self._free, *self._busy):
            connection.close()

    def go(self) -> Outcome:
        while self._more() or self._waiting or self._busy:
            self._plan_requests()
            while self._waiting and self._free:
                connection = self._free.pop()
                self._busy.add(connection)
                connection.ask(self._plan.request(self._asked), self._waiting.popleft())
                self._asked += 1
            self._wait()
        return Outcome(self._clock() - self._begin, self._latencies_us, self._bodies)

    def _more(self) -> bool:
        if self._plan.count is not None:
            return self._planned < self._plan.count
        return self._clock() - self._begin < (self._plan.seconds or 0)

    def _moment(self) -> float:
        """When the next request is due."""
        return self._begin + self._planned / self._plan.rate if self._plan.rate else 0.0

    def _plan_requests(self) -> None:
        """Note the moments of all requests that are due; without a rate: of one for each free connection."""
        while self._more() and (self._plan.rate or len(self._waiting) < len(self._free)):
            moment, now = self._moment(), self._clock()
            if moment > now:
                break
            self._waiting.append(moment or now)
            self._planned += 1

    def _wait(self) -> None:
        """Until something is answered or due."""
        patience = _PATIENCE_SECONDS
        if self._plan.rate and self._more():
            patience = max(0.0, self._moment() - self._clock())
        readable, _, _ = select.select(list(self._busy), [], [], patience)
        if not readable and patience == _PATIENCE_SECONDS:
            raise Failed(f"no answer within {patience:g} s")
        for connection in readable:
            body = connection.answer()
            if body is not None:
                self._latencies_us.append((self._clock() - connection.since) * 1e6)
                if self._plan.keep_bodies:
                    self._bodies.append(body.decode())
                self._busy.remove(connection)
                self._free.append(connection)


def run(plan: Plan) -> Outcome:
    """Carry a plan out; raises Failed when the API does not play along."""
    with closing(_Run(plan, time.perf_counter)) as under_way:
        return under_way.go()


def plan_text(plan: Plan) -> str:
    """A plan as it is told to another process."""
    return json.dumps(asdict(plan))


def read_outcome(text: str) -> Outcome:
    """What that process said."""
    return Outcome(**json.loads(text))


def answer_all(listener: socket.socket) -> None:
    """Answer every request on every connection with the same bytes, for ever."""
    open_sockets: dict[int, socket.socket] = {listener.fileno(): listener}
    watch = select.epoll()
    watch.register(listener, select.EPOLLIN)
    while True:
        for number, _ in watch.poll():
            if number == listener.fileno():
                taken, _ = listener.accept()
                taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                open_sockets[taken.fileno()] = taken
                watch.register(taken, select.EPOLLIN)
                continue
            data = open_sockets[number].recv(_READ_BYTES)
            if data.endswith(_END):
                open_sockets[number].sendall(_ANSWER)
            elif not data:
                open_sockets.pop(number).close()


def _main(words: list[str]) -> int:
    if words == ["--answer"]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            print(listener.getsockname()[1], flush=True)
            answer_all(listener)
    told = json.loads(sys.stdin.read())
    plan = Plan(**{**told, "paths": tuple(told["paths"])})
    if plan.rate:
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except PermissionError:
            pass  # some containers: then what it waits for a core counts, too
    try:
        print(json.dumps(asdict(run(plan))))
    except (Failed, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
