"""Counters that survive us: the memory-mapped file in which the data plane counts billed bytes.

The file lies on a tmpfs and outlives the process, so that whatever was counted when it was killed is
there at the next start. Its space is allocated before it is mapped (a full disk gives an error here, not a
SIGBUS in mid-packet). Page 0 is the header; then come slots of 32 little-endian 64-bit words each:
enum sp_slot_word in crypto_ext/api.h.

A slot's life: `bind` zeroes the counters, writes generation and session id and, last of all, the magic
word, so that a slot is either wholly bound or free at every instant; then the peer is installed and C adds to
it; `free` clears the magic word, and is called only after the commit that settled the slot.
Words are read through a memoryview of 64-bit items, one aligned load each: never torn, no lock.

The header remembers the boot. A file from another boot (a /run that is no tmpfs) may be older than the
ledger; its counters are still true, but a session must not go on counting on them (`same_boot`). It stays
one of another boot until a start has taken up all that is in it (`note_boot`), however often one dies
before. Within one boot a slot also tells when its session began and ends on the boot clock, so that not even
a restart makes it follow the steps of the wall clock.

`control` decides what is bound and settled; nobody else writes here.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import mmap
import os
import stat
from collections import deque
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final, Self

from appliance.core.accounting import Counts
from appliance.errors import StateError
from appliance.log import event

logger = logging.getLogger("sallyport.slots")

SLOT_WORDS: Final = 32
SLOT_BYTES: Final = SLOT_WORDS * 8
BOUND: Final = int.from_bytes(b"SP-bound", "little")

WORD_MAGIC: Final = 0
WORD_GENERATION: Final = 1
WORD_SESSION: Final = 2  # .. 5: the session id, ASCII, zero padded
WORD_BYTES_IN: Final = 6
WORD_BYTES_OUT: Final = 7
WORD_HANDSHAKE_NS: Final = 12
# Words that C knows nothing of. Boot-clock times, signed: a session may be older than the boot.
WORD_BEGAN_NS: Final = 30
WORD_ENDS_NS: Final = 31
_SESSION_ID_BYTES: Final = 32

_HEADER_BYTES: Final = 4096
_HEADER_WORDS: Final = _HEADER_BYTES // 8
_FILE_MAGIC: Final = int.from_bytes(b"SP-slots", "little")
_FILE_VERSION: Final = 1
# Words of the header: magic, version, bytes of a slot, number of slots, boot id (two words).
_H_MAGIC, _H_VERSION, _H_SLOT_BYTES, _H_COUNT, _H_BOOT = range(5)

_DETACHED: Final = -1

_MOST_SLOTS: Final = 65_536  # 16 MiB of memory; more sessions than one exit carries
_SPARE_SLOTS: Final = 64  # a session that supersedes another holds a slot beside it for a moment


class NoFreeSlot(Exception):
    """Every slot is bound."""


@dataclass(frozen=True, eq=False)
class Slot:
    """One bound slot: who counts in it, and its words."""

    index: int
    session_id: str
    generation: int
    words: memoryview

    @classmethod
    def detached(cls, session_id: str, generation: int) -> Self:
        """A slot outside the file, for a session that no peer will count for."""
        return cls(_DETACHED, session_id, generation, memoryview(bytearray(SLOT_BYTES)).cast("Q"))

    def counts(self) -> Counts:
        """What has been billed on it so far."""
        return Counts(self.words[WORD_BYTES_IN], self.words[WORD_BYTES_OUT])

    def note_life(self, began_boot_ns: int, ends_boot_ns: int) -> None:
        """Remember when the session began and ends, on the clock of this boot."""
        self.words[WORD_BEGAN_NS], self.words[WORD_ENDS_NS] = began_boot_ns % 2**64, ends_boot_ns % 2**64

    def life_ns(self) -> tuple[int, int] | None:
        """When it began and ends, as noted; None when it was not."""
        began, ends = (_signed(self.words[word]) for word in (WORD_BEGAN_NS, WORD_ENDS_NS))
        return None if began == ends == 0 else (began, ends)

    def handshake_ns(self) -> int:
        """Wall clock of the last completed handshake, 0 for never."""
        return int(self.words[WORD_HANDSHAKE_NS])


class SlotFile:
    """The mapped file. `open` makes, checks or grows it."""

    def __init__(self, path: Path, memory: mmap.mmap) -> None:
        self.path = path
        self._memory = memory
        self._words = memoryview(memory).cast("Q")
        self.count = int(self._words[_H_COUNT])
        self.same_boot = tuple(self._words[_H_BOOT : _H_BOOT + 2]) == _boot_words()
        self._bound: dict[int, Slot] = {}
        self._free: deque[int] = deque()
        for index in range(self.count):
            if self._slot_words(index)[WORD_MAGIC] == BOUND:
                self._bound[index] = self._read(index)
            else:
                self._free.append(index)

    @classmethod
    def open(cls, path: Path, slots: int) -> Self:
        """Map the file at `path` with room for at least `slots` slots; what is bound in it stays."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(path, flags, 0o600)
            try:
                return cls(path, _map(fd, path, slots))
            finally:
                os.close(fd)
        except OSError as error:
            raise StateError(f"the counter file {path} cannot be used: {error.strerror}") from error

    def note_boot(self) -> None:
        """Everything that an earlier boot left is taken up: from now on the file is of this one."""
        self._words[_H_BOOT], self._words[_H_BOOT + 1] = _boot_words()
        self.same_boot = True

    def close(self) -> None:
        """Let go of the mapping; a data plane that still holds a slot keeps it alive until it lets go too."""
        for slot in self._bound.values():
            with contextlib.suppress(BufferError):
                slot.words.release()
        self._bound.clear()
        with contextlib.suppress(BufferError):
            self._words.release()
            self._memory.close()

    def remove_if_empty(self) -> None:
        """At an orderly end: a file in which no slot is bound says nothing to the next start."""
        if not self._bound:
            self.path.unlink(missing_ok=True)

    def bind(self, session_id: str, generation: int) -> Slot:
        """Take a free slot for a session, its counters at 0."""
        if not self._free:
            raise NoFreeSlot
        index = self._free.popleft()
        words = self._slot_words(index)
        name = session_id.encode("ascii").ljust(_SESSION_ID_BYTES, b"\0")
        for word in range(WORD_BYTES_IN, SLOT_WORDS):
            words[word] = 0
        for word in range(_SESSION_ID_BYTES // 8):
            words[WORD_SESSION + word] = int.from_bytes(name[8 * word : 8 * word + 8], "little")
        words[WORD_GENERATION] = generation
        words[WORD_MAGIC] = BOUND
        slot = self._bound[index] = Slot(index, session_id, generation, words)
        return slot

    def free(self, slot: Slot) -> None:
        """Give a slot back: its peer is removed and what it counted is committed.

        Everything in it is wiped: where a client came from is kept no longer than its session.
        """
        if slot.index == _DETACHED:
            return
        for word in range(SLOT_WORDS):  # the magic word first
            slot.words[word] = 0
        del self._bound[slot.index]
        self._free.append(slot.index)

    def bound(self) -> list[Slot]:
        """All bound slots, also those that an earlier process left."""
        return list(self._bound.values())

    def _slot_words(self, index: int) -> memoryview:
        first = _HEADER_WORDS + index * SLOT_WORDS
        return self._words[first : first + SLOT_WORDS]

    def _read(self, index: int) -> Slot:
        words = self._slot_words(index)
        name = b"".join(words[WORD_SESSION + n].to_bytes(8, "little") for n in range(_SESSION_ID_BYTES // 8))
        return Slot(index, name.rstrip(b"\0").decode("ascii", "replace"), words[WORD_GENERATION], words)


def default_path(state_dir: Path) -> Path:
    """Where the counters of a state directory lie: /run/sallyport, or /dev/shm where that cannot be had.

    A file that exists wins, so that one that was made under other circumstances is found again.
    """
    name = hashlib.sha256(os.fsencode(os.path.realpath(state_dir))).hexdigest()[:16] + ".slots"
    directory, fallback = Path("/run/sallyport"), Path("/dev/shm") / f"sallyport-{name}"
    if fallback.exists() and not (directory / name).exists():
        return fallback
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return fallback
    return directory / name if os.access(directory, os.W_OK | os.X_OK) else fallback


def slots_for(pool: IPv4Network) -> int:
    """How many slots an exit with this address pool wants."""
    return min(pool.num_addresses + _SPARE_SLOTS, _MOST_SLOTS)


def _map(fd: int, path: Path, slots: int) -> mmap.mmap:
    about = os.fstat(fd)
    # /dev/shm is everybody's directory: a file that somebody else put there is not ours to trust.
    if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or about.st_nlink != 1:
        raise OSError(errno.EPERM, "it is not a plain file of this user")
    os.fchmod(fd, 0o600)
    count = _count_in(fd, about.st_size)
    if count == 0:
        # New, or not whole (a header is finished by its magic word, written last): begin with zeroes.
        if about.st_size > 0:
            event(logger, logging.WARNING, "the counter file is damaged and begins anew", path=path)
        os.ftruncate(fd, 0)
    wanted = max(count, slots)
    size = _HEADER_BYTES + wanted * SLOT_BYTES
    os.posix_fallocate(fd, 0, size)
    memory = mmap.mmap(fd, size)
    with memoryview(memory) as plain, plain.cast("Q") as words:
        if count == 0:
            words[_H_BOOT], words[_H_BOOT + 1] = _boot_words()
        words[_H_VERSION] = _FILE_VERSION
        words[_H_SLOT_BYTES] = SLOT_BYTES
        words[_H_COUNT] = wanted
        words[_H_MAGIC] = _FILE_MAGIC
    return memory


def _count_in(fd: int, size: int) -> int:
    """The number of slots of a good file, 0 for a new, damaged or foreign one."""
    raw = os.pread(fd, 32, 0)
    header = [int.from_bytes(raw[8 * word : 8 * word + 8], "little") for word in range(4)]
    if header[:3] != [_FILE_MAGIC, _FILE_VERSION, SLOT_BYTES]:
        return 0
    return header[_H_COUNT] if size >= _HEADER_BYTES + header[_H_COUNT] * SLOT_BYTES else 0


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


def _boot_words() -> tuple[int, int]:
    text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    raw = bytes.fromhex(text.strip().replace("-", ""))
    return int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little")
