"""A data plane, a connection table and clocks that tests can steer, and the door put together with them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Self

import trio

from appliance.control.door import Control
from appliance.control.ports import NodeFacts
from appliance.control.views import Account
from appliance.core.accounting import Purse
from appliance.errors import StateError
from appliance.slots import SlotFile
from appliance.store.store import Store

SERVER_KEY = bytes(range(32))
DAY_SECONDS = 86_400
EPOCH_SECONDS = 1_780_000_000


def facts(**changes) -> NodeFacts:
    values = {
        "region": "local",
        "public_key": SERVER_KEY,
        "public_ip": "198.51.100.7",
        "endpoint": "198.51.100.7:51820",
        "pool": IPv4Network("10.101.0.0/24"),
        "client_mtu": None,
    }
    return NodeFacts(**{**values, **changes})


class FakeKeys:
    """Numbered keys: a rotation counts on. `failures` are raised by the next changes of files."""

    def __init__(self) -> None:
        self.public_key = SERVER_KEY
        self.old_public_key: bytes | None = None
        self.failures: list[StateError] = []

    def rotate(self) -> bytes:
        if self.failures:
            raise self.failures.pop(0)
        assert self.old_public_key is None
        self.public_key, self.old_public_key = bytes([self.public_key[0] + 1]) * 32, self.public_key
        return self.public_key  # the plane below needs no secret

    def forget_old(self) -> None:
        self.old_public_key = None
        if self.failures:
            raise self.failures.pop(0)


class FakePlane:
    """Peers in a dict. `fail_add` and `fail_remove` are raised by the next calls, `gate` holds them up."""

    def __init__(self) -> None:
        self.peers: dict[bytes, tuple[IPv4Address, memoryview]] = {}
        self.payers: dict[bytes, str] = {}  # whose purse a peer pays from
        self.purses: dict[str, int] = {}  # by account: bytes left
        self.log: list[tuple[str, bytes]] = []
        self.fail_add: list[Exception | None] = []
        self.fail_remove: list[Exception | None] = []
        self.gate: trio.Event | None = None
        self.on_remove: Callable[[bytes], None] = lambda key: None
        self.own_keys = [SERVER_KEY]
        self.knows: dict[bytes, bytes] = {}  # which of the exit's keys a peer was told
        self.static: dict[bytes, int] = {}  # how many static peers were told one

    async def add_session(
        self,
        public_key: bytes,
        address: IPv4Address,
        slot: memoryview,
        purse: Purse | None = None,
        *,
        own_key: bytes | None = None,
    ) -> None:
        self.log.append(("add", public_key))
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        failure = self.fail_add.pop(0) if self.fail_add else None
        if failure is not None:
            raise failure
        if public_key in self.peers:
            raise ValueError("is a peer already")
        assert all(address != other for other, _ in self.peers.values())
        if own_key is not None and own_key not in self.own_keys:
            raise ValueError("not ours")
        self.peers[public_key] = address, slot
        self.knows[public_key] = own_key or self.own_keys[-1]
        if purse is not None:
            self.payers[public_key] = purse.account_id
            self.purses.setdefault(purse.account_id, purse.left_bytes)

    async def remove_session(self, public_key: bytes) -> None:
        self.log.append(("remove", public_key))
        await trio.lowlevel.checkpoint()
        failure = self.fail_remove.pop(0) if self.fail_remove else None
        if failure is not None:
            raise failure
        if public_key in self.peers:
            self.on_remove(public_key)
        self.peers.pop(public_key, None)
        account_id = self.payers.pop(public_key, None)
        if account_id is not None and account_id not in self.payers.values():
            del self.purses[account_id]

    async def add_key(self, private_key: bytes) -> None:
        self.own_keys.append(private_key)

    async def drop_key(self, public_key: bytes) -> bool:
        if self.static.get(public_key) or public_key in (self.knows[key] for key in self.peers):
            return False
        self.own_keys.remove(public_key)
        return True

    async def static_peers(self, own_key: bytes) -> int:
        return self.static.get(own_key, 0)

    def count(self, public_key: bytes, bytes_in: int = 0, bytes_out: int = 0) -> bool:
        """What the pump does: pay from the peer's purse, add to its slot; False when it does not fit."""
        account_id = self.payers.get(public_key)
        if account_id is not None:
            if bytes_in + bytes_out > self.purses[account_id]:
                return False
            self.purses[account_id] -= bytes_in + bytes_out
        words = self.peers[public_key][1]
        words[6] += bytes_in
        words[7] += bytes_out
        return True


@dataclass
class FakeFlows:
    forgotten: list[IPv4Address] = field(default_factory=list)
    failure: Exception | None = None

    async def forget(self, address: IPv4Address) -> None:
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        self.forgotten.append(address)


class Exit:
    """An exit over a state directory: open it, use `control`, close it or abandon it like a killed one."""

    def __init__(self, directory: Path, **fact_changes) -> None:
        self.directory = directory
        self.facts = facts(**fact_changes)
        self.plane, self.flows = FakePlane(), FakeFlows()
        self.wall_offset_seconds = float(EPOCH_SECONDS)
        self.boot_offset_seconds = 5.0
        self.booted: float | None = None  # the zero of the boot clock, as Trio's clock has it
        self.rearmed = 0
        self.slot_count = 1100
        self.keys = FakeKeys()

    async def start(self, *, serve: bool = True) -> Self:
        # Both clocks run with Trio's, which tests replace by a mock.
        booted = self.booted = trio.current_time() if self.booted is None else self.booted
        self.store = Store.open(self.directory / "state")
        self.slots = SlotFile.open(self.directory / "test.slots", self.slot_count)
        self.control = Control(
            store=self.store,
            slots=self.slots,
            dataplane=self.plane,
            flows=self.flows,
            facts=replace(self.facts, public_key=self.keys.public_key),
            wall=lambda: self.wall_offset_seconds + trio.current_time(),
            boot=lambda: int((self.boot_offset_seconds + trio.current_time() - booted) * 1_000_000_000),
            rearm=self._rearm,
            keys=self.keys,
        )
        try:
            await self.control.start(serve=serve)
        except BaseException:
            self.stop()
            raise
        return self

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let go of everything without settling: as good as a kill, for the disk and the slots."""
        self.slots.close()
        self.store.close()

    def again(self, **fact_changes) -> Exit:
        """The next process over the same state directory (after `stop`), in the same boot."""
        other = Exit(self.directory, **fact_changes)
        other.wall_offset_seconds = self.wall_offset_seconds
        other.keys = self.keys
        known = (self.keys.old_public_key, self.keys.public_key)
        other.plane.own_keys = [key for key in known if key is not None]
        other.boot_offset_seconds, other.booted = self.boot_offset_seconds, self.booted
        return other

    def pass_time(self, seconds: float) -> None:
        """Both clocks go on while nobody looks."""
        self.wall_offset_seconds += seconds
        self.boot_offset_seconds += seconds

    def reboot(self) -> None:
        """As if the machine was started again before `start`: another boot id, a new boot clock."""
        content = bytearray((self.directory / "test.slots").read_bytes())
        content[32] ^= 1
        (self.directory / "test.slots").write_bytes(content)
        self.boot_offset_seconds, self.booted = 5.0, None

    def _rearm(self) -> None:
        self.rearmed += 1

    async def account(self, prepaid_bytes: int | None = None) -> Account:
        account = await self.control.authenticate((await self.control.create_token(prepaid_bytes)).token)
        assert account is not None
        return account

    async def create(self, account: Account, key: bytes | None = None) -> tuple[str, bytes, IPv4Address]:
        """Make a session; its id, public key and address."""
        before = set(self.plane.peers)
        made = await self.control.create_session(account, "local", key)
        if key is None:
            (key,) = set(self.plane.peers) - before
        return made.id, key, address_of(made.wg_config)


def key(number: int) -> bytes:
    """Some client's public key."""
    return number.to_bytes(4, "big") + b"client key, made up for tests"[:28]


def lines(wg_config: str) -> dict[str, str]:
    """The `Name = value` lines of a configuration."""
    return dict(line.split(" = ", 1) for line in wg_config.splitlines() if " = " in line)


def address_of(wg_config: str) -> IPv4Address:
    return IPv4Address(lines(wg_config)["Address"].split("/")[0])


def private_key_of(wg_config: str) -> bytes:
    return base64.b64decode(lines(wg_config)["PrivateKey"])
