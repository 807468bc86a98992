"""The operator's verbs while no process runs: the same door, opened for one command.

It takes the lock of the state directory like `up` does, loads the state without serving (no peer is
installed, nobody is ended but who was named), performs the verb and lets go. Counters that the last process
left are settled on the way, as they would be at the next start.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Final

import trio

from appliance import clock, operator
from appliance.control.door import Control
from appliance.control.errors import StorageUnavailable
from appliance.control.ports import NodeFacts
from appliance.errors import StateError
from appliance.keys import Keyring
from appliance.slots import SlotFile, default_path
from appliance.store.store import DATABASE, Store

_FACTS: Final = NodeFacts(
    region="",
    public_key=bytes(32),
    public_ip=None,
    endpoint=None,
    pool=IPv4Network("0.0.0.0/32"),  # leases nothing
    client_mtu=None,
)


def call(state_dir: Path, verb: str, args: dict[str, Any], *, create: bool = True) -> Any:
    """Perform a verb on the state itself; answers and `UserError`s are those of `operator.call`.

    Raises `InUseError` when a process holds the directory after all; `StateError` when it cannot be used, or
    is not there and `create` is False.
    """
    if not create and not (state_dir / DATABASE).exists():
        raise StateError(f"there is no state in {state_dir}")  # and a question shall not make one
    store = Store.open(state_dir, create=create)
    try:
        slots = SlotFile.open(default_path(state_dir), 1)
        try:
            return trio.run(_perform, store, slots, verb, args)
        finally:
            slots.close()
    finally:
        store.close()


async def _perform(store: Store, slots: SlotFile, verb: str, args: dict[str, Any]) -> Any:
    keys = Keyring.open_existing(store.path)
    control = Control(
        store=store,
        slots=slots,
        dataplane=_NoPlane(),
        flows=_NoFlows(),
        facts=_FACTS if keys is None else replace(_FACTS, public_key=keys.public_key),
        wall=clock.wall_seconds,
        boot=clock.boottime_ns,
        rearm=lambda: None,
        keys=keys,
    )
    try:
        await control.start(serve=False)
    except StorageUnavailable as error:
        raise StateError(f"the database in {store.path} cannot be used") from error
    try:
        return await operator.perform(control, verb, args)
    finally:
        await control.retire_old_key()  # a session that was ended may have been the last to need it


class _NoPlane:
    """No tunnel: nothing to remove, and nothing is ever installed."""

    async def add_session(
        self,
        public_key: bytes,
        address: IPv4Address,
        slot: memoryview,
        purse: object = None,
        *,
        own_key: bytes | None = None,
    ) -> None:
        raise OSError("no tunnel")

    async def remove_session(self, public_key: bytes) -> None:
        pass

    async def add_key(self, private_key: bytes) -> None:
        pass

    async def drop_key(self, public_key: bytes) -> bool:
        return True

    async def static_peers(self, own_key: bytes) -> int:
        return 0


class _NoFlows:
    """With the tunnel down no packet meets the old connections; they age out while the address queues."""

    async def forget(self, address: IPv4Address) -> None:
        pass
