"""Programs: run to the end, or kept running beside us with their words in memory; and waiting for things.

`lab` starts everything through here. A `Process` has a session of its own (Ctrl-C at the terminal is ours to
answer, and then we end the programs) and a parent-death signal (when we are killed, it is killed): it
dies with the *thread* that started it, so start programs from the main one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

STOP_SECONDS = 5.0

T = TypeVar("T")


class LabError(Exception):
    """The laboratory could not be built or a condition did not come true: one line says what."""


def wait_for(condition: Callable[[], T], what: str, seconds: float = 10.0, poll_seconds: float = 0.02) -> T:
    """Ask until `condition` gives something true, and return that; LabError naming `what` otherwise."""
    deadline = time.monotonic() + seconds
    while True:
        last = time.monotonic() > deadline  # asked once more: the machine may have stood still meanwhile
        value = condition()
        if value:
            return value
        if last:
            raise LabError(f"not within {seconds:g} s: {what}")
        time.sleep(poll_seconds)


def run(
    argv: Sequence[str],
    *,
    input_text: str | None = None,
    check: bool = True,
    seconds: float = 30.0,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; with `check`, a non-zero end is a LabError with its last words."""
    try:
        done = subprocess.run(
            list(argv),
            input=input_text or "",
            capture_output=True,
            text=True,
            timeout=seconds,
            env=environment(env),
            cwd=cwd,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(argv)}: still running after {seconds:g} s") from None
    if check and done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise LabError(f"{' '.join(argv)}: exit {done.returncode}: {words[-1] if words else 'no words'}")
    return done


def environment(extra: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if extra is None else {**os.environ, **extra}


class Process:
    """A program running on a host. Its stdout and stderr go to memory, so that it never blocks on us."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.argv = tuple(argv)
        self._out = os.memfd_create("stdout")
        self._err = os.memfd_create("stderr")
        self._open_descriptors: tuple[int, ...] = (self._out, self._err)
        self._popen = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
            env=environment(env),
            cwd=cwd,
        )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def stdout_bytes(self) -> bytes:
        return _content(self._out)

    @property
    def stdout(self) -> str:
        return _content(self._out).decode(errors="replace")

    @property
    def stderr(self) -> str:
        return _content(self._err).decode(errors="replace")

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self._popen.poll()

    def wait(self, seconds: float = 10.0) -> int:
        """Its exit code; LabError when it does not end in time."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise LabError(f"still running after {seconds:g} s: {' '.join(self.argv)}") from None

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and gone on return."""
        self._popen.kill()
        self._popen.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = STOP_SECONDS) -> int:
        """Ask it to end and give its exit code; killed, and a LabError, when it does not obey."""
        self._popen.send_signal(number)
        try:
            return self.wait(seconds)
        except LabError:
            self.kill()
            raise

    def close(self) -> None:
        """End it whatever it takes and give back its memory: what it said is gone. May be called again."""
        if self._popen.poll() is None:
            try:
                self.stop(seconds=2.0)
            except LabError:
                pass
        for descriptor in self._open_descriptors:
            os.close(descriptor)
        self._open_descriptors = ()


def _content(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    content = b""
    while len(content) < size:  # one pread gives at most 2 GiB
        content += os.pread(descriptor, size - len(content), len(content))
    return content
