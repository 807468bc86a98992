"""What the kernel knows of a process's threads: how long they ran, and how often they woke up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bench.process import LabError

SWITCHES = re.compile(r"^voluntary_ctxt_switches:\s+(\d+)$", re.MULTILINE)


def _of_each(pid: int, file: str) -> Iterator[str]:
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            yield (thread / file).read_text()
    except OSError as error:
        raise LabError(f"process {pid} is gone, or one of its threads: {error.strerror}") from None


def ran_seconds(pid: int) -> float:
    """CPU time of all living threads, to the nanosecond (what /proc/PID/stat has counts in ticks)."""
    return sum(int(text.split()[0]) for text in _of_each(pid, "schedstat")) / 1e9


def wake_ups(pid: int) -> int:
    """How often living threads gave the processor away by themselves, and so had to be woken again."""
    return sum(int(match[1]) for text in _of_each(pid, "status") if (match := SWITCHES.search(text)))
