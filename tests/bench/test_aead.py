"""The cipher's bench: its rows, what a machine without a path gives, that its figures are of real work."""

from __future__ import annotations

import json

import pytest

from bench import aead
from bench.aead import GATES, SHAPES, Batch, Shape
from bench.process import LabError
from tests.crypto_ext import engines


def test_every_path_has_its_gate_on_full_packets_in_batches_of_8_and_more():
    judged = [shape for shape in SHAPES if shape.judged]
    assert {len(shape.lengths) for shape in judged} == {8, 64}
    assert all(set(shape.lengths) == {1420} for shape in judged)
    assert {path: gate for path, (gate, _) in GATES.items()} == {"avx512": 3.5, "avx2": 1.6}


def test_rows_of_a_path_that_is_not_to_be_had_have_no_figures_and_no_verdict(monkeypatch):
    samples = [(2000.0, 1000.0), (2100.0, 1000.0)]
    monkeypatch.setattr(
        aead, "measure_elsewhere", lambda path, runs: {name: samples for name, _, _ in aead.rows_of(path)}
    )
    monkeypatch.setattr(aead, "cpu_can_run", lambda path, cpuinfo: path == "avx2")
    said = []
    rows = {row.name: row.as_json() for row in aead.measure(2, said.append)}
    missing, there = rows["avx512 seal 1420 B x 8"], rows["avx2 open 1420 B x 64"]
    assert [missing[key] for key in ("ours", "peer", "ratio", "spread", "holds")] == [None] * 5
    assert missing["gate"] == 3.5
    assert there["holds"] is True
    assert there["ratio"] == 2.05
    assert any("cannot run" in line for line in said)


@pytest.mark.parametrize("path", ["portable", "auto", "libcrypto"])
def test_a_batch_seals_and_opens(path):
    batch = Batch(path, Shape("small", (64, 100)))
    assert (batch.packets, batch.bytes) == (2, 164)
    for operation in aead.OPERATIONS:
        assert batch.repeat(operation, 3, batch.packets) > 0
        assert batch.slice(operation) > 0


def test_a_path_that_is_not_there_is_told_in_a_line():
    with pytest.raises(LabError, match="rot13 cannot be made"):
        Batch("rot13", Shape("one", (64,)))


def test_what_a_path_needs_of_the_cpu_is_what_the_code_needs():
    assert aead.INSTRUCTIONS == engines.NEEDS
    only_avx2 = "processor : 0\nflags\t\t: fpu avx2 bmi2 avx512f\n"
    assert [aead.cpu_can_run(path, only_avx2) for path in ("avx512", "avx2", "portable")] == [
        False,
        True,
        True,
    ]
    assert not aead.cpu_can_run("avx2", "CPU implementer : 0x41\n")  # no x86


def test_a_path_that_the_cpu_has_and_that_cannot_be_made_is_no_row_without_figures(monkeypatch):
    monkeypatch.setattr(aead, "GATES", {"rot13": (1.0, 2.0)})
    with pytest.raises(LabError, match="the cipher's path rot13 cannot be made: this machine"):
        aead.measure(1, lambda line: None)


def test_a_missing_libcrypto_is_no_row_without_figures(monkeypatch, capsys):
    class Fake:
        def __init__(self, path, shape):
            if path == "libcrypto":
                raise LabError("no libcrypto")

    monkeypatch.setattr(aead, "Batch", Fake)
    assert aead.main(["avx2", "1"]) == aead.FAILED
    assert capsys.readouterr().out == "no libcrypto\n"


def test_a_measuring_process_that_died_is_told_by_its_code(monkeypatch):
    class Died:
        returncode, stdout = -11, ""

    monkeypatch.setattr(aead.subprocess, "run", lambda words, **_: Died)
    with pytest.raises(LabError, match="measuring avx2 ended with -11"):
        aead.measure_elsewhere("avx2", 1)


def test_libcrypto_says_which_it_is():
    assert aead.libcrypto_version().startswith("OpenSSL ")


def test_samples_are_taken_in_turns(monkeypatch):
    turns = []

    class Fake:
        def __init__(self, path, shape):
            self.path = path

        def slice(self, operation):
            turns.append(self.path)
            return 10.0 if self.path == "libcrypto" else 20.0

    monkeypatch.setattr(aead, "Batch", Fake)
    monkeypatch.setattr(aead, "SHAPES", (Shape("one", (64,)),))
    found = aead.measure_here("avx2", 2, lambda line: None)
    assert found == {f"avx2 {operation} one": [(20.0, 10.0)] * 2 for operation in aead.OPERATIONS}
    assert turns == ["avx2", "libcrypto"] * (2 * 2 * aead.SLICES)


def test_the_process_of_its_own_gives_the_samples(monkeypatch, capsys):
    monkeypatch.setattr(aead, "measure_here", lambda path, runs, say: {path: [(2.0, 1.0)] * runs})
    assert aead.main(["avx2", "2"]) == 0
    assert json.loads(capsys.readouterr().out) == {"avx2": [[2.0, 1.0]] * 2}


def test_avx2_is_measured_against_a_libcrypto_without_avx512(monkeypatch):
    asked = []
    monkeypatch.setenv("OPENSSL_ia32cap", "~0")  # the caller's own holds for no row

    class Done:
        returncode, stdout = 0, "{}"

    monkeypatch.setattr(
        aead.subprocess, "run", lambda words, env, **_: asked.append((words[-2], env)) or Done
    )
    for path in GATES:
        assert aead.measure_elsewhere(path, 1) == {}
    assert [(path, env.get("OPENSSL_ia32cap")) for path, env in asked] == [
        ("avx512", None),
        ("avx2", aead.NO_AVX512),
    ]
