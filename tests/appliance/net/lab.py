"""Namespaces for the tests of this folder: an exit, the outside beyond it, and clients behind its tunnel.

    client --tun--.                          198.51.100.1      198.51.100.2
    client --tun--+-- (a thread) --tun-- exit --egress0-- outside0-- outside
                                          |                           also 10.66.0.2, a private network
                                          `--lan0-- lan, which the host forwards for as its own affair

No tunnel protocol is needed: a thread hands packets from the exit's TUN to the client's and back, by
address, as the packet pump would.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_address
from pathlib import Path
from typing import TypeVar

from appliance.core.exitplan import Policy
from appliance.core.ula import address_in, tunnel_prefix
from appliance.net import links
from appliance.net.exit import ExitFacts, ExitNetwork
from appliance.net.tun import OffloadKnob, Tun, open_tun

T = TypeVar("T")

EXIT_ADDRESS = "198.51.100.1"
OUTSIDE_ADDRESS = "198.51.100.2"
PRIVATE_ADDRESS = "10.66.0.2"
LAN_ADDRESS = "203.0.113.2"
CLIENT_ADDRESSES = ("10.101.0.2", "10.101.0.3")
# Long enough for a loaded machine, and only ever waited out by a test that fails.
PATIENCE_SECONDS = 10.0

_CLONE_NEWNET = 0x40000000
_numbers = itertools.count()


class Namespace:
    """A network namespace of our own, deleted at the end of its `with`."""

    def __init__(self, word: str) -> None:
        self.name = f"spnet-{os.getpid()}-{next(_numbers)}-{word}"

    def __enter__(self) -> Namespace:
        run("ip", "netns", "add", self.name)
        # An address that is "tentative" for a second makes two equal pictures of a host differ.
        self.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        self.run("ip", "link", "set", "lo", "up")
        return self

    def __exit__(self, *exception: object) -> None:
        run("ip", "netns", "delete", self.name)

    def run(self, *words: str) -> str:
        return run("ip", "netns", "exec", self.name, *words)

    def inside(self, function: Callable[[], T]) -> T:
        """Call `function` in a thread of its own that lives in this namespace; what it opens stays there."""
        results: list[T] = []
        failures: list[BaseException] = []

        def enter() -> None:
            try:
                with open(f"/run/netns/{self.name}", "rb") as namespace:
                    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                results.append(function())
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
        return results[0]

    def sysctl(self, path: str, value: str | None = None) -> str:
        """Read a setting, or write it."""

        def touch() -> str:
            file = Path("/proc/sys") / path
            if value is not None:
                file.write_text(value)
            return file.read_text().strip()

        return self.inside(touch)


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


class Wire:
    """Hands packets between the exit's TUN and those of the clients, by destination address."""

    def __init__(self, clients: dict[bytes, Tun]) -> None:
        self._clients = clients
        self._exit: Tun | None = None
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake_write = os.pipe()

    def attach(self, tun: Tun) -> None:
        self._exit = tun
        self._thread = threading.Thread(target=self._carry, args=(tun,))
        self._thread.start()

    def detach(self) -> None:
        if self._thread is not None:
            os.write(self._wake_write, b"x")
            self._thread.join()
            os.read(self._wake_read, 1)
            self._thread = None

    def close(self) -> None:
        self.detach()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _carry(self, tun: Tun) -> None:
        by_fd = {tun.fd: tun} | {client.fd: client for client in self._clients.values()}
        while True:
            ready, _, _ = select.select([self._wake_read, *by_fd], [], [])
            if self._wake_read in ready:
                return
            for fd in ready:
                with contextlib.suppress(OSError):  # an interface that is down
                    packet = os.read(fd, 65536)
                    v4 = packet[0] >> 4 == 4
                    to = packet[16:20] if v4 else packet[24:40]
                    target = self._clients.get(to) if fd == tun.fd else tun
                    # Of IPv6 what has a client's own address: no word of the kernel's to its neighbours.
                    if target is not None and (v4 or fd == tun.fd or packet[8:24] in self._clients):
                        os.write(target.fd, packet)


class Lab:
    """The picture above. The exit's part of it is made by `start_exit` and ended by `stop` or `crash`."""

    def __init__(self, state_dir: Path, stack: contextlib.ExitStack) -> None:
        self.state_dir = state_dir
        words = ("exit", "outside", "lan", "client", "client")
        self.exit, self.outside, self.lan, *self.clients = (
            stack.enter_context(Namespace(word)) for word in words
        )
        self.tun: Tun | None = None
        self.network: ExitNetwork | None = None
        self._lay_cables()
        tuns = {}
        for client, address in zip(self.clients, CLIENT_ADDRESSES, strict=True):
            tun = client.inside(lambda: open_tun("tunnel0", mtu=1500, offload=OffloadKnob.NONE))
            stack.callback(tun.close)
            client.run("ip", "address", "add", f"{address}/24", "dev", "tunnel0")
            client.run("ip", "link", "set", "tunnel0", "up")
            client.run("ip", "route", "add", "default", "dev", "tunnel0")
            v6 = address_in(tunnel_prefix(IPv4Network("10.101.0.0/24")), IPv4Address(address))
            client.run("ip", "address", "add", f"{v6}/128", "dev", "tunnel0")
            client.run("ip", "-6", "route", "add", "default", "dev", "tunnel0")
            tuns[socket.inet_aton(address)] = tuns[v6.packed] = tun
        self._tuns = tuns
        self.wire = Wire(tuns)
        stack.callback(self.wire.close)
        stack.callback(self.stop)

    def give(self, number: int, address: str) -> None:
        """One more IPv6 address for a client."""
        self.clients[number].run("ip", "address", "add", f"{address}/128", "dev", "tunnel0")
        self._tuns[ip_address(address).packed] = self._tuns[ip_address(CLIENT_ADDRESSES[number]).packed]

    def _lay_cables(self) -> None:
        for here, there, beyond in (("egress0", "outside0", self.outside), ("lan0", "exit0", self.lan)):
            words = ("link", "add", here, "type", "veth", "peer", "name", there, "netns", beyond.name)
            self.exit.run("ip", *words)
        for namespace, name, address in (
            (self.exit, "egress0", f"{EXIT_ADDRESS}/24"),
            (self.exit, "lan0", "203.0.113.1/24"),
            (self.outside, "outside0", f"{OUTSIDE_ADDRESS}/24"),
            (self.outside, "outside0", f"{PRIVATE_ADDRESS}/24"),
            (self.lan, "exit0", f"{LAN_ADDRESS}/24"),
        ):
            namespace.inside(
                lambda name=name, address=address: links.set_address(name, IPv4Interface(address))
            )
            namespace.inside(lambda name=name: links.set_up(name))
        self.exit.run("ip", "route", "add", "default", "via", OUTSIDE_ADDRESS)
        self.exit.run("ip", "route", "add", "10.66.0.0/24", "via", OUTSIDE_ADDRESS)
        self.lan.run("ip", "route", "add", "default", "via", "203.0.113.1")
        self.outside.run("ip", "route", "add", "203.0.113.0/24", "via", EXIT_ADDRESS)

    def start_exit(
        self, *, interface: str = "sally0", mtu: int = 1420, policy: Policy | None = None
    ) -> ExitFacts:
        network = ExitNetwork(interface=interface, state_dir=self.state_dir, policy=policy)
        facts = self.exit.inside(network.check)
        tun = self.exit.inside(lambda: open_tun(interface, mtu=mtu, offload=OffloadKnob.NONE))
        self.tun, self.network = tun, network
        self.exit.inside(network.create)
        self.wire.attach(tun)
        return facts

    def crash(self) -> None:
        """What the kernel does at `kill -9`: the descriptor is closed, and nothing else happens."""
        assert self.tun is not None
        self.wire.detach()
        self.tun.close()
        self.tun = self.network = None

    def stop(self) -> None:
        if self.tun is not None and self.network is not None:
            network = self.network
            self.exit.inside(network.undo)
            self.crash()

    def ruleset(self) -> str:
        return self.exit.run("nft", "--stateless", "list", "ruleset")

    def settings(self) -> dict[str, str]:
        """All IPv4 forwarding switches of the exit's host."""

        def read() -> dict[str, str]:
            return {
                str(file): file.read_text().strip()
                for file in Path("/proc/sys/net/ipv4/conf").glob("*/forwarding")
            }

        return self.exit.inside(read)


@contextlib.contextmanager
def lab(state_dir: Path) -> Iterator[Lab]:
    with contextlib.ExitStack() as stack:
        yield Lab(state_dir, stack)


def udp(namespace: Namespace, address: str = "0.0.0.0", port: int = 0) -> socket.socket:
    """A bound UDP socket of that namespace."""

    def open_one() -> socket.socket:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.settimeout(PATIENCE_SECONDS)
        one.bind((address, port))
        return one

    return namespace.inside(open_one)


def listen(namespace: Namespace, port: int, address: str = "0.0.0.0") -> socket.socket:
    """A TCP listener of that namespace."""

    def open_one() -> socket.socket:
        one = socket.create_server((address, port))
        one.settimeout(PATIENCE_SECONDS)
        return one

    return namespace.inside(open_one)


def connect(
    namespace: Namespace, address: str, port: int, timeout: float = PATIENCE_SECONDS
) -> socket.socket:
    """A TCP connection from that namespace."""
    return namespace.inside(lambda: socket.create_connection((address, port), timeout))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)
