"""The checks before anything is created: what is remembered, what is told to clients, what is given back."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import Any, cast

import pytest

from appliance.config import UpConfig, resolve
from appliance.errors import InUseError, StateError
from appliance.net.egress import Egress
from appliance.net.exit import ExitFacts
from appliance.net.udp import UdpSockets
from appliance.startup import Prepared, prepare, remember_pool
from appliance.store.store import Store


def config(state_dir: Path, **changes: Any) -> UpConfig:
    words = {"interface": "sptest0", "listen_port": 0, "api": "127.0.0.1:0", "state_dir": str(state_dir)}
    plain = resolve(words, None)
    return replace(plain, **changes)


def prepared(egress: Egress | None) -> Prepared:
    facts = ExitFacts(IPv4Network("10.101.0.0/24"), IPv4Address("10.101.0.1"), egress)
    nothing = cast(Any, None)
    return Prepared(facts, nothing, nothing, UdpSockets(None, None, 51820, 0), [])


def test_what_clients_are_told(tmp_path: Path) -> None:
    plain = config(tmp_path)
    v4 = Egress("eth0", 1500, IPv4Address("198.51.100.1"))
    v6 = Egress("eth0", 1500, IPv6Address("2001:db8::1"))
    assert prepared(v4).endpoint(plain) == ("198.51.100.1", "198.51.100.1:51820")
    assert prepared(v6).endpoint(plain) == ("2001:db8::1", "[2001:db8::1]:51820")
    assert prepared(Egress("eth0", 1500, None)).endpoint(plain) is None
    assert prepared(None).endpoint(plain) is None
    told = config(tmp_path, public_ip=IPv4Address("10.0.0.1"))  # taken as given, private or not
    assert prepared(v4).endpoint(told) == ("10.0.0.1", "10.0.0.1:51820")
    assert prepared(None).endpoint(told) == ("10.0.0.1", "10.0.0.1:51820")


def refuse_to_bind(_host: str, _port: int) -> list[socket.socket]:
    raise InUseError("api address taken")


@pytest.mark.netns
def test_a_busy_api_port_leaves_no_trace(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with ExitStack() as stack, pytest.raises(InUseError, match="api address taken"):
        prepare(config(state), refuse_to_bind, stack)
    assert not state.exists()


@pytest.mark.netns
def test_a_held_state_directory_is_found_before_anything_else(tmp_path: Path) -> None:
    holder = Store.open(tmp_path)
    try:
        with ExitStack() as stack, pytest.raises(InUseError, match=str(tmp_path)):
            prepare(config(tmp_path), refuse_to_bind, stack)
    finally:
        holder.close()


@pytest.mark.netns
def test_the_pool_is_remembered_and_a_damaged_note_is_said(tmp_path: Path) -> None:
    def bind(_host: str, _port: int) -> list[socket.socket]:
        return [socket.socket()]

    with ExitStack() as stack:
        first = prepare(config(tmp_path), bind, stack).facts.pool
    remember_pool(tmp_path, first)
    with ExitStack() as stack:
        assert prepare(config(tmp_path), bind, stack).facts.pool == first
    remember_pool(tmp_path, IPv4Network("10.77.3.0/24"))
    with ExitStack() as stack:
        assert prepare(config(tmp_path), bind, stack).facts.pool == IPv4Network("10.77.3.0/24")
    (tmp_path / "pool").write_text("ten dot something\n")
    with ExitStack() as stack, pytest.raises(StateError, match="pool"):
        prepare(config(tmp_path), bind, stack)


@pytest.mark.netns
def test_without_privilege_it_says_so_first() -> None:
    script = (
        "from contextlib import ExitStack; from pathlib import Path\n"
        "from tests.appliance.test_startup import config, refuse_to_bind\n"
        "from appliance.startup import prepare\n"
        "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: prepare(config(Path('/nonexistent')), refuse_to_bind, ExitStack())\n"
        "except Exception as refusal: print(type(refusal).__name__)\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root, timeout=60
    )
    assert done.stdout == "PrivilegeError\n"
