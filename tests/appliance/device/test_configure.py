"""What `wg` asks, applied: semantics of set, and the guard of an interface that carries sessions."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, ip_network

import pytest

from appliance.core.noise import Identity
from appliance.core.uapi_text import UapiError, format_get, parse_set_untrusted
from appliance.device.configure import apply, device_state, peer_states
from appliance.device.device import Device
from appliance.device.sessions import SessionPeers
from appliance.net.udp import open_udp
from appliance.pump import Pump, Symmetric

A, B, C = (bytes([n]) * 32 for n in (1, 2, 3))


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    device = Device(Pump(seed=1))
    yield device
    device.close()


async def set_(device: Device, *lines: str, guarded: bool = False) -> None:
    await apply(device, parse_set_untrusted(lines), guarded=guarded)


def get(device: Device) -> str:
    return "".join(format_get(device_state(device), peer_states(device)))


async def test_peers_stay_in_the_order_they_were_added(device: Device) -> None:
    await set_(device, *(f"public_key={key.hex()}" for key in (C, A, B)))
    await set_(device, f"public_key={A.hex()}", "persistent_keepalive_interval=7")
    assert [peer.public_key for peer in peer_states(device)] == [C, A, B]
    assert "persistent_keepalive_interval=7" in get(device)


async def test_an_allowed_ip_moves_to_the_peer_that_asked_last(device: Device) -> None:
    await set_(device, f"public_key={A.hex()}", "allowed_ip=10.0.0.0/8", "allowed_ip=fd00::/8")
    await set_(device, f"public_key={B.hex()}", "allowed_ip=10.0.0.0/8")
    first, second = peer_states(device)
    assert first.allowed_ips == (ip_network("fd00::/8"),)
    assert second.allowed_ips == (ip_network("10.0.0.0/8"),)
    record = device.peers.find(B)
    assert record is not None
    assert device.pump.route(IPv4Address("10.1.1.1")) == record.handle
    await set_(device, f"public_key={B.hex()}", "allowed_ip=-10.0.0.0/8", "allowed_ip=-10.99.0.0/16")
    assert device.pump.route(IPv4Address("10.1.1.1")) == 0


async def test_replace_allowed_ips_and_replace_peers(device: Device) -> None:
    await set_(device, f"public_key={A.hex()}", "allowed_ip=10.0.0.0/8", f"public_key={B.hex()}")
    await set_(device, f"public_key={A.hex()}", "replace_allowed_ips=true", "allowed_ip=10.2.0.0/16")
    assert next(peer_states(device)).allowed_ips == (ip_network("10.2.0.0/16"),)
    await set_(device, "replace_peers=true", f"public_key={C.hex()}", "allowed_ip=10.2.0.0/16")
    assert [peer.public_key for peer in peer_states(device)] == [C]


async def test_update_only_and_remove_of_the_unknown_do_nothing(device: Device) -> None:
    await set_(device, f"public_key={A.hex()}", "update_only=true", "allowed_ip=10.0.0.0/8")
    await set_(device, f"public_key={B.hex()}", "remove=true")
    assert list(peer_states(device)) == []


async def test_our_own_key_is_no_peer_whichever_comes_first(device: Device) -> None:
    own = Identity(C)
    await set_(device, f"public_key={own.public_key.hex()}", "allowed_ip=10.0.0.0/8")
    await set_(device, f"private_key={C.hex()}")
    assert list(peer_states(device)) == []
    await set_(device, f"public_key={own.public_key.hex()}", "allowed_ip=10.0.0.0/8")
    assert list(peer_states(device)) == []


async def test_the_private_key_is_clamped_shown_and_removed_by_zero(device: Device) -> None:
    await set_(device, f"private_key={(bytes([255]) * 32).hex()}", f"public_key={A.hex()}")
    shown = get(device).splitlines()[0]
    assert device.peers.identity is not None
    assert device.peers.identity.state_maker is Symmetric
    assert shown == "private_key=" + (b"\xf8" + b"\xff" * 30 + b"\x7f").hex()
    await set_(device, f"private_key={'0' * 64}")
    assert "private_key" not in get(device)
    assert len(device.peers) == 1  # peers survive the key


async def test_a_busy_port_is_eaddrinuse_and_the_old_one_stays(device: Device) -> None:
    device.use_sockets(open_udp(0))
    before = device.listen_port
    taken = open_udp(0)
    try:
        with pytest.raises(UapiError) as caught:
            await set_(device, f"listen_port={taken.port}")
        assert caught.value.errno == errno.EADDRINUSE
        assert device.listen_port == before
        await set_(device, f"listen_port={before}", "fwmark=77")
        assert (device.listen_port, device.fwmark) == (before, 77)
        assert "fwmark=77\n" in get(device)
    finally:
        taken.close()


@pytest.mark.parametrize(
    "lines",
    [
        [f"public_key={A.hex()}", "remove=true"],
        [f"public_key={A.hex()}", f"preshared_key={B.hex()}"],
        ["replace_peers=true"],
        [f"public_key={B.hex()}", "allowed_ip=10.9.0.2/32"],
        [f"private_key={B.hex()}"],
        ["listen_port=0"],
    ],
)
async def test_what_belongs_to_sessions_is_not_set_by_wg(device: Device, lines: list[str]) -> None:
    slot = memoryview(bytearray(256)).cast("Q")
    await SessionPeers(device).add_session(A, IPv4Address("10.9.0.2"), slot)
    before = get(device)
    with pytest.raises(UapiError) as caught:
        await set_(device, "fwmark=7", *lines, f"public_key={C.hex()}", guarded=True)
    assert caught.value.errno == errno.EPERM
    assert get(device) == before  # not even the harmless first line was applied


async def test_static_peers_may_be_added_beside_sessions(device: Device) -> None:
    slot = memoryview(bytearray(256)).cast("Q")
    await SessionPeers(device).add_session(A, IPv4Address("10.9.0.2"), slot)
    await set_(device, "fwmark=5", f"public_key={B.hex()}", "allowed_ip=10.9.0.0/24", guarded=True)
    assert [peer.public_key for peer in peer_states(device)] == [A, B]
