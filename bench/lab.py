"""A laboratory of network namespaces: hosts, wires between them, programs running on them.

Everything a `Lab` makes carries its prefix (`sp`, the process id, a letter per lab), and everything is gone
when its `with` block ends, however it ends: programs first, then namespaces (links inside die with
them), then the control sockets they left. What a killed run leaves is swept away by the next lab,
which knows it by the process id in the name. Nothing in the root namespace is ever changed.

Two things to know:

* A WireGuard control socket (/var/run/wireguard/NAME.sock) is a *path*, and namespaces share paths. So
  interface names must be unique over all hosts of all labs: take them from `Lab.name()`.
* `ip netns exec` is an exec, as is `setpriv`: the pid of `Host.start(...)` is the program's own, and a
  signal sent to it reaches the program and nothing else.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.process import LabError, Process, run, wait_for

NAMESPACES = Path("/run/netns")
CONTROL_SOCKETS = Path("/var/run/wireguard")
ENDING = (signal.SIGINT, signal.SIGTERM)  # what ends a bench, as KeyboardInterrupt
NAME = re.compile(r"sp(?P<pid>\d+)[a-z]+[0-9]+[a-z0-9]*")

_labs = itertools.count()


def stale_names(names: Sequence[str], own_pid: int, alive: Callable[[int], bool]) -> list[str]:
    """Which of these names were left by a lab whose process is gone."""
    stale = []
    for name in names:
        match = NAME.fullmatch(name.removesuffix(".sock"))
        if match and int(match["pid"]) != own_pid and not alive(int(match["pid"])):
            stale.append(name)
    return stale


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _names_in(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in directory.iterdir()]
    except FileNotFoundError:
        return []


def sweep_stale() -> None:
    """Take away what killed labs left: processes in their namespaces, the namespaces, control sockets."""
    for name in stale_names(_names_in(NAMESPACES), os.getpid(), _alive):
        _remove_namespace(name)
    for name in stale_names(_names_in(CONTROL_SOCKETS), os.getpid(), _alive):
        (CONTROL_SOCKETS / name).unlink(missing_ok=True)


def _remove_namespace(name: str) -> None:
    inside = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
    for pid in inside.stdout.split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    # Another process that sweeps at the same moment may have been quicker.
    subprocess.run(["ip", "netns", "del", name], capture_output=True)


class Host:
    """One network namespace, used like a machine of its own."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name

    def command(self, argv: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", self.name, *argv]

    def run(
        self,
        *argv: str,
        input_text: str | None = None,
        check: bool = True,
        seconds: float = 30.0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on this host to its end."""
        return run(self.command(argv), input_text=input_text, check=check, seconds=seconds, env=env, cwd=cwd)

    def output(self, *argv: str) -> str:
        return self.run(*argv).stdout

    def start(self, *argv: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Process:
        """Start a program on this host; it is ended with the lab at the latest."""
        process = Process(self.command(argv), env=env, cwd=cwd)
        self.lab.on_close(process.close)
        return process

    def sysctl(self, key: str, value: str) -> None:
        path = "/proc/sys/" + key.replace(".", "/")
        self.run("sh", "-c", f"echo {value} > {path}")

    def address(self, interface: str, *addresses: str) -> None:
        """Give an interface addresses (ADDRESS/LENGTH), ready for use at once also with IPv6."""
        for address in addresses:
            flags = ["nodad"] if ":" in address else []
            run(["ip", "-n", self.name, "address", "add", address, "dev", interface, *flags])

    def up(self, interface: str, mtu: int | None = None) -> None:
        size = [] if mtu is None else ["mtu", str(mtu)]
        run(["ip", "-n", self.name, "link", "set", interface, *size, "up"])

    def route(self, prefix: str, *via: str) -> None:
        run(["ip", "-n", self.name, "route", "add", prefix, *via])

    def has_interface(self, interface: str) -> bool:
        return run(["ip", "-n", self.name, "link", "show", "dev", interface], check=False).returncode == 0

    def has_settled(self, interface: str) -> bool:
        """Whether the kernel has done, for an interface that is up, what it does in the background.

        A cable's other end is seen, and with it comes the link-local address, unless IPv6 is off.
        """
        shown = self.run("ip", "-o", "address", "show", "dev", interface, "up").stdout
        carrier = self.output("cat", f"/sys/class/net/{interface}/operstate").strip() == "up"
        off = self.run("cat", f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6", check=False).stdout
        return carrier and (" fe80:" in shown or off.strip() != "0")

    def listens(self, port: int, protocol: str = "tcp") -> bool:
        """Whether a socket on this host has that local port (TCP: in the listening state)."""
        state = "0A" if protocol == "tcp" else "07"
        table = self.output("sh", "-c", f"cat /proc/net/{protocol} /proc/net/{protocol}6 2>/dev/null")
        return any(
            len(f := line.split()) > 3 and f[1].endswith(f":{port:04X}") and f[3] == state
            for line in table.splitlines()
        )


class Lab:
    """The whole laboratory; a context manager."""

    def __init__(self) -> None:
        serial = next(_labs)
        letters = ""
        while True:
            letters = chr(ord("a") + serial % 26) + letters
            serial = serial // 26 - 1
            if serial < 0:
                break
        self.prefix = f"sp{os.getpid()}{letters}"
        self._numbers = itertools.count()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        sweep_stale()
        self._stack.callback(self._remove_sockets)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second signal while cleaning up must not leave half of it behind.
        if threading.current_thread() is not threading.main_thread():  # signals do not come here
            self._stack.close()
            return
        before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
        try:
            self._stack.close()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_close(self, callback: Callable[[], object]) -> None:
        """Have something done when the lab ends; the last one asked for is done first."""
        self._stack.callback(callback)

    def name(self, suffix: str = "") -> str:
        """A new name that fits an interface (15 characters) and that no other lab uses."""
        name = f"{self.prefix}{next(self._numbers)}{suffix}"
        if len(name) > 15:
            raise LabError(f"interface name too long: {name}")
        return name

    def directory(self) -> Path:
        """A new private directory, removed with the lab."""
        made = tempfile.TemporaryDirectory(prefix=self.prefix)
        self.on_close(made.cleanup)
        return Path(made.name)

    def host(self, role: str) -> Host:
        """A new namespace with loopback up."""
        host = Host(self, self.name(role))
        self._stack.callback(_remove_namespace, host.name)
        run(["ip", "netns", "add", host.name])
        # Addresses are unique by construction, and one that is "tentative" for a second is no use to a test.
        host.sysctl("net.ipv6.conf.default.accept_dad", "0")
        host.up("lo")
        return host

    def wire(self, one: Host, other: Host, mtu: int = 1500) -> tuple[str, str]:
        """A veth pair between two hosts, both ends up; gives the interface names (one's, other's)."""
        a, b = self.name("v"), self.name("v")
        run(
            [
                "ip",
                "link",
                "add",
                a,
                "netns",
                one.name,
                "type",
                "veth",
                "peer",
                "name",
                b,
                "netns",
                other.name,
            ]
        )
        one.up(a, mtu)
        other.up(b, mtu)
        for host, end in ((one, a), (other, b)):
            wait_for(partial(host.has_settled, end), f"{end} has settled")
        return a, b

    def _remove_sockets(self) -> None:
        for name in _names_in(CONTROL_SOCKETS):
            if name.startswith(self.prefix):
                (CONTROL_SOCKETS / name).unlink(missing_ok=True)
