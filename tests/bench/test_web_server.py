"""The outside's web server: so many bytes, who asked, and how much was sent."""

from __future__ import annotations

import socket
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from bench.process import Process, wait_for

SCRIPT = Path(__file__).parents[2] / "bench" / "web_server.py"


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = Process([sys.executable, str(SCRIPT), "127.0.0.1", str(port)])

    def listening():
        with socket.socket() as knock:
            return knock.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listening, "the server listens")
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        yield process, connection
    process.close()


def test_it_gives_tells_and_counts(server):
    process, connection = server
    for method, path, body, answer in (
        ("GET", "/bytes/70000", None, None),
        ("GET", "/ip", None, b"127.0.0.1"),
        ("PUT", "/", b"x" * 12_345, b"12345"),
    ):
        connection.request(method, path, body)
        got = connection.getresponse().read()
        assert len(got) == 70_000 if answer is None else got == answer
    assert "GET /bytes/70000 127.0.0.1\n" in process.stderr
