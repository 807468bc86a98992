"""A round trip prober: `python -m bench.probe ADDRESS COUNT INTERVAL_US` prints round trips in nanoseconds.

It must time tens of microseconds from Python on a busy machine, so it reads no clock for that. Each echo
request is stamped by the kernel where it enters the network stack's queue (waiting there counts), and
each reply where it leaves the interface's driver (SO_TIMESTAMPING, in the kernel's
Documentation/networking/timestamping.rst). How late the prober itself is scheduled is in neither stamp. The
other end needs no program: its kernel answers the echo.

Requests leave on a schedule of their own, whether the ones before came back or not: a prober that waits
for answers asks least when they take longest, and would miss just that. Gaps vary by a half, so that
nothing periodic is met in step. The prober runs at a real-time priority for the same reason: to ask in time.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import sys
import time
from collections.abc import Sequence

SO_TIMESTAMPING = 37  # SO_TIMESTAMPING_OLD and the type of the control message, <asm-generic/socket.h>
IP_RECVERR = 11  # <linux/in.h>
STAMP = struct.Struct("@qqqqqq")  # struct scm_timestamping: the first of three timespecs is the software one
EXTENDED_ERROR = struct.Struct("@IBBBBII")  # struct sock_extended_err: origin is the 2nd, our number the last
ORIGIN_TIMESTAMPING = 4
# SOF_TIMESTAMPING_...: RX_SOFTWARE, SOFTWARE, OPT_ID, TX_SCHED, OPT_TSONLY
FLAGS = 1 << 3 | 1 << 4 | 1 << 7 | 1 << 8 | 1 << 11
ICMP = struct.Struct("!BBHHH")
ECHO_REQUEST, ECHO_REPLY = 8, 0
PAYLOAD_BYTES = 56  # as ping(8) sends
ROOM = 2048
LAST_WAIT_SECONDS = 1.0
SWITCH_ON_SECONDS = 10.0  # the kernel begins to stamp arrivals a moment after it was asked to; at most this
REAL_TIME_PRIORITY = 10


def checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def request(identifier: int, number: int) -> bytes:
    """An echo request; `number` goes into the 16 bits of the sequence number."""
    body = bytes(PAYLOAD_BYTES)
    head = ICMP.pack(ECHO_REQUEST, 0, 0, identifier, number & 0xFFFF)
    return ICMP.pack(ECHO_REQUEST, 0, checksum(head + body), identifier, number & 0xFFFF) + body


def stamp_ns(controls: Sequence[tuple[int, int, bytes]]) -> int | None:
    """The software time stamp among control messages."""
    for level, kind, data in controls:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPING:
            seconds, nanoseconds, *_ = STAMP.unpack(data[: STAMP.size])
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return None


def sent_number(controls: Sequence[tuple[int, int, bytes]]) -> int | None:
    """Which datagram a departure stamp is of: the count of those sent before it on the socket."""
    for level, kind, data in controls:
        if level == socket.IPPROTO_IP and kind == IP_RECVERR:
            fields = EXTENDED_ERROR.unpack(data[: EXTENDED_ERROR.size])
            if fields[1] == ORIGIN_TIMESTAMPING:
                return int(fields[6])
    return None


def wait_until_arrivals_are_stamped() -> None:
    """A socket has asked the kernel to; it does so for all of them, and begins in the background."""
    end = time.monotonic() + SWITCH_ON_SECONDS
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, FLAGS)
        own.bind(("127.0.0.1", 0))
        while time.monotonic() < end:
            own.sendto(b"x", own.getsockname())
            if stamp_ns(own.recvmsg(ROOM, ROOM)[1]) is not None:
                return
            time.sleep(0.001)


class Prober:
    """One socket toward one address, and the stamps that came so far."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, FLAGS)
        self._socket.connect((address, 0))
        self._socket.setblocking(False)
        wait_until_arrivals_are_stamped()
        self._identifier = os.getpid() & 0xFFFF
        self._count = 0
        self.left_ns: dict[int, int] = {}
        self.back_ns: dict[int, int] = {}

    def ask(self) -> None:
        """Send the next request."""
        try:
            self._socket.send(request(self._identifier, self._count))
        except BlockingIOError:
            return  # no room in the queue: lost, like one that was dropped later
        self._count += 1

    def collect(self) -> None:
        """Take in all stamps that are there."""
        while self._take(socket.MSG_ERRQUEUE):
            pass
        while self._take(0):
            pass

    def _take(self, flags: int) -> bool:
        try:
            data, controls, _, _ = self._socket.recvmsg(ROOM, ROOM, flags)
        except BlockingIOError:
            return False
        stamp = stamp_ns(controls)
        if flags & socket.MSG_ERRQUEUE:
            number = sent_number(controls)
            if stamp is not None and number is not None:
                self.left_ns[number] = stamp
            return True
        icmp = data[(data[0] & 0x0F) * 4 :]
        kind, _, _, identifier, low = ICMP.unpack(icmp[: ICMP.size])
        if stamp is not None and kind == ECHO_REPLY and identifier == self._identifier:
            # The newest request with these low bits: no answer is 65536 requests late.
            self.back_ns[self._count - 1 - ((self._count - 1 - low) & 0xFFFF)] = stamp
        return True

    @property
    def waiting(self) -> bool:
        return len(self.back_ns) < self._count

    def close(self) -> None:
        self._socket.close()


def probe(address: str, count: int, interval_us: int) -> list[int]:
    """Round trip times in the order of the requests that were answered."""
    gaps = random.Random(count)
    prober = Prober(address)
    try:
        at = time.monotonic()
        for _ in range(count):
            prober.ask()
            at += interval_us * gaps.uniform(0.5, 1.5) / 1e6
            time.sleep(max(at - time.monotonic(), 0))
            prober.collect()
        end = time.monotonic() + LAST_WAIT_SECONDS
        while prober.waiting and time.monotonic() < end:
            time.sleep(0.01)
            prober.collect()
        return [
            back - prober.left_ns[number]
            for number, back in sorted(prober.back_ns.items())
            if number in prober.left_ns
        ]
    finally:
        prober.close()


def main(argv: Sequence[str]) -> int:
    address, count, interval_us = argv
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REAL_TIME_PRIORITY))
    print(json.dumps(probe(address, int(count), int(interval_us))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
