"""A real segmentation fault in a thread of another process, between two instructions of its own.

A signal sent from outside would not do: the pump's thread blocks all of them, SIGSEGV too. But a fault of its
own the kernel does not let it block. So the thread is stopped wherever it is (ptrace(2): PTRACE_SEIZE,
PTRACE_INTERRUPT), its instruction pointer is set to an address where nothing is, and it is let go: the next
instruction faults, as it would after a jump through a bad pointer.
"""

from __future__ import annotations

import ctypes
import os
import platform
import time
from pathlib import Path
from random import Random

SEIZE, INTERRUPT, GETREGSET, SETREGSET, DETACH = 0x4206, 0x4207, 0x4204, 0x4205, 17
CONTINUE = 7
NT_PRSTATUS = 1
WAIT_ALL = 0x40000000  # __WALL: a thread is waited for like a child
NOWHERE = 0x10
OURS = "_native."  # the extension module
LONGEST_PAUSE_SECONDS = 0.002
# Which 64-bit word of NT_PRSTATUS is the instruction pointer (struct user_regs_struct, struct user_pt_regs).
POINTER = {"x86_64": 16, "aarch64": 32}[platform.machine()]

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long


class IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def ptrace(request: int, thread: int, address: int = 0, data: object = None) -> None:
    if libc.ptrace(request, thread, address, data) == -1:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}: {os.strerror(ctypes.get_errno())}")


def pump_thread(pid: int) -> int:
    """The thread that runs the pump: the one with the scheduling policy that it gives itself."""
    threads = [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
    (pump,) = [thread for thread in threads if os.sched_getscheduler(thread) == os.SCHED_BATCH]
    return pump


def fault(pid: int, thread: int, dice: Random, tries: int = 1) -> str:
    """Make the thread fault where it is; gives the name of the file whose code it was in.

    Most moments are in a system call, which is the C library's code. With more tries it is stopped that
    often, a random while apart, until it is found in code of ours.
    """
    words = (ctypes.c_uint64 * 64)()
    registers = IoVec(ctypes.addressof(words), ctypes.sizeof(words))
    ptrace(SEIZE, thread)
    while True:
        ptrace(INTERRUPT, thread)
        os.waitpid(thread, WAIT_ALL)
        ptrace(GETREGSET, thread, NT_PRSTATUS, ctypes.addressof(registers))
        where, tries = mapped_at(pid, words[POINTER]), tries - 1
        if tries <= 0 or where.startswith(OURS):
            break
        ptrace(CONTINUE, thread)
        time.sleep(dice.uniform(0, LONGEST_PAUSE_SECONDS))
    words[POINTER] = NOWHERE
    ptrace(SETREGSET, thread, NT_PRSTATUS, ctypes.addressof(registers))
    ptrace(DETACH, thread)
    return where


def mapped_at(pid: int, address: int) -> str:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, _, rest = line.partition(" ")
        first, _, end = span.partition("-")
        if int(first, 16) <= address < int(end, 16):
            return Path((rest.split(maxsplit=4)[4:] or ["nothing"])[0]).name
    return "nowhere"
