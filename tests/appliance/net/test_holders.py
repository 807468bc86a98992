"""Settings that several exits share: the first one's original comes back with the last one's end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.net.holders import Holders

PATH = "net/ipv4/conf/eth0/forwarding"


def test_the_second_learns_what_the_first_found(tmp_path: Path) -> None:
    notes = Holders(lambda _: True, tmp_path)
    assert notes.join(PATH, "a", "0") == "0"
    assert notes.join(PATH, "b", "1") == "0"
    assert not notes.leave(PATH, "a")
    assert notes.leave(PATH, "b")
    assert notes.join(PATH, "b", "1") == "1"  # a new story begins


def test_a_crashed_holder_does_not_count_but_its_note_does(tmp_path: Path) -> None:
    living = {"b"}
    notes = Holders(lambda name: name in living, tmp_path)
    notes.join(PATH, "a", "0")  # crashes, and leaves the setting at 1
    assert notes.join(PATH, "b", "1") == "0"
    assert notes.leave(PATH, "b")


def test_who_else_holds_it(tmp_path: Path) -> None:
    living = {"a", "b"}
    notes = Holders(lambda name: name in living, tmp_path / "notes")
    assert not notes.others(PATH, "a")
    assert not (tmp_path / "notes").exists(), "asking leaves no trace"
    notes.join(PATH, "a", "0")
    assert not notes.others(PATH, "a")
    assert notes.others(PATH, "b")
    living.clear()
    assert not notes.others(PATH, "b"), "it crashed"


def test_settings_are_apart(tmp_path: Path) -> None:
    notes = Holders(lambda _: True, tmp_path)
    notes.join(PATH, "a", "0")
    assert notes.join("net/ipv4/conf/eth1/forwarding", "b", "1") == "1"
    assert notes.leave("net/ipv4/conf/eth1/forwarding", "b")


@pytest.mark.parametrize("rubbish", ["", "{", "[]", '{"original": "0"}'])
def test_a_note_that_makes_no_sense_is_none(tmp_path: Path, rubbish: str) -> None:
    notes = Holders(lambda _: True, tmp_path)
    notes.join(PATH, "a", "0")
    (file,) = tmp_path.iterdir()
    file.write_text(rubbish)
    assert notes.join(PATH, "b", "1") == "1"


def test_where_nothing_can_be_noted_everybody_is_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    notes = Holders(lambda _: True, tmp_path / "file")
    assert notes.join(PATH, "a", "1") == "1"
    assert notes.leave(PATH, "a")


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=20))
def test_after_any_comings_and_goings_the_original_comes_back(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[bool, str]]
) -> None:
    notes = Holders(lambda _: True, tmp_path_factory.mktemp("notes"))
    setting, inside = "0", set[str]()
    for comes, name in [*moves, *((False, name) for name in "abc")]:
        if comes and name not in inside:
            assert notes.join(PATH, name, setting) == "0"
            inside.add(name)
            setting = "1"
        elif not comes and name in inside:
            inside.remove(name)
            last = notes.leave(PATH, name)
            assert last == (not inside)
            if last:
                setting = "0"
    assert setting == "0"
