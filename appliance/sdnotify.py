"""Telling systemd how we are: the sd_notify protocol (sd_notify(3)), one datagram per message.

Does nothing when NOTIFY_SOCKET is not set, so callers need not ask whether systemd is there.
"""

from __future__ import annotations

import os
import socket


def notify(*assignments: str) -> bool:
    """Send `READY=1`, `STATUS=...` and the like; True when a service manager was there to hear it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto("\n".join(assignments).encode(), address)
        except OSError:  # a manager that does not listen is its own affair; we serve on
            return False
    return True


def watchdog_interval_seconds() -> float | None:
    """How often to say WATCHDOG=1 (half of what the manager allows); None: not asked for."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or int(microseconds) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 2_000_000
