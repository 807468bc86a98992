"""Names of the laboratory: unique, short enough, and recognised when their maker is gone."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from bench import lab
from bench.lab import Lab, stale_names
from bench.process import LabError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_interrupt_the_cleaning_up(number, monkeypatch):
    monkeypatch.setattr(lab, "sweep_stale", lambda: None)
    before = {each: signal.signal(each, signal.default_int_handler) for each in lab.ENDING}
    done = []

    def interrupted() -> None:
        with Lab() as it:
            it.on_close(lambda: done.append("last"))
            it.on_close(lambda: signal.raise_signal(number))
            it.on_close(lambda: done.append("first"))
            signal.raise_signal(number)

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        with pytest.raises(KeyboardInterrupt):  # afterwards as before
            signal.raise_signal(number)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert done == ["first", "last"]


def test_a_lab_in_another_thread_cleans_up_too(monkeypatch):
    monkeypatch.setattr(lab, "sweep_stale", lambda: None)
    done = []

    def use():
        with Lab() as it:
            it.on_close(lambda: done.append("gone"))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert done == ["gone"]


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
