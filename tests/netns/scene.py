"""The stage of the tests with real parts: clients, an exit host, and the outside.

    [ client 192.0.2.2 ]----192.0.2.1 [        ] 198.51.100.1 ----------- 198.51.100.2 [ outside: web server ]
    [ client 192.0.2.6 ]----192.0.2.5 [  exit  ]      its default route leads there
                                                      the outside also owns an address in every private net

A client's default route leads to the exit host, which forwards nothing but what comes out of the tunnel.
`Exit` is the program under test, started as a user starts it; everything it is asked goes over its command
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

from bench import wireguard
from bench.lab import Host, Lab
from bench.process import LabError, Process, wait_for

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, "-P", "-m", "appliance")
OURS = ROOT / ".venv" / "bin" / "sallyport-wg"
PEER = "wireguard-go"

EXIT = "198.51.100.1"
OUTSIDE = "198.51.100.2"
WEB = f"http://{OUTSIDE}"
WEB_PORT = 80
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


class Client:
    """A host that wants out. Its WireGuard is Debian's unless told otherwise."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.interface = host.lab.name("w")

    def quick_up(self, config: str) -> None:
        """`wg-quick up` with the configuration exactly as it was handed out."""
        file = self.host.lab.directory() / f"{self.interface}.conf"
        file.write_text(config)
        file.chmod(0o600)
        self.host.run("wg-quick", "up", str(file), env={"WG_QUICK_USERSPACE_IMPLEMENTATION": PEER})

    def up(
        self, config: str, implementation: str | Path = PEER, env: Mapping[str, str] | None = None
    ) -> None:
        """The same by hand, where a test must know which program serves the interface."""
        lines = [line for line in config.splitlines() if not line.startswith(("Address", "MTU"))]
        address = _value(config, "Address")
        running = wireguard.start(self.host, implementation, self.interface, env)
        running.configure("\n".join(lines) + "\n")
        running.up(address)
        self.host.route(f"{OUTSIDE}/32", "dev", self.interface)

    def again(self, config: str) -> None:
        """A new interface with the same configuration.

        WireGuard finds out by itself that the other end forgot its keys, but only 15 s after its first
        unanswered packet: a test that is not about that need not wait for it.
        """
        self.host.run("ip", "link", "del", self.interface)
        self.interface = self.host.lab.name("w")
        self.up(config)

    def inner_bytes(self) -> tuple[int, int]:
        """What the interface counts: (received, sent) inner bytes, exact on a TUN without offloads."""
        shown = json.loads(self.host.output("ip", "-s", "-j", "link", "show", "dev", self.interface))[0][
            "stats64"
        ]
        return shown["rx"]["bytes"], shown["tx"]["bytes"]

    def curl(self, *arguments: str, seconds: float = 20.0, check: bool = True) -> str:
        words = ("curl", "-sS", "--max-time", str(seconds), *arguments)
        return self.host.run(*words, seconds=seconds + 5, check=check).stdout

    def download(self, count: int, *arguments: str, seconds: float = 30.0) -> int:
        """Fetch so many bytes from the outside; gives how many came."""
        words = ("-o", "/dev/null", "-w", "%{size_download}", *arguments, f"{WEB}/bytes/{count}")
        return int(self.curl(*words, seconds=seconds))

    def upload(self, count: int) -> int:
        """Send so many bytes to the outside; gives how many the outside counted."""
        file = self.host.lab.directory() / "upload"
        with file.open("wb") as handle:
            handle.truncate(count)
        return int(self.curl("-T", str(file), WEB, seconds=30))

    def connects(self, address: str, port: int, seconds: float = 1.0) -> str:
        """Try TCP: "open", "refused" (a reset came back), "silent", or the words of another error."""
        script = (
            "import socket,sys\n"
            "s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET)\n"
            "s.settimeout(float(sys.argv[3]))\n"
            "try: s.connect((sys.argv[1], int(sys.argv[2]))); print('open')\n"
            "except ConnectionRefusedError: print('refused')\n"
            "except TimeoutError: print('silent')\n"
            "except OSError as error: print(error.strerror)\n"
        )
        return self.host.output(sys.executable, "-c", script, address, str(port), str(seconds)).strip()

    def pings(self, address: str, source: str | None = None) -> bool:
        chosen = ["-I", source] if source else []
        return (
            self.host.run("ping", "-n", "-c", "1", "-W", "1", *chosen, address, check=False).returncode == 0
        )


class Exit:
    """`sallyport up` on the exit host, ready; or not, then the LabError has its last words."""

    def __init__(self, scene: Scene, *options: str, env: Mapping[str, str] | None = None) -> None:
        self.scene = scene
        words = ("--state-dir", str(scene.state), "--interface", scene.interface, *options)
        self.process: Process = scene.exit.start(*PROGRAM, "up", *words, env=env, cwd=Path("/"))
        wait_for(self._ready, "the ready line", seconds=20)
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
        status, body = self.api("POST", "/v1/sessions", {"region": "local", **fields}, token)
        assert status == 200, (status, body)
        made: dict[str, Any] = body
        return made

    def session(self, number: str) -> dict[str, Any]:
        status, body = self.api("GET", f"/v1/sessions/{number}")
        assert status == 200, (status, body)
        shown: dict[str, Any] = body
        return shown

    def end(self, number: str) -> dict[str, Any]:
        status, body = self.api("DELETE", f"/v1/sessions/{number}")
        assert status == 200, (status, body)
        shown: dict[str, Any] = body
        return shown

    def quiet_bytes(self, number: str) -> tuple[int, int]:
        """(bytes_in, bytes_out) once they no longer move."""
        seen: list[tuple[int, int]] = []

        def still() -> bool:
            shown = self.session(number)
            seen.append((shown["bytes_in"], shown["bytes_out"]))
            return len(seen) > 2 and seen[-1] == seen[-2] == seen[-3]

        wait_for(still, "the byte counts stand still", poll_seconds=0.25)
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
        process = host.start(sys.executable, str(Path(__file__).with_name("web.py")), address, str(port))
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

    def up(self, *options: str, env: Mapping[str, str] | None = None) -> Exit:
        return Exit(self, *options, env=env)

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


def _value(config: str, key: str) -> str:
    (found,) = [line.partition("=")[2].strip() for line in config.splitlines() if line.startswith(key)]
    return found


def inner_address(config: str) -> str:
    """The client's address in the tunnel, from a handed-out configuration."""
    return _value(config, "Address").partition("/")[0]
