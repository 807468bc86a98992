"""The exit's static key: change it, and erase the old one when nobody needs it any more.

A session is told one public key of the exit's in its configuration and keeps to it for life, so after a
rotation there are two: the present one, which new sessions are told, and the old one. Which is whose stands
in the sessions' rows. Who holds the old key alive: live sessions that were told it, sessions that were on
their way when the key changed, and peers that `wg` added before (until they are removed, or shake hands
under the present one). When the last of them is gone, at once or at the next start, the tunnel stops
answering to the old key and its file is removed.

There is one old key at most: the data plane tells two apart (crypto_ext/gate.h). Whoever would rotate again
before it is gone is told who holds it.

The files come first: what a killed process had not told the tunnel yet, the next one reads from them. No row
changes, so files and rows cannot contradict each other. A backup is never made half way (`Store.files`).
"""

from __future__ import annotations

import base64
import logging
from dataclasses import replace

import trio

from appliance.control.errors import KeyInUse
from appliance.control.ports import ExitKeys
from appliance.control.state import State
from appliance.control.views import Keys, OldKey, moment
from appliance.errors import StateError
from appliance.log import event

logger = logging.getLogger("sallyport.control")


class Rotation:
    """The change of keys of one exit."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def run(self) -> None:
        """Erase the old key as soon as nobody needs it. Never returns."""
        while True:
            await self._state.old_key_left.wait()
            self._state.old_key_left = trio.Event()
            await self.retire()

    async def rotate(self) -> Keys:
        """A new key. Raises `KeyInUse` or `StateError`; then it stays as it was."""
        state, keys = self._state, self._state.keys
        if keys is None:
            raise KeyInUse("there is no key to rotate yet: the first start of `sallyport up` makes it")
        async with state.store.files:
            with trio.CancelScope(shield=True):  # files, tunnel and memory say the same
                await self._retire(keys)
                before = await self.view()
                if before.old is not None:
                    raise KeyInUse(_in_use(before.old))
                private_key = await trio.to_thread.run_sync(keys.rotate)
                await state.dataplane.add_key(private_key)
                state.facts = replace(state.facts, public_key=keys.public_key)
                event(logger, logging.INFO, "the exit has a new key")
                await self._retire(keys)
        return await self.view()

    async def retire(self) -> None:
        """Erase the old key if there is one that nobody needs."""
        keys = self._state.keys
        if keys is not None and keys.old_public_key is not None:
            async with self._state.store.files:
                with trio.CancelScope(shield=True):
                    await self._retire(keys)

    async def view(self) -> Keys:
        """The keys, and who still knows the old one."""
        state, keys = self._state, self._state.keys
        old = None if keys is None else keys.old_public_key
        if old is None:
            return Keys(_text(state.facts.public_key), None)
        ends_ns = [live.row.expires_at_ns for live in state.live.values() if live.row.exit_key == old]
        static = await state.dataplane.static_peers(old)
        until = moment(max(ends_ns)) if ends_ns else None
        return Keys(_text(state.facts.public_key), OldKey(_text(old), len(ends_ns), static, until))

    async def _retire(self, keys: ExitKeys) -> None:
        state, old = self._state, keys.old_public_key
        if old is None or state.making[old]:
            return
        if any(live.row.exit_key == old for live in state.live.values()):
            return
        if not await state.dataplane.drop_key(old):
            return
        try:
            await trio.to_thread.run_sync(keys.forget_old)
        except StateError as error:
            event(logger, logging.ERROR, "the next start erases the old key", reason=str(error))
        else:
            event(logger, logging.INFO, "nobody needs the old key any more: it is erased")


def _in_use(old: OldKey) -> str:
    if old.until is None and not old.static_peers:
        return "the key before this one is about to be erased: try again"
    holders = [_count(old.sessions, "session")] if old.sessions else []
    holders += [_count(old.static_peers, "static peer")] if old.static_peers else []
    last = f" (the last session ends by {old.until:%Y-%m-%dT%H:%M:%SZ})" if old.until is not None else ""
    return (
        f"the key before this one is still in use by {' and '.join(holders)}{last}: "
        "rotate when they are gone, or end them first (sallyport sessions list, wg set ... remove)"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")
