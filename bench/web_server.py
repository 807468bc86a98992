"""A small web server for the outside host, a script: `web_server.py ADDRESS PORT` (`::` serves IPv4 too).

GET /bytes/N answers N bytes, GET /ip the address it was asked from, PUT anything counts what was sent.
Each request is one line on stderr: METHOD PATH FROM.
"""

from __future__ import annotations

import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK = bytes(range(256)) * 256


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/ip":
            self._answer(self.client_address[0].encode())
            return
        left = int(self.path.removeprefix("/bytes/"))
        self.send_response(200)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        while left:
            left -= self.wfile.write(CHUNK[: min(left, len(CHUNK))])

    def do_PUT(self) -> None:
        count = 0
        while count < int(self.headers["Content-Length"]):
            count += len(self.rfile.read1(len(CHUNK)))
        self._answer(str(count).encode())

    def log_message(self, *_: object) -> None:
        print(self.command, self.path, self.client_address[0], file=sys.stderr, flush=True)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET


if __name__ == "__main__":
    Server((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
