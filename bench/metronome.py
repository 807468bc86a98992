"""Two ends of a flow on which both speak all the time, a script: `metronome.py PORT [ADDRESS]`.

With an address it speaks to that; without, it waits to be spoken to. From then on each end sends a datagram
every 10 ms, whether it hears anything or not, and prints for each one that comes in when it was sent and when
it came (the monotonic clock, which all namespaces share, in nanoseconds). So it shows to 10 ms since when
packets go that way again, which a TCP transfer, with its pauses that double, does not.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time

BEAT_SECONDS = 0.01
STAMP = struct.Struct("!Q")


def first_sent_after(moment: float, said: str) -> float | None:
    """When the first datagram sent after that moment came, as an end has printed it; None for not yet."""
    for line in said.splitlines(keepends=True):
        if line.endswith("\n"):
            sent, came = (int(word) / 1e9 for word in line.split())
            if sent > moment:
                return came
    return None


def beat(port: int, address: str | None) -> None:
    """For ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        if address is None:
            flow.bind(("", port))
            flow.connect(flow.recvfrom(STAMP.size)[1])
        else:
            flow.connect((address, port))
        due = time.monotonic()
        while True:
            wait = due - time.monotonic()
            if wait > 0:
                if select.select([flow], [], [], wait)[0]:
                    try:
                        sent = flow.recv(STAMP.size)
                    except OSError:  # the other end is not there yet, says ICMP
                        continue
                    print(*STAMP.unpack(sent), time.monotonic_ns(), flush=True)
                continue
            due += BEAT_SECONDS
            try:
                flow.send(STAMP.pack(time.monotonic_ns()))
            except OSError:  # the same, or the tunnel has no room: the next one will do
                continue


if __name__ == "__main__":
    beat(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
