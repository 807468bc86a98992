"""The counter file: bound slots outlive the process, and nothing in it can be half true."""

from __future__ import annotations

import errno
import os
import re
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from appliance import slots as slots_module
from appliance.core.accounting import Counts
from appliance.errors import StateError
from appliance.slots import BOUND, SLOT_WORDS, NoFreeSlot, Slot, SlotFile, default_path, slots_for


def test_words_are_those_of_the_c_side():
    text = (Path(__file__).parents[2] / "crypto_ext" / "api.h").read_text()
    words = {name: int(value) for name, value in re.findall(r"SP_SLOT_(\w+) = (\d+)", text)}
    assert words["WORDS"] == SLOT_WORDS
    for name in ("MAGIC", "GENERATION", "SESSION", "BYTES_IN", "BYTES_OUT", "HANDSHAKE_NS"):
        assert getattr(slots_module, f"WORD_{name}") == words[name]
    # Ours alone: C has no name for them.
    assert words["SEEN_NS"] < slots_module.WORD_BEGAN_NS < slots_module.WORD_ENDS_NS < SLOT_WORDS


def test_bound_slots_are_found_again(tmp_path):
    path = tmp_path / "slots"
    file = SlotFile.open(path, 4)
    assert file.same_boot
    slot = file.bind("tb_abcdefghijkl", 3)
    slot.words[6], slot.words[7], slot.words[12] = 2**63 + 5, 7, 99
    gone = file.bind("tb_gone", 1)
    file.free(gone)
    file.close()
    file = SlotFile.open(path, 4)
    (found,) = file.bound()
    assert (found.index, found.session_id, found.generation) == (slot.index, "tb_abcdefghijkl", 3)
    assert (found.counts(), found.handshake_ns()) == (Counts(2**63 + 5, 7), 99)
    assert file.same_boot
    file.close()
    file.close()


@pytest.mark.parametrize("life", [(5_000_000_000, 2**62), (-(2**60), -1), (-1, 0)])
def test_a_slot_remembers_a_life_of_this_boot_or_longer(tmp_path, life):
    file = SlotFile.open(tmp_path / "slots", 1)
    slot = file.bind("tb_one", 1)
    assert slot.life_ns() is None
    slot.note_life(*life)
    file.close()
    file = SlotFile.open(tmp_path / "slots", 1)
    (slot,) = file.bound()
    assert slot.life_ns() == life
    file.free(slot)
    assert file.bind("tb_two", 1).life_ns() is None
    file.close()


def test_a_slot_starts_at_zero(tmp_path):
    file = SlotFile.open(tmp_path / "slots", 1)
    slot = file.bind("tb_first", 1)
    for word in range(6, SLOT_WORDS):
        slot.words[word] = 2**64 - 1
    file.free(slot)
    assert not any(slot.words)
    slot = file.bind("x" * 32, 2)
    assert list(slot.words[6:]) == [0] * 26
    assert (slot.words[0], slot.words[1]) == (BOUND, 2)
    with pytest.raises(NoFreeSlot):
        file.bind("tb_second", 1)
    file.close()
    file = SlotFile.open(tmp_path / "slots", 1)
    assert file.bound()[0].session_id == "x" * 32
    file.close()


def test_a_slot_is_bound_by_its_last_word(tmp_path):
    """Whatever of `bind` happened before a kill: without the magic word the slot is free."""
    file = SlotFile.open(tmp_path / "slots", 2)
    slot = file.bind("tb_half", 1)
    slot.words[0] = 0
    file.close()
    file = SlotFile.open(tmp_path / "slots", 2)
    assert file.bound() == []
    file.bind("tb_one", 1)
    file.bind("tb_two", 1)
    file.close()


def test_the_file_grows_and_never_shrinks(tmp_path):
    path = tmp_path / "slots"
    file = SlotFile.open(path, 2)
    file.bind("tb_kept", 1).words[6] = 42
    file.close()
    file = SlotFile.open(path, 10)
    assert file.count == 10
    file.close()
    file = SlotFile.open(path, 1)
    assert file.count == 10
    assert file.bound()[0].counts() == Counts(42, 0)
    assert path.stat().st_size == 4096 + 10 * 256
    assert path.stat().st_blocks * 512 >= 4096 + 10 * 256
    file.close()


@pytest.mark.parametrize(
    "content", [b"", b"short", bytes(5000), b"x" * 9000, b"SP-slots" + bytes(9000)], ids=str
)
def test_a_damaged_file_begins_anew(tmp_path, content, caplog):
    path = tmp_path / "slots"
    path.write_bytes(content)
    file = SlotFile.open(path, 2)
    assert (file.count, file.bound(), file.same_boot) == (2, [], True)
    assert ("damaged" in caplog.text) == bool(content)
    file.close()


def test_a_file_that_was_cut_begins_anew(tmp_path):
    path = tmp_path / "slots"
    SlotFile.open(path, 50).close()
    os.truncate(path, 4096 + 256)
    file = SlotFile.open(path, 3)
    assert file.count == 3
    file.close()


def test_another_boot_is_noticed_until_it_is_noted(tmp_path):
    path = tmp_path / "slots"
    SlotFile.open(path, 2).close()
    content = bytearray(path.read_bytes())
    content[33] ^= 255
    path.write_bytes(content)
    for same, note in ((False, False), (False, True), (True, False)):
        file = SlotFile.open(path, 2)
        assert file.same_boot is same
        if note:
            file.note_boot()
            assert file.same_boot
        file.close()


def test_modes_under_any_umask(tmp_path):
    old = os.umask(0)
    try:
        SlotFile.open(tmp_path / "slots", 2).close()
    finally:
        os.umask(old)
    assert (tmp_path / "slots").stat().st_mode & 0o7777 == 0o600


def test_files_of_others_are_not_trusted(tmp_path):
    target = tmp_path / "elsewhere"
    target.write_bytes(b"")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(StateError, match="counter file"):
        SlotFile.open(tmp_path / "link", 2)
    os.link(target, tmp_path / "hard")
    with pytest.raises(StateError, match="plain file of this user"):
        SlotFile.open(tmp_path / "hard", 2)
    with pytest.raises(StateError):
        SlotFile.open(tmp_path / "no" / "where", 2)
    with pytest.raises(StateError):
        SlotFile.open(tmp_path, 2)


def test_no_room_is_an_error_here_and_no_signal_later(tmp_path, monkeypatch):
    def full(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StateError, match="No space left"):
        SlotFile.open(tmp_path / "slots", 2)


def test_a_slot_in_use_elsewhere_survives_close(tmp_path):
    """The data plane may hold a slot's memory a little longer than we do."""
    file = SlotFile.open(tmp_path / "slots", 2)
    held = file.bind("tb_held", 1).words[6:8]
    file.close()
    held[0] = 5
    again = SlotFile.open(tmp_path / "slots", 2)
    assert again.bound()[0].counts() == Counts(5, 0)
    again.close()


def test_a_detached_slot_is_nobodys(tmp_path):
    file = SlotFile.open(tmp_path / "slots", 1)
    slot = Slot.detached("tb_detached", 4)
    assert (slot.counts(), slot.handshake_ns(), slot.generation) == (Counts(), 0, 4)
    file.free(slot)
    assert file.bind("tb_real", 1).index == 0
    file.close()


def test_where_the_file_lies(tmp_path):
    one, two = default_path(tmp_path / "a"), default_path(tmp_path / "b")
    assert one != two
    assert one == default_path(tmp_path / "a" / ".." / "a")
    assert one.parent in (Path("/run/sallyport"), Path("/dev/shm"))


def test_how_many_slots():
    assert slots_for(IPv4Network("10.0.0.0/24")) > 253
    assert slots_for(IPv4Network("10.0.0.0/8")) == 65_536


def test_an_empty_file_goes_at_an_orderly_end_and_one_with_counters_stays(tmp_path: Path) -> None:
    path = tmp_path / "slots"
    slots = SlotFile.open(path, 4)
    slot = slots.bind("tb_x", 1)
    slots.remove_if_empty()
    assert path.exists()
    slots.free(slot)
    slots.remove_if_empty()
    assert not path.exists()
    slots.close()
