"""`bench all`: every bench with its defaults, one after the other, in one list of rows."""

from __future__ import annotations

import argparse

from bench import suite
from bench.process import LabError
from bench.registry import Bench
from bench.rows import Row

SHARED = argparse.Namespace(runs=9, json=True, check=False, peer="p", ours="o")


def make(name, asked, *, error=None, default=3, programs=()):
    def add_options(parser):
        parser.add_argument("--seconds", type=int, default=default)

    def run(options, say):
        asked.append((name, options))
        say("a line")
        if error:
            raise LabError(error) if isinstance(error, str) else error
        return [Row(f"{name} row", "ms", "lower", (1.0,), (1.0,), gate=2.0)]

    return Bench(name, f"measures {name}", run, add_options, programs=programs)


def test_each_gets_its_own_defaults_and_what_all_share():
    asked, said = [], []
    rows = suite.measure([make("one", asked), make("two", asked, default=5)], SHARED, said.append)
    assert [(name, options.seconds, options.runs) for name, options in asked] == [
        ("one", 3, 9),
        ("two", 5, 9),
    ]
    assert [(row.bench, row.name) for row in rows] == [("one", "one row"), ("two", "two row")]
    assert "1/2 one: a line" in said
    assert "2/2 two: a line" in said


def test_one_that_fails_leaves_a_failing_row_and_the_next_still_runs():
    asked = []
    rows = suite.measure(
        [make("one", asked, error="no wire\n  here\n"), make("two", asked)], SHARED, lambda line: None
    )
    assert [(row.bench, row.holds) for row in rows] == [("one", False), ("two", True)]
    assert rows[0].name == "not measured: no wire here"


def test_a_bench_with_a_mistake_costs_only_its_own_rows():
    said = []
    benches = [make("one", []), make("two", [], error=KeyError("end")), make("three", [])]
    rows = suite.measure(benches, SHARED, said.append)
    assert [(row.bench, row.holds) for row in rows] == [("one", True), ("two", False), ("three", True)]
    assert rows[1].name == "not measured: KeyError: 'end'"
    assert any("Traceback" in line for line in said)
    assert any("in run" in line for line in said)


def test_who_interrupts_keeps_what_is_finished():
    asked = []
    benches = [make("one", asked), make("two", asked, error=KeyboardInterrupt()), make("three", asked)]
    rows = suite.measure(benches, SHARED, lambda line: None)
    assert [(row.bench, row.holds) for row in rows] == [("one", True), ("two", False), ("three", False)]
    assert rows[2].name == "not measured: interrupted"
    assert [name for name, _ in asked] == ["one", "two"]


def test_all_needs_what_several_need():
    bench = suite.of([make("one", [], programs=("a", "ip")), make("two", [], programs=("ip", "b"))])
    assert bench.name == "all"
    assert bench.needs_root
    assert bench.programs == ("ip",)


def test_a_missing_program_is_told_at_the_start_and_costs_only_the_bench_that_needs_it():
    asked, said = [], []
    benches = [make("one", asked), make("two", asked, programs=("no-such-tool",)), make("three", asked)]
    rows = suite.measure(benches, SHARED, said.append)
    assert said[0] == "two cannot be measured: missing programs: no-such-tool"
    assert [name for name, _ in asked] == ["one", "three"]
    assert [(row.bench, row.name) for row in rows if row.failed] == [
        ("two", "not measured: missing programs: no-such-tool")
    ]
