"""The clients of `bench api`: when they ask, from when they count, and what they do not put up with."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import http_load
from bench.http_load import Failed, Outcome, Plan

ROOT = Path(__file__).resolve().parents[2]
OK = b"HTTP/1.1 200 \r\ncontent-length: 2\r\n%s\r\nok"


@contextmanager
def answering(answer: Callable[[int, bytes], bytes]) -> Iterator[int]:
    """A server that takes one connection after the other; `answer` gets each request's number and bytes."""
    asked = 0

    def serve(listener: socket.socket) -> None:
        nonlocal asked
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(65536):
                    said = answer(asked, data)
                    asked += 1
                    for half in (said[: len(said) // 2], said[len(said) // 2 :]):  # answers come in pieces
                        connection.sendall(half)
                    if b"close" in said:
                        break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_requests_are_what_the_plan_says() -> None:
    seen: list[bytes] = []

    def answer(number: int, data: bytes) -> bytes:
        seen.append(data)
        return OK % b""

    with answering(answer) as port:
        plan = Plan(port, ("/a", "/b"), "tb-t", "POST", '{"x":1}', count=3, connections=1, keep_bodies=True)
        outcome = http_load.run(plan)
    assert [data.split()[1] for data in seen] == [b"/a", b"/b", b"/a"]
    assert all(b"Authorization: Bearer tb-t\r\n" in data for data in seen)
    assert all(data.endswith(b'Content-Length: 7\r\n\r\n{"x":1}') for data in seen)
    assert outcome.bodies == ["ok"] * 3
    assert len(outcome.latencies_us) == 3


def test_at_a_rate_a_stall_is_charged_to_all_that_were_due() -> None:
    release = threading.Event()

    def answer(number: int, data: bytes) -> bytes:
        if number == 0:
            release.wait(0.5)
        return OK % b""

    with answering(answer) as port:
        outcome = http_load.run(Plan(port, ("/",), rate=100, count=20, connections=1))
    # One stall of half a second; requests were due every 10 ms of it, and each waited for what was left.
    assert len(outcome.latencies_us) == 20
    assert min(outcome.latencies_us) > 250_000


def test_a_rate_is_kept() -> None:
    with answering(lambda number, data: OK % b"") as port:
        outcome = http_load.run(Plan(port, ("/",), rate=50, count=10, connections=1))
    assert outcome.seconds >= 9 / 50


def test_without_a_rate_the_time_ends_it_and_closed_connections_are_replaced() -> None:
    with answering(lambda number, data: OK % (b"connection: close\r\n" if number % 3 == 2 else b"")) as port:
        outcome = http_load.run(Plan(port, ("/",), seconds=1.0, connections=1))
    assert outcome.seconds >= 1.0
    assert outcome.per_second * outcome.seconds == pytest.approx(len(outcome.latencies_us))
    assert len(outcome.latencies_us) > 3


def test_no_refusal_counts_as_an_answer() -> None:
    refusal = b'HTTP/1.1 503 \r\ncontent-length: 14\r\n\r\n{"error":"no"}'
    with (
        answering(lambda number, data: refusal) as port,
        pytest.raises(Failed, match=r'503.*\{"error":"no"\}'),
    ):
        http_load.run(Plan(port, ("/",), count=1, connections=1))
    with (
        answering(lambda number, data: b"close") as port,
        pytest.raises(Failed, match="closed before the answer"),
    ):
        http_load.run(Plan(port, ("/",), count=1, connections=1))


def test_as_programs_that_speak_json() -> None:
    words = [sys.executable, "-P", "-m", "bench.http_load"]
    bare = subprocess.Popen(
        [*words, "--answer"], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert bare.stdout is not None
        port = int(bare.stdout.readline())
        plan = Plan(port, ("/",), rate=200, count=10, keep_bodies=True)
        done = subprocess.run(
            words, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, input=http_load.plan_text(plan),
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    finally:
        bare.kill()
        bare.communicate()
    outcome = http_load.read_outcome(done.stdout)
    assert isinstance(outcome, Outcome)
    assert len(outcome.latencies_us) == 10
    assert all(json.loads(body)["this"] for body in outcome.bodies)


def test_an_api_that_is_not_there_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bench.http_load"], cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
        input=http_load.plan_text(Plan(port, ("/",), count=1)), capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert done.stderr.count("\n") == 1
