"""Names of the laboratory: unique, short enough, and recognised when their maker is gone."""

from __future__ import annotations

import os

import pytest

from bench.lab import Lab, stale_names
from bench.process import LabError


def test_names_fit_an_interface_and_never_repeat():
    labs = [Lab() for _ in range(30)]
    names = [lab.name("w") for lab in labs for _ in range(20)]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 15
    assert all(str(os.getpid()) in name for name in names)


def test_a_name_that_would_not_fit_is_refused():
    with pytest.raises(LabError, match="too long"):
        Lab().name("averylongsuffix")


def test_only_names_of_dead_makers_are_stale():
    names = ["sp100a0c", "sp100a3w.sock", "sp200b1e", "sally0", "sp", "spare", "sp100", "xsp100a0", "sp300a1"]
    stale = stale_names(names, own_pid=300, alive=lambda pid: pid == 200)
    assert stale == ["sp100a0c", "sp100a3w.sock"]


def test_what_a_lab_names_it_also_recognises():
    names = [Lab().name(suffix) for suffix in ("c", "w", "v", "")]
    assert stale_names(names, own_pid=-1, alive=lambda pid: False) == names
