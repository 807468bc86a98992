"""The stage for exits: clients, an exit host, and the outside. `tests/netns` stands on it, too.

    [ client 192.0.2.2 ]----192.0.2.1 [        ] 198.51.100.1 ----------- 198.51.100.2 [ outside: web server ]
    [ client 192.0.2.6 ]----192.0.2.5 [  exit  ]      its default route leads there
                                                      the outside also owns an address in every private net

A client's default route leads to the exit host, which forwards nothing but what comes out of the tunnel.
`Exit` is the program, started as a user starts it; everything it is asked goes over its command
line, its HTTP API, `wg`, and the network.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Self

from appliance.slots import default_path
from appliance.store.store import DATABASE
from bench.exit_client import OUTSIDE, Client
from bench.lab import Host, Lab
from bench.process import LabError, Process, wait_for

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = (sys.executable, "-P", "-m", "appliance")
OURS = ROOT / ".venv" / "bin" / "sallyport-wg"

EXIT = "198.51.100.1"
WEB_PORT = 80
STILL_LOOKS = 4  # a quarter of a second apart
# One address behind the exit in each net that clients may not reach.
PRIVATE = (
    "10.99.0.1",
    "172.16.99.1",
    "172.31.99.1",
    "192.168.99.1",
    "100.64.99.1",
    "100.127.99.1",
    "169.254.99.1",
)
READY = re.compile(r"sallyport ready interface=(\S+) endpoint=(\S+) public_key=(\S{44}) api=https?://(\S+)\n")


class Exit:
    """`sallyport up` on the exit host, ready; or not, then the LabError has its last words."""

    def __init__(self, scene: Scene, *options: str, env: Mapping[str, str] | None = None) -> None:
        self.scene = scene
        self.process = scene.start(*options, env=env)
        wait_for(self._ready, "the ready line", seconds=40)
        match = READY.fullmatch(self.process.stdout)
        if match is None:
            raise LabError(f"not a ready line: {self.process.stdout!r}")
        self.interface, self.endpoint, self.public_key, self.api_address = match.groups()

    def _ready(self) -> bool:
        code = self.process.poll()
        if code is not None:
            raise LabError(f"up ended with {code}: {self.process.stderr[-2000:]}")
        return "\n" in self.process.stdout

    @property
    def token(self) -> str:
        return (self.scene.state / "operator.token").read_text().strip()

    def api(
        self, method: str, path: str, body: Any = None, token: str | None = None, *, raw: str | None = None
    ) -> tuple[int, Any]:
        """One HTTP request on the exit host: (status, JSON)."""
        words = ["curl", "-sS", "--max-time", "15", "-X", method, "-w", "\n%{http_code}"]
        words += ["-H", f"Authorization: Bearer {token or self.token}"]
        if body is not None or raw is not None:
            words += ["-d", raw if raw is not None else json.dumps(body)]
        text, _, status = self.scene.exit.output(*words, f"http://{self.api_address}{path}").rpartition("\n")
        return int(status), json.loads(text)

    def create(self, token: str | None = None, **fields: str) -> dict[str, Any]:
        return self._granted("POST", "/v1/sessions", {"region": "local", **fields}, token)

    def session(self, number: str, token: str | None = None) -> dict[str, Any]:
        return self._granted("GET", f"/v1/sessions/{number}", None, token)

    def end(self, number: str, token: str | None = None) -> dict[str, Any]:
        return self._granted("DELETE", f"/v1/sessions/{number}", None, token)

    def usage(self, token: str | None = None) -> dict[str, Any]:
        return self._granted("GET", "/v1/usage", None, token)

    def _granted(self, method: str, path: str, body: Any, token: str | None) -> dict[str, Any]:
        status, answer = self.api(method, path, body, token)
        if status != 200:
            raise LabError(f"{method} {path}: {status} {answer}")
        granted: dict[str, Any] = answer
        return granted

    def quiet_bytes(self, number: str, token: str | None = None) -> tuple[int, int]:
        """(bytes_in, bytes_out) once they no longer move.

        For a second: a program on the way that does not get a processor for a while holds packets back.
        """
        seen: list[tuple[int, int]] = []

        def still() -> bool:
            shown = self.session(number, token)
            seen.append((shown["bytes_in"], shown["bytes_out"]))
            return len(seen) > STILL_LOOKS and len(set(seen[-STILL_LOOKS - 1 :])) == 1

        wait_for(still, "the byte counts stand still", seconds=20, poll_seconds=0.25)
        return seen[-1]

    def stop(self) -> int:
        return self.process.stop()


class Scene:
    """Hosts and wires; a context manager. Programs are started by the test."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        lab = self.lab = self._stack.enter_context(Lab())
        self.exit, self.outside = lab.host("e"), lab.host("o")
        self.egress, far = lab.wire(self.exit, self.outside)
        self.exit.address(self.egress, f"{EXIT}/24")
        self.exit.route("default", "via", OUTSIDE)
        self.outside.address(far, f"{OUTSIDE}/24")
        self.outside.address("lo", *(f"{address}/32" for address in PRIVATE))
        self.interface = lab.name("x")
        # Not made yet: creating it is the program's job.
        self.state = lab.directory() / "state"
        self._clients = 0
        self.web = self.serve(self.outside, WEB_PORT)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def serve(self, host: Host, port: int, address: str = "0.0.0.0") -> Process:
        """Start the web server on a host."""
        script = Path(__file__).with_name("web_server.py")
        process = host.start(sys.executable, str(script), address, str(port))
        wait_for(lambda: host.listens(port), f"the web server listens on {port}")
        return process

    def client(self) -> Client:
        """A new client host with its own wire to the exit host."""
        host = self.lab.host("c")
        near, far = self.lab.wire(host, self.exit)
        base = 4 * self._clients
        self._clients += 1
        host.address(near, f"192.0.2.{base + 2}/30")
        self.exit.address(far, f"192.0.2.{base + 1}/30")
        host.route("default", "via", f"192.0.2.{base + 1}")
        return Client(host)

    def start(self, *options: str, env: Mapping[str, str] | None = None) -> Process:
        """`sallyport up`, not waited for."""
        words = ("--state-dir", str(self.state), "--interface", self.interface, *options)
        return self.exit.start(*PROGRAM, "up", *words, env=env, cwd=Path("/"))

    def up(self, *options: str, env: Mapping[str, str] | None = None) -> Exit:
        return Exit(self, *options, env=env)

    def token(self, *options: str) -> str:
        """A new token, made with the command line."""
        words = ("token", "create", *options, "--json", "--state-dir", str(self.state))
        made: str = json.loads(self.command(*words).stdout)["token"]
        return made

    @property
    def database(self) -> Path:
        """Where the ledger is."""
        return self.state / DATABASE

    @property
    def counter_file(self) -> Path:
        """Where the exit counts."""
        return default_path(self.state)

    def command(self, *words: str, check: bool = True) -> CompletedProcess[str]:
        """`sallyport WORDS` on the exit host, run to its end."""
        return self.exit.run(*PROGRAM, *words, check=check, cwd=Path("/"))

    def traces(self) -> dict[str, str]:
        """Everything of the exit host that a start changes and a stop puts back."""
        commands = {
            "rules": "nft --stateless --terse list ruleset",
            "addresses": "ip -o address show",
            "links": "ip -o link show | sed 's/qdisc.*//'",
            "routes": "ip route show table all; ip -6 route show table all",
            "policy": "ip rule show; ip -6 rule show",
            "sysctls": "cd /proc/sys/net && grep -rHs . ipv4/ip_forward ipv4/conf ipv6/conf || :",
        }
        return {name: self.exit.output("sh", "-c", command) for name, command in commands.items()}
