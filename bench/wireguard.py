"""A userspace WireGuard on a host: started by path like `wireguard-go`, configured with the `wg` tool.

Ours and every peer go through the same calls, so what a bench or a test compares is the programs and
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.lab import CONTROL_SOCKETS, Host
from bench.process import LabError, Process, run, wait_for

# What fits an outer packet of 1500 bytes with IPv6 outside: 1500 - 40 - 8 - 32.
TUNNEL_MTU = 1420


@dataclass(frozen=True)
class Keys:
    """A WireGuard key pair, base64."""

    private: str

    @cached_property
    def public(self) -> str:
        return run(["wg", "pubkey"], input_text=self.private).stdout.strip()


def new_keys() -> Keys:
    return Keys(run(["wg", "genkey"]).stdout.strip())


def new_preshared_key() -> str:
    return run(["wg", "genpsk"]).stdout.strip()


@dataclass(frozen=True)
class Interface:
    """A running implementation and the interface that it serves."""

    host: Host
    name: str
    process: Process

    def wg(self, *arguments: str, input_text: str | None = None) -> str:
        """`wg VERB INTERFACE ...` on its host, e.g. wg("set", "listen-port", "0"); gives its stdout."""
        verb, *rest = arguments
        return self.host.run("wg", verb, self.name, *rest, input_text=input_text).stdout

    def configure(self, text: str) -> None:
        """`wg setconf` with this text."""
        self.wg("setconf", "/dev/stdin", input_text=text)

    def up(self, *addresses: str, mtu: int = TUNNEL_MTU) -> None:
        self.host.address(self.name, *addresses)
        self.host.up(self.name, mtu)

    def transfer(self) -> tuple[int, int]:
        """What `wg show transfer` says, summed over peers: (received, sent) bytes."""
        rows = [line.split("\t") for line in self.wg("show", "transfer").splitlines()]
        return sum(int(row[1]) for row in rows), sum(int(row[2]) for row in rows)


def start(
    host: Host, implementation: str | Path, name: str | None = None, env: Mapping[str, str] | None = None
) -> Interface:
    """Start `IMPLEMENTATION -f NAME` on a host; back when interface and control socket are there."""
    name = name or host.lab.name("w")
    process = host.start(str(implementation), "-f", name, env=env)
    socket = CONTROL_SOCKETS / f"{name}.sock"

    def ready() -> bool:
        if process.poll() is not None:
            # A traceback may end in a line that only draws.
            words = [line for line in process.stderr.splitlines() if any(map(str.isalnum, line))]
            raise LabError(
                f"{implementation} ended with {process.poll()}: {words[-1] if words else 'no words'}"
            )
        return socket.exists() and host.has_interface(name)

    wait_for(ready, f"{implementation} serves {name}", seconds=15)
    return Interface(host, name, process)


def config(keys: Keys, *peers: str, listen_port: int | None = None) -> str:
    """Text for `wg setconf`: this key, these peers (see `peer`)."""
    port = "" if listen_port is None else f"ListenPort = {listen_port}\n"
    return f"[Interface]\nPrivateKey = {keys.private}\n{port}" + "".join(peers)


def peer(
    public_key: str,
    allowed_ips: str,
    endpoint: str | None = None,
    preshared_key: str | None = None,
    keepalive_seconds: int = 0,
) -> str:
    """One [Peer] section; `endpoint` is HOST:PORT, IPv6 hosts in brackets."""
    lines = ["[Peer]", f"PublicKey = {public_key}", f"AllowedIPs = {allowed_ips}"]
    if preshared_key:
        lines.append(f"PresharedKey = {preshared_key}")
    if endpoint:
        lines.append(f"Endpoint = {endpoint}")
    if keepalive_seconds:
        lines.append(f"PersistentKeepalive = {keepalive_seconds}")
    return "\n".join(lines) + "\n"
