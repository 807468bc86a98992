"""What `sallyport-wg` serves after its fork: one interface, configured by `wg` alone.

Starts in the order that can fail most cheaply, ends when the TUN is deleted, the control socket
removed, or a signal comes; every exit path removes the socket and frees the port. MTU changes made
with `ip link set` are followed; when the interface comes up, persistent keepalives start at once.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from contextlib import closing

import trio

from appliance.clock import boottime_ns
from appliance.device.device import Device, TunGoneError
from appliance.filewatch import wait_removed
from appliance.log import event
from appliance.net.links import watch_links
from appliance.net.tun import Tun, open_tun
from appliance.net.udp import open_udp
from appliance.pump import Pump, aead_choice
from appliance.uapi import UapiServer

_log = logging.getLogger("sallyport.wg")


async def serve(name: str, ready: Callable[[], None]) -> None:
    """Run interface `name` to its end; `ready` is called once it can be configured."""
    async with trio.open_nursery() as nursery:
        # First of all, so that nothing is made that a signal could leave behind.
        await nursery.start(_end_on_signal, nursery.cancel_scope)
        await _exist(name, ready)
        nursery.cancel_scope.cancel()


async def _exist(name: str, ready: Callable[[], None]) -> None:
    tun = open_tun(name)
    pump = Pump(aead=aead_choice(), seed=int.from_bytes(os.urandom(8), "little"))
    device = Device(pump)
    server = UapiServer(device, tun.name, guarded=False)
    try:
        server.open()
        device.use_sockets(open_udp(0))
        pump.set_tun(tun.fd, tun.offloads, tun.mtu)
        await _run(device, server, tun, ready)
    finally:
        server.close()
        device.close()
        tun.close()


async def _run(device: Device, server: UapiServer, tun: Tun, ready: Callable[[], None]) -> None:
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_when_removed, server.path, nursery.cancel_scope)
            nursery.start_soon(_follow_link, device, tun)
            nursery.start_soon(server.run)
            await nursery.start(device.run)
            event(_log, logging.INFO, "interface is up for configuration", interface=tun.name)
            ready()
    except* TunGoneError:
        event(_log, logging.INFO, "interface was deleted", interface=tun.name)


async def _end_on_signal(
    scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()


async def _end_when_removed(path: str, scope: trio.CancelScope) -> None:
    try:
        await wait_removed(path)
    except FileNotFoundError:
        pass  # somebody was quicker than we
    scope.cancel()


async def _follow_link(device: Device, tun: Tun) -> None:
    was_up = False
    with closing(watch_links(tun.name, tun.fd)) as changes:
        async for link in changes:
            if link.gone:
                return  # the pump notices by itself
            device.pump.set_mtu(link.mtu)
            if link.up and not was_up:
                for record in device.peers:
                    if record.keepalive_seconds:
                        device.pump.set_keepalive(record.handle, record.keepalive_seconds, boottime_ns())
            was_up = link.up
