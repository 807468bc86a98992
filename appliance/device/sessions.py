"""The interface as the session door sees it: a peer in with its address and slot, a peer out.

Has the shape that `control/ports.py` calls DataPlane, without knowing that file. A slot that was bound
before (the process was killed) still holds the client's last endpoint: the peer starts with it, so
that the first packet for that client makes us shake hands with it, whichever side speaks first.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from appliance.device.device import Device
from appliance.pump import Endpoint

_ENDPOINT_WORDS = slice(13, 16)
_ENDPOINT = struct.Struct("=HHI16s")


class SessionPeers:
    """Sessions on one device."""

    def __init__(self, device: Device) -> None:
        self._device = device

    async def add_session(self, public_key: bytes, address: IPv4Address, slot: memoryview) -> None:
        """See DataPlane.add_session."""
        known = endpoint_in_slot(slot)
        record = self._device.peers.add(public_key, slot=slot, is_session=True)
        try:
            self._device.peers.allow(record, IPv4Network(address))
            if known is not None:
                self._device.pump.set_endpoint(record.handle, known)
        except BaseException:
            self._device.peers.remove(record)
            raise

    async def remove_session(self, public_key: bytes) -> None:
        """See DataPlane.remove_session; a key that is no peer is no error."""
        record = self._device.peers.find(public_key)
        if record is not None:
            self._device.peers.remove(record)


def endpoint_in_slot(slot: memoryview) -> Endpoint | None:
    """The endpoint that C left in a slot, None when there is none (or nothing that makes sense)."""
    family, port, scope_id, address = _ENDPOINT.unpack(slot[_ENDPOINT_WORDS].tobytes())
    if family == 4:
        return Endpoint(IPv4Address(address[:4]), port)
    if family == 6:
        return Endpoint(IPv6Address(address), port, scope_id)
    return None
