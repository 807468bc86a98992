"""The tasks of one WireGuard interface: where what `core/` decides is done and what C reports is heard.

Three tasks under one nursery. The pump thread moves packets. The upward task waits on the pump's
eventfd and feeds handshake messages and pending bits to the peers' brains. The timer task sleeps on a
CLOCK_BOOTTIME timerfd until the nearest handshake deadline. After each call into a brain its actions
are carried out here, in the one `match` that bridges thinking and acting. No Python runs per packet.
"""

from __future__ import annotations

import errno
import heapq
import logging
import os
from collections.abc import Callable

import trio

from appliance.clock import boottime_ns, wall_ns
from appliance.core.actions import (
    DropStaged,
    EraseKeys,
    HandshakeDone,
    InstallKeypair,
    SendInitiation,
    SendResponse,
)
from appliance.core.messages import BadMessage
from appliance.core.noise import Identity
from appliance.device.peers import PeerRecord, PeerTable
from appliance.log import event
from appliance.net.udp import UdpSockets, open_udp
from appliance.pump import Datagram, End, Event, Notice, Pending, Pump, drive
from appliance.timerfd import BoottimeTimer

_log = logging.getLogger("sallyport.device")

_INITIATION, _RESPONSE = 1, 2

# Handshakes cost some 0.2 ms each: after this many the loop lets others run.
_DATAGRAMS_PER_TURN = 16

_NOTICES = {
    Notice.UDP_GSO: "UDP segmentation refused (EIO): datagrams of that destination are sent one by one",
    Notice.UDP_GSO_PATH: "UDP segmentation too large for a path: sent one by one for ten minutes",
    Notice.TUN_TCP: "joined TCP write refused by the TUN: TCP packets are written one by one",
    Notice.TUN_UDP: "joined UDP write refused by the TUN: UDP packets are written one by one",
    Notice.SOURCE: "a source address is gone: the kernel chooses again",
}


class TunGoneError(Exception):
    """The TUN interface was deleted under us."""


class Device:
    """One interface. Opens and closes its own UDP sockets; the TUN belongs to the caller."""

    def __init__(
        self,
        pump: Pump,
        *,
        on_counted: Callable[[], None] | None = None,
        on_purse_shut: Callable[[str], None] | None = None,
        on_static_left: Callable[[], None] | None = None,
    ) -> None:
        self.pump = pump
        self.peers = PeerTable(pump, os.urandom)
        self.sockets: UdpSockets | None = None
        self.fwmark = 0
        self._on_counted = on_counted
        self._on_purse_shut = on_purse_shut
        self._on_static_left = on_static_left
        self._timers: list[tuple[int, int]] = []  # (deadline, handle), stale entries allowed
        self._timer = BoottimeTimer()
        self._noticed = Notice(0)
        self._pong = trio.Event()
        self._pong.set()  # nobody waits for it

    # ---- sockets ---------------------------------------------------------------------------------------

    def use_sockets(self, sockets: UdpSockets) -> None:
        """Send and receive on these from now on; those in use before are closed."""
        before = self.sockets
        self.pump.set_udp(sockets.fd4, sockets.fd6, sockets.offloads)
        self.sockets = sockets
        if before is not None:
            before.close()

    @property
    def listen_port(self) -> int:
        """The UDP port in use, 0 before there is one."""
        return self.sockets.port if self.sockets is not None else 0

    def set_listen_port(self, port: int) -> None:
        """Move to another port (0: any free one). InUseError leaves everything as it was."""
        if self.sockets is not None and port == self.sockets.port:
            return
        self.use_sockets(open_udp(port, self.fwmark))
        self.pump.forget_source(0)

    def set_fwmark(self, mark: int) -> None:
        """Mark our own datagrams, at once and on sockets to come."""
        self.fwmark = mark
        if self.sockets is not None:
            self.sockets.set_fwmark(mark)
        self.pump.forget_source(0)

    def set_identity(self, identity: Identity | None) -> None:
        """A new private key, or none; whoever waits for a key gets a handshake under the new one."""
        self.peers.set_identity(identity, boottime_ns())
        for record in self.peers:
            self.perform(record)

    def static_left(self) -> None:
        """A peer that `wg` added is gone, or knows our newest key now: tell whoever keeps an older one."""
        if self._on_static_left is not None:
            self._on_static_left()

    # ---- the loops -------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Raises TunGoneError when the interface is deleted, else `PumpFailed`."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear_upward)
            nursery.start_soon(self._keep_time)
            task_status.started()
            end = await drive(self.pump)
            nursery.cancel_scope.cancel()
        if end is End.TUN_GONE:
            raise TunGoneError

    def close(self) -> None:
        """Give back what the device opened; the pump must have ended."""
        self.pump.close()
        self._timer.close()
        if self.sockets is not None:
            self.sockets.close()
            self.sockets = None

    async def pump_answers(self) -> None:
        """Return once the pump thread has answered a ping; for the watchdog, and whoever asks how we are."""
        if self._pong.is_set():  # else somebody waits already: one answer serves both
            self._pong = trio.Event()
        self.pump.ping()
        await self._pong.wait()

    async def _hear_upward(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self.pump.up_fd)
            events = self.pump.take_events()
            if events & Event.COUNTED and self._on_counted is not None:
                self._on_counted()
            if events & Event.PONG:
                self._pong.set()
            if events & Event.NOTICE:
                self._say_notices()
            for handle, bits in self.pump.take_pending():
                self._pending(handle, bits)
            for number, datagram in enumerate(self.pump.take_datagrams(), start=1):
                self._handshake_message(datagram)
                if number % _DATAGRAMS_PER_TURN == 0:
                    await trio.lowlevel.checkpoint()

    async def _keep_time(self) -> None:
        while True:
            await self._timer.wait()
            now = boottime_ns()
            while self._timers and self._timers[0][0] <= now:
                deadline, handle = heapq.heappop(self._timers)
                record = self.peers.by_handle(handle)
                if record is None or record.timer_ns != deadline:
                    continue
                record.timer_ns = None
                record.brain.handle_timer(now, wall_ns())
                self.perform(record)
            self._arm()

    def _say_notices(self) -> None:
        seen = Notice(self.pump.stats().notices)
        for notice, text in _NOTICES.items():
            if notice & seen & ~self._noticed:
                event(_log, logging.WARNING, text)
        self._noticed |= seen

    # ---- what C reports --------------------------------------------------------------------------------

    def _pending(self, handle: int, bits: int) -> None:
        record = self.peers.by_handle(handle)
        if record is None:
            return
        if bits & Pending.CONFIRMED:
            record.brain.confirmed(boottime_ns(), wall_ns())
        if bits & Pending.KEY:
            record.brain.key_wanted(boottime_ns(), wall_ns())
        if bits & Pending.PURSE and record.account_id is not None:
            self.purse_shut(record.account_id)
        self.perform(record)

    def purse_shut(self, account_id: str) -> None:
        """A packet did not fit the purse of that account: tell whoever wants to know."""
        if self._on_purse_shut is not None:
            self._on_purse_shut(account_id)

    def _handshake_message(self, datagram: Datagram) -> None:
        kind = datagram.data[0]
        try:
            if kind == _INITIATION:
                self._initiation(datagram)
            elif kind == _RESPONSE:
                self._response(datagram)
        except BadMessage:
            return  # bad bytes from the network are no news; C counts what it refuses itself

    def _initiation(self, datagram: Datagram) -> None:
        identities = self.peers.identities
        if not identities:
            return
        # The oldest key is dropped first, so that what waits here for the newest still finds it.
        identity = identities[min(datagram.mac1_key, len(identities) - 1)]
        opened = identity.open_initiation_untrusted(datagram.data)
        record = self.peers.find(opened.public_key)
        if record is None:
            return
        known, now = record.brain.identity, boottime_ns()
        # A session's configuration names one key of ours for good; who is configured by hand may change it.
        under = None if record.is_session else identity
        if record.brain.receive_initiation(opened, now, wall_ns(), under=under):
            # The endpoint moves first: the response goes where the initiation came from.
            self.pump.handshake_in(record.handle, datagram, now)
        self.perform(record)
        if record.brain.identity is not known:
            self.static_left()

    def _response(self, datagram: Datagram) -> None:
        brain = self.peers.indices.find(int.from_bytes(datagram.data[8:12], "little"))
        record = self.peers.find(brain.public_key) if brain is not None else None
        if brain is None or record is None:
            return
        now = boottime_ns()
        if brain.receive_response_untrusted(datagram.data, now, wall_ns()):
            self.pump.handshake_in(record.handle, datagram, now)
        self.perform(record)

    # ---- what core decided -----------------------------------------------------------------------------

    def perform(self, record: PeerRecord) -> None:
        """Carry out a brain's actions and note its next deadline; to be called after each call into it."""
        now = boottime_ns()
        for action in record.brain.take_actions():
            match action:
                case SendInitiation(message, retry):
                    self._send(record, message, retry=retry, now_ns=now)
                case SendResponse(message):
                    self._send(record, message, retry=False, now_ns=now)
                case InstallKeypair(transport, keypair):
                    self.pump.install(
                        record.handle,
                        send_key=transport.send_key,
                        receive_key=transport.receive_key,
                        local_index=keypair.local_index,
                        remote_index=transport.remote_index,
                        created_ns=keypair.created_ns,
                        is_initiator=keypair.is_initiator,
                        now_ns=now,
                    )
                case HandshakeDone(wall):
                    self.pump.handshake_done(record.handle, wall)
                case EraseKeys():
                    self.pump.erase_keys(record.handle)
                case DropStaged():
                    self.pump.drop_staged(record.handle)
        deadline = record.brain.next_timer()
        if deadline is not None and (record.timer_ns is None or deadline < record.timer_ns):
            record.timer_ns = deadline
            heapq.heappush(self._timers, (deadline, record.handle))
            self._arm()

    def _send(self, record: PeerRecord, message: bytes, *, retry: bool, now_ns: int) -> None:
        try:
            self.pump.handshake_out(record.handle, message, retry=retry, now_ns=now_ns)
        except OSError as refusal:
            # The brain's retransmit timer runs on: a network that is down now may be up in 5 s.
            if refusal.errno != errno.EDESTADDRREQ:
                event(
                    _log, logging.DEBUG, "handshake message not sent", error=os.strerror(refusal.errno or 0)
                )

    def _arm(self) -> None:
        self._timer.arm(self._timers[0][0] if self._timers else None)
