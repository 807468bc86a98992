"""UDP datagrams as fast as this machine sends them, or at a rate, and counting those that arrive.

iperf3 makes one system call per datagram, sender and receiver, and so measures itself when datagrams are
small. These two hand the kernel a whole array of datagrams per call (sendmmsg, recvmmsg), each still a
datagram of its own to the network: no segmentation offload is asked for. Both are programs of their own:

    python -m bench.blast receive PORT                             prints "ready", counts until it is quiet
    python -m bench.blast send ADDRESS PORT BYTES SECONDS [RATE]   prints how many were sent

What the receiver counts is what was delivered; its time runs from the first datagram to the last.
"""

from __future__ import annotations

import ctypes
import json
import select
import socket
import sys
import time
from collections.abc import Sequence

BATCH = 64  # datagrams per system call
PACED_BATCH = 16  # the same when sending at a rate: a queue need not hold many at once
MOST_BYTES = 2048
QUIET_MS = 300  # after so long without a datagram a run is over
FIRST_MS = 10_000  # so long the first one may take
BUFFER_BYTES = 8 << 20  # asked for; the kernel may give less to somebody who is not root
SO_RCVBUFFORCE = 33


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_Iovec)), ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t), ("flags", ctypes.c_int),
    )  # fmt: skip


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint32))


_libc = ctypes.CDLL(None, use_errno=True)


class Datagrams:
    """An array of datagrams of one size, to be sent or to be filled."""

    def __init__(self, datagram_bytes: int) -> None:
        self._memory = ctypes.create_string_buffer(datagram_bytes * BATCH)
        self._iovecs = (_Iovec * BATCH)()
        self._messages = (_Mmsghdr * BATCH)()
        for i in range(BATCH):
            self._iovecs[i].base = ctypes.addressof(self._memory) + i * datagram_bytes
            self._iovecs[i].length = datagram_bytes
            self._messages[i].header.iov = ctypes.pointer(self._iovecs[i])
            self._messages[i].header.iov_length = 1

    def send(self, descriptor: int, most: int = BATCH) -> int:
        """How many of them the kernel took."""
        return _count(_libc.sendmmsg(descriptor, self._messages, most, 0))

    def receive(self, descriptor: int) -> int:
        """How many were there; 0 when none was."""
        return _count(_libc.recvmmsg(descriptor, self._messages, BATCH, socket.MSG_DONTWAIT, None))


def _count(result: int) -> int:
    """Full queues and refused datagrams are nothing sent, not the end."""
    return max(result, 0)


def send(address: str, port: int, datagram_bytes: int, seconds: float, rate: float | None = None) -> int:
    """Send for so long, as fast as it goes or so many a second; returns how many the kernel took."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.connect((address, port))
        datagrams = Datagrams(datagram_bytes)
        begin, sent = time.monotonic(), 0
        while (spent := time.monotonic() - begin) < seconds:
            if rate is None:
                sent += datagrams.send(own.fileno())
            elif sent > spent * rate:
                time.sleep(sent / rate - spent)
            else:
                sent += datagrams.send(own.fileno(), PACED_BATCH)
    return sent


def receive(port: int) -> tuple[int, float]:
    """Datagrams and the seconds from the first to the last; (0, 0) when none came."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        try:
            own.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        except PermissionError:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        own.bind(("0.0.0.0", port))
        print("ready", flush=True)
        poll = select.poll()
        poll.register(own, select.POLLIN)
        datagrams = Datagrams(MOST_BYTES)
        count, first, last, patience_ms = 0, 0.0, 0.0, FIRST_MS
        while poll.poll(patience_ms):
            now = time.monotonic()
            while got := datagrams.receive(own.fileno()):
                count += got
                last = time.monotonic()
            first = first or now
            patience_ms = QUIET_MS
        return count, last - first


def main(argv: Sequence[str]) -> int:
    match argv:
        case ["send", address, port, datagram_bytes, seconds, *rate]:
            pace = float(rate[0]) if rate else None
            sent = send(address, int(port), int(datagram_bytes), float(seconds), pace)
            print(json.dumps({"sent": sent}))
        case ["receive", port]:
            count, seconds_taken = receive(int(port))
            print(json.dumps({"received": count, "seconds": seconds_taken}))
        case _:
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
