"""What the running process tells its operator about itself: health, rates, sessions, drops, warnings, peers.

`main` makes one `Inside` per run and hands it to the operator socket, which knows it by its shape
(`operator.Telling`). Nothing is measured while nobody asks, so that an idle exit stays idle: rates are two
readings of the counters, a second apart, taken when the question comes.

The question must be answered when things are bad, so nothing here waits for a part that hangs: packet
pump and database are asked by a task of their own (`_Probe`) and given two seconds. Client addresses are told
to nobody: of an endpoint only whether there is one.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any, Final, Self

import trio

from appliance import __version__, operator
from appliance.clock import boottime_ns, wall_ns
from appliance.control.door import Control
from appliance.device.configure import peer_states
from appliance.device.device import Device
from appliance.errors import UserError
from appliance.log import ROOT, LogfmtFormatter, event

_log = logging.getLogger("sallyport.status")

READINGS_APART_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 2.0

_NS_PER_SECOND: Final = 1_000_000_000
_MOST_WARNINGS: Final = 20
_MOST_CHARACTERS: Final = 500
_PEERS_PER_TURN: Final = 64
# Of a pool these are nobody's: the network's own address, the exit's, and the broadcast address.
_NOT_FOR_CLIENTS: Final = 3


class RecentWarnings(logging.Handler):
    """The last warnings and errors of the log: per kind how often, and the latest line."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(LogfmtFormatter())
        self._kinds: dict[tuple[str, str], tuple[int, str]] = {}

    @classmethod
    @contextmanager
    def kept(cls) -> Iterator[Self]:
        """Listen to the program's own log while the block runs."""
        recent, log = cls(), logging.getLogger(ROOT)
        log.addHandler(recent)
        try:
            yield recent
        finally:
            log.removeHandler(recent)

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`, from any thread, under this handler's lock."""
        try:
            kind = record.name, record.getMessage()
            count, _ = self._kinds.pop(kind, (0, ""))
            self._kinds[kind] = count + 1, self.format(record)[:_MOST_CHARACTERS]
            while len(self._kinds) > _MOST_WARNINGS:
                del self._kinds[next(iter(self._kinds))]
        except Exception:
            self.handleError(record)

    def told(self) -> list[dict[str, Any]]:
        """The kinds, the one that came last at the end."""
        self.acquire()
        try:
            return [{"count": count, "line": line} for count, line in self._kinds.values()]
        finally:
            self.release()


class _Probe:
    """One question at a time to a part that may hang: whoever wants to know waits no longer than he likes."""

    def __init__(self, ask: Callable[[], Awaitable[None]], nursery: trio.Nursery) -> None:
        self._ask = ask
        self._nursery = nursery
        self._asked: trio.Event | None = None
        self._verdict = ""

    async def verdict(self) -> str:
        """`ok`, `no answer`, or what kind of failure it was."""
        if self._asked is None:
            self._asked = trio.Event()
            self._nursery.start_soon(self._wait, self._asked)
        with trio.move_on_after(PATIENCE_SECONDS):
            await self._asked.wait()
            return self._verdict
        return "no answer"

    async def _wait(self, asked: trio.Event) -> None:
        try:
            await self._ask()
            self._verdict = "ok"
        except Exception as failure:
            self._verdict = f"failed ({type(failure).__name__})"
        finally:
            self._asked = None
            asked.set()


@dataclass(frozen=True)
class _Reading:
    at_ns: int
    bytes: Mapping[bytes, tuple[int, int]]  # by public key: to the client, from it
    packets_to_clients: int
    packets_from_clients: int
    static_peers: int


class Inside:
    """One running exit, seen from inside."""

    def __init__(
        self,
        control: Control,
        device: Device,
        warnings: RecentWarnings,
        pool: IPv4Network,
        words: Mapping[str, str],
        nursery: trio.Nursery,
        *,
        ipv6: str,
        refused: Callable[[], Mapping[str, int]],
    ) -> None:
        """`words` are those of the ready line: interface, endpoint, public_key, api. `ipv6` says what becomes
        of clients' IPv6; `refused` reads how many packets the host's rules refused, and blocks for it.

        `nursery` is that of the exit's life: a question to a part that hangs outlives whoever asked it.
        """
        self._control = control
        self._device = device
        self._warnings = warnings
        self._pool = pool
        self._words = words
        self._ipv6 = ipv6
        self._refused = refused
        self._began_ns = boottime_ns()
        self._pump = _Probe(device.pump_answers, nursery)
        self._database = _Probe(control.check_storage, nursery)

    async def status(self) -> dict[str, Any]:
        """Everything of the one screen, in JSON's types; takes a second."""
        before = await self._read()
        pump = await self._pump.verdict()
        database = await self._database.verdict()
        refused = await self._count_refused()
        spent = (boottime_ns() - before.at_ns) / _NS_PER_SECOND
        await trio.sleep(max(0.0, READINGS_APART_SECONDS - spent))
        now = await self._read()
        live = len(await self._control.list_sessions())
        return {
            "version": __version__,
            **self._words,
            **operator.key_words(await self._control.keys()),
            "uptime_seconds": (boottime_ns() - self._began_ns) // _NS_PER_SECOND,
            "health": {"well": pump == database == "ok", "pump": pump, "database": database},
            "draining": self._control.draining,
            "sessions": {
                "live": live,
                "addresses_free": max(0, self._pool.num_addresses - _NOT_FOR_CLIENTS - live),
                "static_peers": now.static_peers,
            },
            "rates": _rates(before, now),
            "ipv6": self._ipv6,
            "refused": refused,
            "drops": {reason: count for reason, count in self._device.pump.stats().drops.items() if count},
            "warnings": self._warnings.told(),
        }

    async def _count_refused(self) -> dict[str, int] | None:
        """By reason; None when it cannot be told now."""
        with trio.move_on_after(PATIENCE_SECONDS):
            try:
                counted = await trio.to_thread.run_sync(self._refused, abandon_on_cancel=True)
            except UserError as failure:
                event(_log, logging.WARNING, "the rules cannot be read", reason=str(failure))
                return None
            return {reason: count for reason, count in counted.items() if count}
        return None

    async def peers(self) -> list[dict[str, Any]]:
        """All peers of the interface, sessions' and static ones."""
        sessions = {row.public_key: row.id for row in await self._control.list_sessions()}
        now_ns = wall_ns()
        answer = []
        for number, peer in enumerate(peer_states(self._device), start=1):
            key = base64.b64encode(peer.public_key).decode("ascii")
            shaken_ns = peer.handshake_wall_ns
            answer.append(
                {
                    "public_key": key,
                    "session": sessions.get(key),
                    "has_endpoint": peer.endpoint is not None,
                    "last_handshake": _moment(shaken_ns) if shaken_ns else None,
                    "handshake_age_seconds": _seconds(now_ns - shaken_ns) if shaken_ns else None,
                    "received_bytes": peer.rx_bytes,
                    "sent_bytes": peer.tx_bytes,
                    "allowed_ips": [str(network) for network in peer.allowed_ips],
                }
            )
            if number % _PEERS_PER_TURN == 0:
                await trio.lowlevel.checkpoint()
        return answer

    async def _read(self) -> _Reading:
        counted: dict[bytes, tuple[int, int]] = {}
        static = 0
        at_ns = boottime_ns()
        for number, peer in enumerate(peer_states(self._device), start=1):
            counted[peer.public_key] = peer.tx_bytes, peer.rx_bytes
            record = self._device.peers.find(peer.public_key)
            static += record is not None and not record.is_session
            if number % _PEERS_PER_TURN == 0:
                await trio.lowlevel.checkpoint()
        stats = self._device.pump.stats()
        return _Reading(at_ns, counted, stats.tun_packets_in, stats.tun_packets_out, static)


def _rates(before: _Reading, now: _Reading) -> dict[str, Any]:
    """Per second, between two readings. A peer that came or went between them counts from or to nothing."""
    seconds = (now.at_ns - before.at_ns) / _NS_PER_SECOND

    def speed(amount: int) -> int:
        return round(amount / seconds) if seconds > 0 else 0

    moved = [0, 0]
    for key, counts in now.bytes.items():
        for way, (new, old) in enumerate(zip(counts, before.bytes.get(key, (0, 0)), strict=True)):
            moved[way] += max(0, new - old)
    return {
        "over_seconds": round(seconds, 3),
        "to_clients_bytes_per_second": speed(moved[0]),
        "from_clients_bytes_per_second": speed(moved[1]),
        "to_clients_packets_per_second": speed(now.packets_to_clients - before.packets_to_clients),
        "from_clients_packets_per_second": speed(now.packets_from_clients - before.packets_from_clients),
    }


def _seconds(span_ns: int) -> int:
    return max(0, span_ns) // _NS_PER_SECOND


def _moment(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // _NS_PER_SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
