"""What a bench is to the command line."""

from __future__ import annotations

import argparse

import pytest

from bench.process import LabError
from bench.registry import Bench, whole_number


def test_a_bench_has_no_options_of_its_own_and_compares_nothing_unless_it_says_so():
    bench = Bench("b", "measures b", lambda options, say: [])
    parser = argparse.ArgumentParser()
    bench.add_options(parser)
    assert vars(parser.parse_args([])) == {}
    assert (bench.needs_root, bench.compares, bench.programs) == (True, False, ())


def test_programs_that_are_missing_are_named():
    Bench("b", "measures b", lambda options, say: [], programs=("sh",)).look_for_programs()
    with pytest.raises(LabError, match="missing programs: no-such nor-this"):
        Bench("b", "", lambda options, say: [], programs=("no-such", "sh", "nor-this")).look_for_programs()


def test_whole_numbers_from_a_lowest_up():
    assert whole_number(1)("1") == 1
    for text in ("0", "-3", "x", "1.5", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="from 1 up"):
            whole_number(1)(text)
