"""`sallyport up`: the composition of the floors, and the life of an exit from its checks to its end.

This is the only module that imports `api`. The order of a start: all checks (`startup.py`), the TUN, the
data plane, the sessions that lived before, then the network opens (rules before the interface comes up),
then the listeners, then the ready line. The order of a stop: listeners, pump, settle, network, each
shielded and with a deadline, so that Ctrl-C and SIGTERM end within five seconds whatever hangs (`apart.py`).

Pump, store and device are vital: when one fails the exit ends in the same order. API, control socket and
operator socket are started again with back-off (`supervise.py`). docs/operating.md says what is seen of it.
"""

from __future__ import annotations

import base64
import gc
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import trio

from api import listener, tls
from api.app import create_app, create_lane
from api.origin import Proxies
from appliance import log, operator
from appliance.apart import LastResort, run_apart
from appliance.clock import boottime_ns, wall_seconds
from appliance.config import UpConfig
from appliance.control.door import Control
from appliance.control.errors import StorageUnavailable
from appliance.control.ports import NodeFacts
from appliance.device.device import Device, TunGoneError
from appliance.device.peers import own_identity
from appliance.device.revival import revive
from appliance.device.sessions import SessionPeers
from appliance.errors import StateError, UsageError, UserError, cause_of
from appliance.keys import PRIVATE_KEY, Keyring
from appliance.log import event
from appliance.net.tun import Tun, open_tun
from appliance.pump import Pump, aead_choice
from appliance.sdnotify import notify
from appliance.slots import SlotFile, default_path, slots_for
from appliance.startup import Prepared, prepare, remember_pool
from appliance.status import Inside, RecentWarnings
from appliance.store import sessions
from appliance.store.writer import StoreFailed
from appliance.supervise import keep_running
from appliance.uapi import UapiServer
from appliance.watchdog import feed_watchdog

_log = logging.getLogger("sallyport.main")

_LISTENERS_SECONDS = 2.2


def up(config: UpConfig) -> int:
    """Run the exit until Ctrl-C or SIGTERM; the exit code. Raises UserError for the caller to print."""
    log.setup(config.log_level, sys.stderr)
    try:
        with ExitStack() as stack:
            last_resort = LastResort()
            stack.callback(last_resort.cancel)  # first in, last out
            warnings = stack.enter_context(RecentWarnings.kept())
            certificate = tls.certificate(config.tls_certificate, config.tls_key)
            aead = aead_choice()  # a wrong word is refused before anything is made
            prepared = prepare(config, listener.bind, stack)
            life = _Exit(config, prepared, stack, warnings, certificate, last_resort, aead)
            run_apart(life.run, on_signal=last_resort.begin)
    except BaseException as failure:
        match cause_of(failure):
            case KeyboardInterrupt():
                return 0
            case UserError() as cause:
                raise cause from None
            case StoreFailed() as cause:
                raise StateError(f"the database in {config.state_dir} cannot be used: {cause}") from None
            case cause:
                raise _unexpected(cause) from cause
    return 0


def _unexpected(failure: BaseException) -> UserError:
    """A bug or a broken host: one line for the user, the trace for whoever asked for debug output."""
    if _log.isEnabledFor(logging.DEBUG):
        traceback.print_exception(failure)
    frames = traceback.extract_tb(failure.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return UserError(f"stopped by an unexpected failure: {type(failure).__name__}: {failure}{where}")


async def _settle(control: Control) -> None:
    """The last entry in the ledger. A failure costs nothing: the counters stay for the next start."""
    try:
        await control.settle()
    except StorageUnavailable as failure:
        event(_log, logging.ERROR, "the ledger did not take the last counts", error=str(failure))


async def _wind_up(control: Control, put_back: Callable[[], None]) -> None:
    """The end of every run: settle, and the network as it was, whatever becomes of the settling."""
    try:
        await _settle(control)
    finally:
        await trio.to_thread.run_sync(put_back)


class _Exit:
    """One run of the exit."""

    def __init__(
        self,
        config: UpConfig,
        prepared: Prepared,
        stack: ExitStack,
        warnings: RecentWarnings,
        certificate: tls.Certificate | None,
        last_resort: LastResort,
        aead: str,
    ) -> None:
        self._config = config
        self._warnings = warnings
        self._prepared = prepared
        self._stack = stack
        self._api_down = trio.Event()
        self._ready = False
        self._putting_back = threading.Lock()
        self._last_resort = last_resort
        self._aead = aead
        last_resort.put_back = self._put_back
        self._certificate = certificate
        # Asked now: the sockets close when a stop begins.
        self._api_url = listener.url(prepared.api, secure=certificate is not None)
        self._api_in_the_open = listener.reaches_others(prepared.api) and not (
            certificate is not None or config.trusted_proxies
        )

    async def run(self, stopping: trio.Event) -> None:
        """From the checks passed to everything put back; an orderly end begins when `stopping` is set."""
        self._stopping = stopping
        await self._exist()

    def _put_back(self) -> None:
        """The host's network as it was, by whoever comes first: the orderly end or the last resort."""
        with self._putting_back:
            self._prepared.network.undo()

    async def _exist(self) -> None:
        config, prepared = self._config, self._prepared
        keys = await self._keys_of_the_living()
        slots = SlotFile.open(default_path(config.state_dir), slots_for(prepared.facts.pool))
        self._stack.callback(slots.close)
        self._stack.callback(slots.remove_if_empty)
        remember_pool(config.state_dir, prepared.facts.pool)
        tun = open_tun(config.interface, mtu=prepared.facts.mtu)
        self._stack.callback(tun.close)
        pump = Pump(aead=self._aead, seed=int.from_bytes(os.urandom(8), "little"))
        device = Device(
            pump,
            on_counted=lambda: control.counted(),
            on_purse_shut=lambda account_id: control.purse_shut(account_id),
            on_static_left=lambda: control.static_left(),
        )
        self._stack.callback(device.close)
        device.use_sockets(prepared.udp)
        for private_key in keys.private_keys:
            device.peers.add_identity(own_identity(private_key))
        pump.set_tun(tun.fd, tun.offloads, tun.mtu)
        control = Control(
            store=prepared.store,
            slots=slots,
            dataplane=SessionPeers(device, prepared.facts.prefix_v6),
            flows=prepared.network,
            facts=self._facts(keys),
            wall=wall_seconds,
            boot=boottime_ns,
            rearm=pump.arm_counted,
            keys=keys,
        )
        uapi = UapiServer(device, config.interface, guarded=True)
        uapi.open()
        self._stack.callback(uapi.close)
        try:
            await self._serve(device, control, uapi, tun)
        finally:
            with trio.CancelScope(shield=True):
                await _wind_up(control, self._put_back)

    async def _keys_of_the_living(self) -> Keyring:
        """The exit's keys. Those and the pool must be what clients hold: no session is ended by a slip."""
        pool, state_dir = self._prepared.facts.pool, self._config.state_dir
        live = await self._prepared.store.read(sessions.load_live)
        outside = sum(row.address not in pool for row in live)
        if outside:
            raise UsageError(
                f"{outside} live sessions have addresses outside the pool {pool}: "
                "end them first (sallyport sessions end), or keep their pool"
            )
        keys = Keyring.open_existing(state_dir)
        # Rows from before there could be two keys do not say which one they were told.
        known = set() if keys is None else {b"", *keys.public_keys}
        strangers = sum(row.exit_key not in known for row in live)
        if strangers:
            raise StateError(
                f"{strangers} live sessions know another key of this exit than {state_dir / PRIVATE_KEY}: "
                "put theirs back, or end them first (sallyport sessions end)"
            )
        return Keyring.open(state_dir) if keys is None else keys

    def _facts(self, keys: Keyring) -> NodeFacts:
        config, prepared = self._config, self._prepared
        endpoint = prepared.endpoint(config)
        return NodeFacts(
            region=config.region,
            public_key=keys.public_key,
            public_ip=endpoint[0] if endpoint is not None else None,
            endpoint=endpoint[1] if endpoint is not None else None,
            pool=prepared.facts.pool,
            client_mtu=prepared.facts.client_mtu,
            dns=config.dns,
            prefix_v6=prepared.facts.prefix_v6,
        )

    async def _serve(self, device: Device, control: Control, uapi: UapiServer, tun: Tun) -> None:
        config, prepared = self._config, self._prepared
        try:
            async with trio.open_nursery() as vital:
                vital.start_soon(self._end_for_certain)
                vital.start_soon(prepared.store.run)
                vital.start_soon(self._break_off_start, vital.cancel_scope)
                await vital.start(device.run)
                await control.start()
                vital.start_soon(control.run)
                await trio.to_thread.run_sync(prepared.network.create)
                vital.start_soon(revive, device)
                vital.start_soon(keep_running, "uapi", uapi.run)
                words = self._ready_words(device)
                inside = Inside(
                    control,
                    device,
                    self._warnings,
                    prepared.facts.pool,
                    words,
                    vital,
                    ipv6=prepared.network.ipv6,
                    refused=prepared.network.refused,
                )
                serve_operator = partial(operator.serve, control, config.state_dir, inside)
                vital.start_soon(keep_running, "operator", serve_operator)
                vital.start_soon(self._serve_api, control)
                # What the start made stays to the end: no collection looks at it again while requests wait.
                gc.collect()
                gc.freeze()
                await self._announce(control, device)
                self._ready = True
                vital.start_soon(feed_watchdog, device)
                await self._stopping.wait()
                notify("STOPPING=1")
                with trio.move_on_after(_LISTENERS_SECONDS):
                    await self._api_down.wait()
                vital.cancel_scope.cancel()
        except* TunGoneError:
            raise UserError(f"the interface {tun.name} was deleted by somebody else") from None
        except* StoreFailed as failed:
            reason = cause_of(failed)
            # A state that cannot be used at the start cannot be used by the next start either; else it may.
            kind = UserError if self._ready else StateError
            raise kind(f"the database in {config.state_dir} cannot be used: {reason}") from None

    async def _end_for_certain(self) -> None:
        """However the end begins, from that moment it has its time."""
        try:
            await trio.sleep_forever()
        finally:
            self._last_resort.begin()

    async def _break_off_start(self, start: trio.CancelScope) -> None:
        """Whoever stops us before we are ready does not wait until we are."""
        await self._stopping.wait()
        if not self._ready:
            start.cancel()

    async def _serve_api(self, control: Control) -> None:
        sockets = self._prepared.api
        serve = partial(
            listener.serve,
            certificate=self._certificate,
            proxies=Proxies(self._config.trusted_proxies),
            lane=create_lane(control),
        )
        await keep_running("api", lambda: serve(create_app(control), sockets, self._stopping))
        self._api_down.set()

    async def _announce(self, control: Control, device: Device) -> None:
        """Make the operator's token on the first start; then say, once, that everything works."""
        config, prepared = self._config, self._prepared
        token = await control.ensure_operator_token(config.state_dir)
        if token.created and sys.stderr.isatty():
            print(f"sallyport: operator token (kept in {token.path}): {token.token}", file=sys.stderr)
        elif token.created:
            event(_log, logging.INFO, "operator token made", file=token.path)
        if self._api_in_the_open:
            event(
                _log,
                logging.WARNING,
                "the session API is plain HTTP off the loopback: tokens and keys can be read on their way",
                api=self._api_url,
            )
        egress = prepared.facts.egress
        if config.public_ip is None and egress is not None and egress.is_private:
            event(
                _log,
                logging.WARNING,
                "the egress address is private: only clients of that network can reach this exit; "
                "give its public address with --public-ip",
                address=egress.address,
            )
        words = self._ready_words(device)
        notify("READY=1", f"STATUS=exit on {words['interface']}, endpoint {words['endpoint']}")
        line = " ".join(["sallyport ready", *(f"{name}={value}" for name, value in words.items())])
        try:
            print(line, flush=True)
        except OSError as failure:
            raise UserError(f"the ready line cannot be written to stdout: {failure.strerror}") from None

    def _ready_words(self, device: Device) -> dict[str, str]:
        """What a client and its operator need to know of this exit, as the ready line says it."""
        endpoint = self._prepared.endpoint(self._config)
        identity = device.peers.identity
        assert identity is not None, "set in _exist"
        return {
            "interface": self._config.interface,
            "endpoint": endpoint[1] if endpoint is not None else "none",
            "public_key": base64.b64encode(identity.public_key).decode(),
            "api": self._api_url,
        }
