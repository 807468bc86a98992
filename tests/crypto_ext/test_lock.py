"""The ticket lock by itself: it excludes, and it serves in order. (Its races: test_sanitizers_pump.py.)"""

from __future__ import annotations

import threading
from pathlib import Path

import cffi

from tests.crypto_ext.leaf import SOURCE, WARNINGS, compiled

DECLARE = """
struct sp_lock { uint32_t next; uint32_t serving; };
void sp_lock_take(struct sp_lock *lock);
void sp_lock_give(struct sp_lock *lock);
"""


def load() -> tuple[cffi.FFI, object]:
    ffi = cffi.FFI()
    ffi.cdef(DECLARE)
    flags = [*WARNINGS, "-D_GNU_SOURCE", "-O2", "-fPIC", "-shared"]
    return ffi, ffi.dlopen(str(compiled("lock", [Path(SOURCE / "lock.c")], flags)))


def test_it_excludes() -> None:
    ffi, lib = load()
    lock, count = ffi.new("struct sp_lock *"), 0

    def work() -> None:
        nonlocal count
        for _ in range(200):
            lib.sp_lock_take(lock)
            seen = count
            count = seen + 1
            lib.sp_lock_give(lock)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count == 1600
    assert lock.next == lock.serving == 1600


def test_whoever_comes_first_is_served_first() -> None:
    ffi, lib = load()
    lock, order, threads = ffi.new("struct sp_lock *"), [], []
    lib.sp_lock_take(lock)

    def work(number: int) -> None:
        lib.sp_lock_take(lock)
        order.append(number)
        lib.sp_lock_give(lock)

    for number in range(5):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        while lock.next != number + 2:
            pass  # until it has drawn its ticket
    assert order == []
    lib.sp_lock_give(lock)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]
