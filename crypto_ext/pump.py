"""`Pump`: every door of crypto_ext/api.h as a method with types.

It decides nothing. A negative errno becomes OSError; descriptors and slots are kept alive as long as C
may use them; the GIL is released in every call, for each may wait for the pump's burst in progress.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from crypto_ext._native import ffi, lib
from crypto_ext.addresses import from_c, to_c
from crypto_ext.words import DROPS, Datagram, End, Endpoint, Event, Notice, Offload, PeerView, Pending, Stats

ABI = 3
_BATCH = 64

if ABI != lib.SP_ABI:
    raise ImportError(f"crypto_ext._native has ABI {lib.SP_ABI}, this program needs {ABI}: build it again")


def _check(result: int) -> int:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def _key(key: bytes) -> bytes:
    if len(key) != lib.SP_KEY_BYTES:
        raise ValueError("a key has 32 bytes")
    return key


class Pump:
    """The data plane: tables, keys, timers and the loop, behind one lock of its own."""

    def __init__(self, *, aead: str = "auto", seed: int) -> None:
        """ValueError when that AEAD path is not to be had here. `seed` feeds timer jitter only."""
        pump = lib.sp_pump_new(aead.encode(), seed & (2**64 - 1))
        if pump == ffi.NULL:
            raise ValueError(f"no pump with AEAD path {aead!r} on this machine")
        self._pump: Any = pump
        self._running = False
        self._slots: dict[int, Any] = {}
        self.aead: str = ffi.string(lib.sp_pump_aead(pump)).decode()
        self.up_fd: int = lib.sp_up_fd(pump)

    def close(self) -> None:
        """Wipe all keys and free everything. RuntimeError while `run` is in progress."""
        if self._running:
            raise RuntimeError("the pump is running: stop it and join its thread first")
        pump, self._pump = self._pump, ffi.NULL
        lib.sp_pump_free(pump)
        self._slots.clear()

    @property
    def _open(self) -> Any:
        if self._pump == ffi.NULL:
            raise ValueError("the pump is closed")
        return self._pump

    # ---- descriptors and the loop

    def set_tun(self, fd: int, offloads: int, mtu: int) -> None:
        """Use this TUN descriptor (non-blocking, stays the caller's); -1 takes it away."""
        _check(lib.sp_pump_set_tun(self._open, fd, offloads, mtu))

    def set_mtu(self, mtu: int) -> None:
        """Padding never goes above it; 0: no limit."""
        _check(lib.sp_pump_set_mtu(self._open, mtu))

    def set_udp(self, fd4: int, fd6: int, offloads: int) -> None:
        """Use these sockets (non-blocking, stay the caller's); -1 for none."""
        _check(lib.sp_pump_set_udp(self._open, fd4, fd6, offloads))

    def step(self, now_ns: int) -> int:
        """One turn. How much was handled; OSError ESHUTDOWN when the TUN is gone."""
        return _check(lib.sp_step(self._open, now_ns))

    def next_deadline(self) -> int:
        """When the next timer is due (CLOCK_BOOTTIME ns); 0: none."""
        return int(lib.sp_next_deadline(self._open))

    def run(self) -> End:
        """Loop until `stop` or a fatal end. Blocks its thread in C, without the GIL, signals blocked."""
        pump = self._open
        if self._running:
            raise RuntimeError("the pump is running already")
        self._running = True
        try:
            return End(_check(lib.sp_run(pump)))
        finally:
            self._running = False

    def stop(self) -> None:
        """End `run`, from any thread, at any time; before it began, it ends at once. Never waits."""
        if self._pump != ffi.NULL:
            lib.sp_stop(self._pump)

    def ping(self) -> None:
        """Ask a running pump for Event.PONG. Never waits."""
        lib.sp_ping(self._open)

    # ---- upward

    def take_events(self) -> Event:
        """What happened since it was last asked."""
        return Event(lib.sp_take_events(self._open))

    def take_datagrams(self) -> list[Datagram]:
        """All waiting handshake messages, oldest first."""
        taken: list[Datagram] = []
        while True:
            raw = ffi.new("struct sp_datagram[]", _BATCH)
            n = lib.sp_take_datagrams(self._open, raw, _BATCH)
            taken.extend(_datagram(raw[i]) for i in range(n))
            if n < _BATCH:
                return taken

    def take_pending(self) -> list[tuple[int, Pending]]:
        """Every peer that waits for something, and for what."""
        taken: list[tuple[int, Pending]] = []
        raw = ffi.new("struct sp_pending[]", _BATCH)
        while True:
            n = lib.sp_take_pending(self._open, raw, _BATCH)
            taken.extend((raw[i].peer, Pending(raw[i].bits)) for i in range(n))
            if n < _BATCH:
                return taken

    def arm_counted(self) -> None:
        """Ask for Event.COUNTED at the next billed byte."""
        lib.sp_arm_counted(self._open)

    def stats(self) -> Stats:
        """Counters since the pump was made."""
        raw = ffi.new("struct sp_stats *")
        lib.sp_pump_stats(self._open, raw)
        counters = {
            name: int(getattr(raw, name)) for name in Stats.__slots__ if name not in ("drops", "notices")
        }
        return Stats(drops=dict(zip(DROPS, raw.drops, strict=True)), notices=Notice(raw.notices), **counters)

    # ---- purses and the gate

    def set_mac1_keys(self, keys: Sequence[bytes]) -> None:
        """The gate's keys: BLAKE2s("mac1----" || our static public key), two while one is rotated."""
        _check(lib.sp_gate_set(self._open, b"".join(_key(key) for key in keys), len(keys)))

    def new_purse(self, bytes_: int) -> int:
        """A purse of that many bytes; UNLIMITED for one that never runs dry."""
        return _check(lib.sp_purse_new(self._open, bytes_))

    def set_purse(self, purse: int, bytes_: int) -> None:
        """Fill it anew, and open it if it was shut."""
        _check(lib.sp_purse_set(self._open, purse, bytes_))

    def purse(self, purse: int) -> tuple[int, bool]:
        """Bytes left, and whether it is shut."""
        left, shut = ffi.new("uint64_t *"), ffi.new("int *")
        _check(lib.sp_purse_get(self._open, purse, left, shut))
        return int(left[0]), bool(shut[0])

    def free_purse(self, purse: int) -> None:
        """OSError EBUSY while a peer uses it."""
        _check(lib.sp_purse_free(self._open, purse))

    # ---- peers

    def add_peer(self, public_key: bytes, slot: memoryview | None = None, purse: int = 0) -> int:
        """A new peer's number. Its counters go to `slot` (256 bytes, kept alive), or to itself.

        FileExistsError when that key is a peer already.
        """
        view = ffi.NULL
        if slot is not None:
            view = ffi.from_buffer("uint64_t[]", slot, require_writable=True)
            if len(view) != lib.SP_SLOT_WORDS:
                raise ValueError("a slot has 256 bytes")
        number = _check(lib.sp_peer_add(self._open, _key(public_key), view, purse))
        self._slots[number] = view
        return number

    def remove_peer(self, peer: int) -> None:
        """Final on return: no packet passes any more, and the counters stand still."""
        _check(lib.sp_peer_remove(self._open, peer))
        self._slots.pop(peer, None)

    def set_endpoint(self, peer: int, endpoint: Endpoint | None) -> None:
        """Where to send to from now on; forgets which address of ours it reached."""
        _check(lib.sp_peer_set_endpoint(self._open, peer, to_c(endpoint)))

    def set_keepalive(self, peer: int, seconds: int, now_ns: int) -> None:
        """Persistent keepalive, 0 for none. Setting it sends one (or wants a key) at once."""
        _check(lib.sp_peer_set_keepalive(self._open, peer, seconds, now_ns))

    def forget_source(self, peer: int) -> None:
        """Let the routing table choose our address again; peer 0: for all peers."""
        _check(lib.sp_peer_forget_source(self._open, peer))

    def allow(self, peer: int, network: IPv4Network | IPv6Network) -> None:
        """Give the peer that prefix, taking it from any other."""
        packed = network.network_address.packed
        _check(lib.sp_peer_allow(self._open, peer, network.version, packed, network.prefixlen))

    def disallow(self, peer: int, network: IPv4Network | IPv6Network) -> None:
        """Take that prefix from the peer; FileNotFoundError when it has not got it."""
        packed = network.network_address.packed
        _check(lib.sp_peer_disallow(self._open, peer, network.version, packed, network.prefixlen))

    def disallow_all(self, peer: int) -> None:
        """Take all its prefixes."""
        _check(lib.sp_peer_disallow_all(self._open, peer))

    def route(self, address: IPv4Address | IPv6Address) -> int:
        """The peer of the longest matching prefix, 0 for none."""
        return int(lib.sp_route(self._open, address.version, address.packed))

    def peer(self, peer: int) -> PeerView:
        """The peer as it is now."""
        raw = ffi.new("struct sp_peer_view *")
        _check(lib.sp_peer_get(self._open, peer, raw))
        fields = {name: int(getattr(raw, name)) for name in PeerView.__slots__ if name != "endpoint"}
        return PeerView(endpoint=from_c(raw.endpoint), **fields)

    # ---- keys and handshakes

    def install(
        self,
        peer: int,
        *,
        send_key: bytes,
        receive_key: bytes,
        local_index: int,
        remote_index: int,
        created_ns: int,
        is_initiator: bool,
        now_ns: int,
    ) -> None:
        """A fresh keypair: current at once for an initiator, next for a responder.

        OSError EADDRINUSE when the local index is taken.
        """
        spec = ffi.new("struct sp_keypair_spec *")
        try:
            ffi.memmove(spec.send_key, _key(send_key), len(send_key))
            ffi.memmove(spec.receive_key, _key(receive_key), len(receive_key))
            spec.local_index, spec.remote_index = local_index, remote_index
            spec.created_ns, spec.is_initiator = created_ns, is_initiator
            _check(lib.sp_peer_install(self._open, peer, spec, now_ns))
        finally:
            lib.sp_wipe(spec, ffi.sizeof("struct sp_keypair_spec"))

    def erase_keys(self, peer: int) -> None:
        """Wipe all keypairs of the peer."""
        _check(lib.sp_peer_erase_keys(self._open, peer))

    def expire_keys(self, peer: int) -> None:
        """Send on none of its keypairs any more; still receive."""
        _check(lib.sp_peer_expire_keys(self._open, peer))

    def drop_staged(self, peer: int) -> None:
        """A handshake was given up: what waited for it is lost."""
        _check(lib.sp_peer_drop_staged(self._open, peer))

    def index_in_use(self, index: int) -> bool:
        """Whether a keypair has that local index."""
        return bool(lib.sp_index_in_use(self._open, index))

    def handshake_out(self, peer: int, message: bytes, *, retry: bool, now_ns: int) -> None:
        """Send a handshake message to the peer's endpoint; OSError EDESTADDRREQ without one."""
        _check(lib.sp_peer_handshake_out(self._open, peer, message, len(message), retry, now_ns))

    def handshake_in(self, peer: int, datagram: Datagram, now_ns: int) -> None:
        """That message was authentic and from this peer, which is now where it came from."""
        _check(lib.sp_peer_handshake_in(self._open, peer, datagram.raw, now_ns))

    def handshake_done(self, peer: int, wall_ns: int) -> None:
        """A handshake was completed at that time of the wall clock."""
        _check(lib.sp_peer_handshake_done(self._open, peer, wall_ns))


def _datagram(raw: Any) -> Datagram:
    source = from_c(getattr(raw, "from"))
    if source is None:
        raise ValueError("a datagram from nowhere")  # the sockets are IPv4 and IPv6; C set its family
    kept = ffi.new("struct sp_datagram *", raw)
    return Datagram(source, bytes(ffi.buffer(raw.data, raw.len)), raw.mac1_key, kept)


__all__ = ["ABI", "Offload", "Pump"]
