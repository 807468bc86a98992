"""The loop in its own thread: stop, wake, sleep without waking, the ends it may come to."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from crypto_ext import End, Event, Offload, Pending
from tests.crypto_ext.conftest import Fault
from tests.crypto_ext.rig import Rig, Side, endpoint, udp_packet, udp_socket

PATIENCE_SECONDS = 10


class Runner(threading.Thread):
    def __init__(self, side: Side) -> None:
        super().__init__()
        self.side, self.end, self.error = side, -1, None

    def run(self) -> None:
        try:
            self.end = self.side.pump.run()
        except OSError as error:
            self.error = error

    def ended(self) -> int:
        self.join(PATIENCE_SECONDS)
        assert not self.is_alive()
        return self.end


@contextlib.contextmanager
def running(*sides: Side) -> Iterator[list[Runner]]:
    runners = [Runner(side) for side in sides]
    for runner in runners:
        runner.start()
    try:
        yield runners
    finally:
        for runner in runners:
            runner.side.pump.stop()
        for runner in runners:
            runner.join()


def clocked() -> Rig:
    """A rig whose keys are made now, on the real clock."""
    rig = Rig(keys=False)
    rig.now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    rig.shake()
    return rig


def readable(fd: int | Side) -> bool:
    return bool(select.select([fd.tun if isinstance(fd, Side) else fd], [], [], PATIENCE_SECONDS)[0])


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_packets_flow_between_two_running_pumps() -> None:
    with clocked() as rig, running(rig.a, rig.b):
        for _ in range(50):
            rig.a.write(udp_packet(100))
            assert readable(rig.b)
            assert [p for _, p in rig.b.read()] == [udp_packet(100)]
            rig.b.write(udp_packet(100, back=True))
            assert readable(rig.a)
            rig.a.read()


def test_stop_ends_it_also_before_it_began() -> None:
    with clocked() as rig:
        with running(rig.a) as (runner,):
            until(lambda: rig.a.pump.stats().sleeps > 0)
            rig.a.pump.stop()
            assert runner.ended() == End.STOPPED
        rig.a.pump.stop()
        assert rig.a.pump.run() == End.STOPPED


def test_it_runs_once_and_is_not_freed_meanwhile() -> None:
    with clocked() as rig, running(rig.a):
        until(lambda: rig.a.pump.stats().sleeps > 0)
        with pytest.raises(RuntimeError):
            rig.a.pump.run()
        with pytest.raises(RuntimeError):
            rig.a.pump.close()


def test_ping_is_answered() -> None:
    with clocked() as rig, running(rig.a):
        for _ in range(3):
            rig.a.pump.ping()
            assert readable(rig.a.pump.up_fd)
            assert rig.a.pump.take_events() == Event.PONG


def test_idle_it_is_never_woken() -> None:
    with clocked() as rig, running(rig.a):
        looks = [-1, rig.a.pump.stats().sleeps]
        while looks[-1] != looks[-2]:  # what the start has set going comes to rest first
            time.sleep(0.1)
            looks.append(rig.a.pump.stats().sleeps)
        before = rig.a.pump.stats()
        time.sleep(0.3)
        after = rig.a.pump.stats()
        assert (after.turns, after.sleeps) == (before.turns, before.sleeps)


def test_a_deadline_wakes_it() -> None:
    with clocked() as rig, running(rig.a):
        until(lambda: rig.a.pump.stats().sleeps > 0)
        rig.a.pump.erase_keys(rig.a.peer)
        rig.a.pump.set_keepalive(rig.a.peer, 1, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        assert rig.a.pump.take_pending() == [(rig.a.peer, Pending.KEY)]
        assert readable(rig.a.pump.up_fd)  # nobody else would have woken it
        assert rig.a.pump.take_pending() == [(rig.a.peer, Pending.KEY)]


def test_it_follows_new_descriptors_while_it_sleeps() -> None:
    with clocked() as rig, running(rig.a, rig.b), udp_socket("127.0.0.1") as fresh:
        until(lambda: rig.b.pump.stats().sleeps > 0)
        rig.b.pump.set_udp(fresh.fileno(), -1, Offload.UDP_GSO)
        rig.a.pump.set_endpoint(rig.a.peer, endpoint(fresh))
        rig.a.write(udp_packet(100))
        assert readable(rig.b)
        rig.b.pump.set_udp(-1, -1, 0)


def test_a_tun_that_goes_ends_it() -> None:
    with clocked() as rig, running(rig.a) as (runner,):
        until(lambda: rig.a.pump.stats().sleeps > 0)
        rig.a.tun.close()
        assert runner.ended() == End.TUN_GONE


def test_a_socket_that_is_none_ends_it() -> None:
    with clocked() as rig, running(rig.a) as (runner,):
        until(lambda: rig.a.pump.stats().sleeps > 0)
        reader, writer = os.pipe()
        rig.a.pump.set_udp(reader, -1, 0)
        os.write(writer, b"x")
        assert runner.ended() == End.UDP_GONE
        os.close(reader)
        os.close(writer)


def test_a_descriptor_that_fails_for_ever_is_left_alone(faults: Callable[..., None]) -> None:
    with clocked() as rig, running(rig.a):
        until(lambda: rig.a.pump.stats().sleeps > 0)
        faults(Fault.TUN_READ, 5)  # EIO, with a packet that stays readable
        before, began = rig.a.pump.stats().turns, time.monotonic()
        rig.a.write(udp_packet(100))
        time.sleep(0.3)
        assert rig.a.pump.stats().turns - before < 100 * (time.monotonic() - began)


def test_signals_are_for_others() -> None:
    heard = threading.Event()
    old = signal.signal(signal.SIGUSR1, lambda *_: heard.set())
    try:
        with clocked() as rig, running(rig.a) as (runner,):
            until(lambda: rig.a.pump.stats().sleeps > 0)
            with open(f"/proc/self/task/{runner.native_id}/status", encoding="ascii") as status:
                blocked = next(int(line.split()[1], 16) for line in status if line.startswith("SigBlk"))
            assert blocked >> (signal.SIGUSR1 - 1) & 1
            assert blocked >> (signal.SIGINT - 1) & 1
            os.kill(os.getpid(), signal.SIGUSR1)
            until(heard.is_set)
            assert runner.is_alive()
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_the_thread_is_scheduled_for_batches_while_it_runs() -> None:
    with clocked() as rig, running(rig.a) as (runner,):
        until(lambda: rig.a.pump.stats().sleeps > 0)
        assert runner.native_id is not None
        assert os.sched_getscheduler(runner.native_id) == os.SCHED_BATCH
        assert os.sched_getscheduler(threading.get_native_id()) != os.SCHED_BATCH


def test_a_control_thread_is_not_starved_by_traffic() -> None:
    with clocked() as rig, running(rig.a, rig.b):
        done = threading.Event()

        def feed() -> None:
            while not done.is_set():
                with contextlib.suppress(BlockingIOError):
                    rig.a.write(*(udp_packet(1400) for _ in range(32)))
                rig.b.read()

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            worst = 0.0
            for n in range(200):
                began = time.monotonic()
                rig.a.pump.remove_peer(rig.a.pump.add_peer(n.to_bytes(32, "big")))
                worst = max(worst, time.monotonic() - began)
            assert worst < 5  # it ends at all: with an unfair lock it may not
        finally:
            done.set()
            feeder.join()
