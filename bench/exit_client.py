"""A client of an exit: a host that wants out, with a WireGuard of its own.

It lives in an `exit_scene.Scene`. Its interface counts inner bytes, which is the one yardstick for bills that
the exit has no part in: exact, because Debian's wireguard-go has a TUN without offloads.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from bench import wireguard
from bench.lab import Host

PEER = "wireguard-go"

OUTSIDE = "198.51.100.2"
WEB = f"http://{OUTSIDE}"


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
        running = wireguard.start(self.host, implementation, self.interface, env)
        running.configure("\n".join(lines) + "\n")
        running.up(*_value(config, "Address").split(", "))
        self.host.route(f"{OUTSIDE}/32", "dev", self.interface)

    def again(self, config: str, implementation: str | Path = PEER) -> None:
        """A new interface in the place of the one that it has, if any.

        WireGuard finds out by itself that the other end forgot its keys, but only 15 s after its first
        unanswered packet: a test that is not about that need not wait for it.
        """
        if self.host.has_interface(self.interface):
            self.host.run("ip", "link", "del", self.interface)
            self.interface = self.host.lab.name("w")
        self.up(config, implementation)

    def inner_bytes(self) -> tuple[int, int]:
        """What the interface counts: (received, sent) inner bytes, exact on a TUN without offloads."""
        shown = json.loads(self.host.output("ip", "-s", "-j", "link", "show", "dev", self.interface))[0][
            "stats64"
        ]
        return shown["rx"]["bytes"], shown["tx"]["bytes"]

    def keep_little_in_flight(self) -> None:
        """A receive window of 96 KB for connections from now on.

        Else what a slow reader has not read waits in its own socket, tens of MB of it, and the tunnel is
        silent for a minute while nothing is wrong.
        """
        self.host.sysctl("net.ipv4.tcp_rmem", "'4096 65536 98304'")

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

    def connects(self, address: str, port: int, seconds: float = 10.0) -> str:
        """Try TCP: "open", "refused" (a reset came back), "silent", or the words of another error.

        Only for silence all the seconds are waited.
        """
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


def _value(config: str, key: str) -> str:
    (found,) = [line.partition("=")[2].strip() for line in config.splitlines() if line.startswith(key)]
    return found


def inner_address(config: str) -> str:
    """The client's address in the tunnel, from a handed-out configuration."""
    return _value(config, "Address").partition("/")[0]
