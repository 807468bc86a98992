"""What `wg` asks of an interface, applied to the device; and the device as `wg show` reads it.

A set arrives parsed whole (`core/uapi_text.py`), is checked against the guard below, and is then
applied in order. On the exit's interface sessions own their peers: a set that touches one, takes its
prefix, replaces all peers or changes what clients were told (key, port) fails with EPERM, before
anything is applied. Called by `appliance/uapi.py`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from ipaddress import IPv6Address

import trio

from appliance.clock import boottime_ns
from appliance.core.uapi_text import (
    ZERO_KEY,
    Address,
    DeviceChange,
    DeviceState,
    PeerChange,
    PeerState,
    UapiError,
    format_endpoint,
)
from appliance.device.device import Device
from appliance.device.peers import PeerRecord, own_identity
from appliance.errors import InUseError
from appliance.pump import Endpoint

# A set of ten thousand peers must not keep the loop to itself.
_PEERS_PER_TURN = 64


async def apply(device: Device, change: DeviceChange, *, guarded: bool) -> None:
    """Carry out one set. UapiError with the errno that `wg` prints; EPERM changes nothing."""
    if guarded:
        _guard(device, change)
    if change.private_key is not None:
        _set_private_key(device, change.private_key)
    if change.listen_port is not None:
        try:
            device.set_listen_port(change.listen_port)
        except InUseError as busy:
            raise UapiError(errno.EADDRINUSE, str(busy)) from busy
    if change.fwmark is not None:
        device.set_fwmark(change.fwmark)
    if change.replace_peers:
        for record in device.peers:
            device.peers.remove(record)
    for number, peer_change in enumerate(change.peers, start=1):
        _apply_peer(device, peer_change)
        if number % _PEERS_PER_TURN == 0:
            await trio.lowlevel.checkpoint()


def _guard(device: Device, change: DeviceChange) -> None:
    refused = change.replace_peers or change.private_key is not None or change.listen_port is not None
    for peer in change.peers:
        record = device.peers.find(peer.public_key)
        refused |= record is not None and record.is_session
        for step in peer.allowed_ips:
            owner = device.peers.owner_of(step.network) if step.network is not None else None
            refused |= owner is not None and owner.is_session
    if refused:
        raise UapiError(errno.EPERM, "sessions own this interface's key, port and peers")


def _set_private_key(device: Device, key: bytes) -> None:
    identity = None if key == ZERO_KEY else own_identity(key)
    current = device.peers.identity
    if identity is not None and current is not None and identity.private_key == current.private_key:
        return  # the same key again must not break the sessions in use
    device.set_identity(identity)


def _apply_peer(device: Device, change: PeerChange) -> None:
    peers = device.peers
    record = peers.find(change.public_key)
    if change.remove:
        if record is not None:
            peers.remove(record)
            device.static_left()
        return
    if record is None:
        if change.update_only or peers.is_own_key(change.public_key):
            return
        record = peers.add(change.public_key)
    if change.preshared_key is not None:
        record.brain.set_preshared_key(change.preshared_key)
    if change.endpoint is not None:
        device.pump.set_endpoint(record.handle, _endpoint(*change.endpoint))
    for step in change.allowed_ips:
        if step.network is None:
            peers.disallow_all(record)
        elif step.kind == "add":
            peers.allow(record, step.network)
        else:
            peers.disallow(record, step.network)
    if change.keepalive_seconds is not None:
        record.keepalive_seconds = change.keepalive_seconds
        device.pump.set_keepalive(record.handle, change.keepalive_seconds, boottime_ns())


def _endpoint(address: Address, port: int) -> Endpoint:
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        zone = address.scope_id
        try:
            number = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
        except OSError:
            raise UapiError(errno.EINVAL, f"no interface {zone!r} for an endpoint") from None
        return Endpoint(IPv6Address(int(address)), port, number)
    return Endpoint(address, port)


def device_state(device: Device) -> DeviceState:
    """The interface's own lines of a get."""
    identity = device.peers.identity
    return DeviceState(
        private_key=identity.private_key if identity is not None else None,
        listen_port=device.listen_port,
        fwmark=device.fwmark,
    )


def peer_states(device: Device) -> Iterator[PeerState]:
    """The peers of a get, in the order in which they were added."""
    for record in device.peers:
        if device.peers.find(record.public_key) is record:  # not removed while the reader was slow
            yield _peer_state(device, record)


def _peer_state(device: Device, record: PeerRecord) -> PeerState:
    view = device.pump.peer(record.handle)
    return PeerState(
        public_key=record.public_key,
        preshared_key=record.brain.preshared_key,
        endpoint=_endpoint_text(view.endpoint),
        handshake_wall_ns=view.handshake_wall_ns,
        tx_bytes=view.tx_bytes,
        rx_bytes=view.rx_bytes,
        keepalive_seconds=record.keepalive_seconds,
        allowed_ips=tuple(record.allowed_ips),
    )


def _endpoint_text(endpoint: Endpoint | None) -> str | None:
    if endpoint is None:
        return None
    zone = ""
    if endpoint.scope_id and isinstance(endpoint.host, IPv6Address):
        try:
            zone = socket.if_indextoname(endpoint.scope_id)
        except OSError:
            zone = str(endpoint.scope_id)
    return format_endpoint(endpoint.host, endpoint.port, zone)
