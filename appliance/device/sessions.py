"""The interface as the session door sees it: a peer in with its address and slot, a peer out.

Has the shape that `control/ports.py` calls DataPlane, without knowing that file. A slot that was bound
before (the process was killed) still holds the client's last endpoint: the peer starts with it, so
that the first packet for that client makes us shake hands with it, whichever side speaks first.

Purses live here as long as somebody pays from them: the first session of a prepaid account brings what is
left, the others share it, and with the last one's removal it is gone. While there is one, it alone knows what
is left; when there is none, nothing is counted and the ledger knows.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from appliance.core.accounting import Purse
from appliance.core.ula import address_in
from appliance.device.device import Device
from appliance.device.peers import PeerRecord, own_identity
from appliance.pump import Endpoint

_ENDPOINT_WORDS = slice(13, 16)
_ENDPOINT = struct.Struct("=HHI16s")


@dataclass
class _OpenPurse:
    """A purse in the pump, and how many peers pay from it."""

    number: int
    peers: int = 0


class SessionPeers:
    """Sessions on one device; with an IPv6 network each has the address in it that belongs to its lease."""

    def __init__(self, device: Device, prefix_v6: IPv6Network | None = None) -> None:
        self._device = device
        self._prefix_v6 = prefix_v6
        self._purses: dict[str, _OpenPurse] = {}

    async def add_session(
        self,
        public_key: bytes,
        address: IPv4Address,
        slot: memoryview,
        purse: Purse | None = None,
        *,
        own_key: bytes | None = None,
    ) -> None:
        """See DataPlane.add_session."""
        known = endpoint_in_slot(slot)
        record = self._add(public_key, slot, purse, own_key)
        try:
            self._device.peers.allow(record, IPv4Network(address))
            if self._prefix_v6 is not None:
                self._device.peers.allow(record, IPv6Network(address_in(self._prefix_v6, address)))
            if known is not None:
                self._device.pump.set_endpoint(record.handle, known)
        except BaseException:
            self._remove(record)
            raise

    async def remove_session(self, public_key: bytes) -> None:
        """See DataPlane.remove_session; a key that is no peer is no error."""
        record = self._device.peers.find(public_key)
        if record is not None:
            self._remove(record)

    async def add_key(self, private_key: bytes) -> None:
        """See DataPlane.add_key."""
        self._device.peers.add_identity(own_identity(private_key))

    async def drop_key(self, public_key: bytes) -> bool:
        """See DataPlane.drop_key."""
        return self._device.peers.drop_identity(public_key)

    async def static_peers(self, own_key: bytes) -> int:
        """See DataPlane.static_peers."""
        identity = self._device.peers.identity_of(own_key)
        return sum(
            not record.is_session and record.brain.identity is identity is not None
            for record in self._device.peers
        )

    def _add(
        self, public_key: bytes, slot: memoryview, purse: Purse | None, own_key: bytes | None
    ) -> PeerRecord:
        peers = self._device.peers
        if purse is None:
            return peers.add(public_key, slot=slot, is_session=True, own_key=own_key)
        account_id = purse.account_id
        opened = self._purses.get(account_id)
        if opened is None:
            opened = self._purses[account_id] = _OpenPurse(self._device.pump.new_purse(purse.left_bytes))
        opened.peers += 1
        try:
            return peers.add(
                public_key,
                slot=slot,
                is_session=True,
                purse=opened.number,
                account_id=account_id,
                own_key=own_key,
            )
        except BaseException:
            self._leave(account_id)
            raise

    def _remove(self, record: PeerRecord) -> None:
        self._device.peers.remove(record)
        if record.account_id is not None:
            self._leave(record.account_id)

    def _leave(self, account_id: str) -> None:
        opened = self._purses[account_id]
        opened.peers -= 1
        if opened.peers == 0:
            del self._purses[account_id]
            if self._device.pump.purse(opened.number)[1]:
                # Its last peer may have left before the news of it was heard.
                self._device.purse_shut(account_id)
            self._device.pump.free_purse(opened.number)


def endpoint_in_slot(slot: memoryview) -> Endpoint | None:
    """The endpoint that C left in a slot, None when there is none (or nothing that makes sense)."""
    family, port, scope_id, address = _ENDPOINT.unpack(slot[_ENDPOINT_WORDS].tobytes())
    if family == 4:
        return Endpoint(IPv4Address(address[:4]), port)
    if family == 6:
        return Endpoint(IPv6Address(address), port, scope_id)
    return None
