"""The two rules for names of interfaces, and that nobody has a third."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.core.ifnames import is_plain, is_possible

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", ["sally0", "wg_1", "eth0.100", "a-b", "0", "x" * 15])
def test_plain_names(name: str):
    assert is_plain(name)
    assert is_possible(name)


@pytest.mark.parametrize("name", ['a"b', "sally*", "-x", ".x", "ä", "wg+x", "a=b", "\udcff", "%d"])
def test_names_that_exist_somewhere_but_would_mean_more_in_a_rule(name: str):
    assert is_possible(name)
    assert not is_plain(name)


@pytest.mark.parametrize(
    "name", ["", "x" * 16, "a b", "a\n", "a\tb", "a/b", "a:b", ".", "..", "all", "default", "ä" * 8]
)
def test_names_that_no_interface_has(name: str):
    assert not is_possible(name)
    assert not is_plain(name)


def test_nobody_has_a_rule_of_his_own():
    """Whoever judges a name says how long it may be."""
    length = re.compile(r"\{(0,14|1,15)\}|<= 15\b|> 15\b")
    judges = {path.name for path in (ROOT / "appliance").rglob("*.py") if length.search(path.read_text())}
    assert judges == {"ifnames.py"}
