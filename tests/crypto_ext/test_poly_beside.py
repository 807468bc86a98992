"""poly_beside.c: which packet absorbs blocks beside the next group of lanes, and how many of its own."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tests.conftest import CPU_LACKS
from tests.crypto_ext import engines, leaf, poly_twin

pytestmark = pytest.mark.skipif("avx2" not in engines.HERE, reason=f"{CPU_LACKS} avx2, which alone does")

DECLARE = engines.DECLARE + """
struct sp_cursor { const struct sp_run *run, *end; uint32_t done; };
uint32_t sp_poly_beside(struct sp_queue *queue, const struct sp_run *runs, const struct sp_cursor *at);
"""
DOUBLE_ROUNDS, BLOCKS_BESIDE = 10, 3


class Bench:
    """A queue of packets of these lengths: `earlier` ones, all there, then those of the runs in progress."""

    def __init__(self, earlier: Sequence[int], now: Sequence[int] = (), *, opening: bool = False) -> None:
        self.ffi, self.lib = leaf.load(extra="leaf_engines.c", declare=DECLARE)
        noise = random.Random(9)
        lengths = [*earlier, *now]
        self.macs = self.ffi.new("struct sp_mac[]", len(lengths) + 1)
        self.runs = self.ffi.new("struct sp_run[]", len(now) + 1)
        self.texts = [noise.randbytes(length) for length in lengths]
        self.kept = [
            tuple(self.ffi.new("uint8_t[]", data) for data in (noise.randbytes(32), text or b"-", bytes(16)))
            for text in self.texts
        ]
        for slot, length, (key, text, tag) in zip(self.macs, lengths, self.kept, strict=False):
            slot.key, slot.text, slot.tag, slot.len = key, text, tag, length
        for run, length in zip(self.runs, now, strict=False):
            run.blocks = 1 + -(-length // 64)
            setattr(run, "in", 0 if opening else 1)
            run.tail = self.kept[0][2] if length % 64 and not opening else self.ffi.NULL
        late = self.macs + len(earlier)
        self.queue = self.ffi.new(
            "struct sp_queue *", {"next": self.macs, "late": late, "end": self.macs + len(lengths)}
        )
        self.late = late

    def beside(self, run: int = 0, done: int = 0) -> int:
        """In how many double rounds, when the runs are written as far as block `done` of that one."""
        at = self.ffi.new("struct sp_cursor *", {"run": self.runs + run, "done": done})
        return int(self.lib.sp_poly_beside(self.queue, self.runs, at))

    @property
    def front(self) -> int:
        return int(self.queue.next - self.macs)

    def has_tag(self, number: int) -> bool:
        key, _, tag = self.kept[number]
        return bytes(tag)[:16] == poly_twin.tag(bytes(key)[:32], self.texts[number])


def test_nothing_waits() -> None:
    assert Bench([]).beside() == 0


@pytest.mark.parametrize(("length", "rounds"), [(48, 1), (95, 1), (96, 2), (479, 9), (480, 10), (1420, 10)])
def test_what_an_earlier_packet_has_is_used_as_far_as_there_are_rounds(length: int, rounds: int) -> None:
    bench = Bench([length])
    assert bench.beside() == rounds
    assert bench.queue.begun == 1
    assert bench.front == 0


def test_earlier_packets_too_short_for_a_round_are_finished_on_the_way() -> None:
    bench = Bench([0, 47, 16, 200])
    assert bench.beside() == 4
    assert bench.front == 3
    assert [bench.has_tag(number) for number in range(4)] == [True] * 3 + [False]


def test_a_packet_without_its_key_waits() -> None:
    bench = Bench([], [640, 640])
    assert bench.beside(0, 0) == 0
    assert bench.queue.begun == 0


@pytest.mark.parametrize(("done", "rounds"), [(1, 0), (2, 1), (4, 4), (8, 9), (9, 10), (11, 10)])
def test_what_is_sealed_is_absorbed_as_far_as_it_is_written(done: int, rounds: int) -> None:
    assert Bench([], [640, 640]).beside(0, done) == rounds


def test_what_was_absorbed_before_is_not_counted_again() -> None:
    bench = Bench([], [640])
    assert bench.beside(0, 4) == 4
    bench.queue.poly.blocks -= 4 * BLOCKS_BESIDE  # as the rounds do
    assert bench.beside(0, 4) == 0
    assert bench.beside(0, 5) == 1


def test_the_last_block_of_a_sealed_text_is_not_there_while_it_is_key_stream_in_a_tail() -> None:
    whole, odd = Bench([], [128, 640]), Bench([], [100, 640])
    assert whole.beside(1, 8) == 8 // BLOCKS_BESIDE
    assert odd.beside(1, 8) == 4 // BLOCKS_BESIDE


def test_a_text_to_be_opened_waits_for_its_key_only() -> None:
    bench = Bench([], [640, 640], opening=True)
    assert bench.beside(0, 0) == 0
    assert bench.beside(0, 1) == DOUBLE_ROUNDS


def test_the_front_is_kept_while_it_belongs_to_the_call_in_progress() -> None:
    """Its tail is not there; it is finished when the next call has made it an earlier one."""
    bench = Bench([], [20, 640])
    assert bench.beside(1, 8) == 0
    assert bench.front == 0
    bench.queue.late = bench.queue.end
    assert bench.beside() == DOUBLE_ROUNDS
    assert bench.front == 1
    assert bench.has_tag(0)
