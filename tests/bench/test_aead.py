"""The cipher's bench: its rows, what a machine without a path gives, that its figures are of real work."""

from __future__ import annotations

import json

import pytest

from bench import aead
from bench.aead import GATES, SHAPES, Batch, Shape


def test_every_path_has_its_gate_on_full_packets_in_batches_of_8_and_more():
    judged = [shape for shape in SHAPES if shape.judged]
    assert {len(shape.lengths) for shape in judged} == {8, 64}
    assert all(set(shape.lengths) == {1420} for shape in judged)
    assert {path: gate for path, (gate, _) in GATES.items()} == {"avx512": 3.5, "avx2": 1.6}


def test_rows_of_a_path_that_is_not_to_be_had_have_no_figures_and_no_verdict(monkeypatch):
    samples = [(2000.0, 1000.0), (2100.0, 1000.0)]
    found = {name: samples for name, _, _ in aead.rows_of("avx2")}
    monkeypatch.setattr(aead, "measure_elsewhere", lambda path, runs: found if path == "avx2" else {})
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


def test_a_path_that_is_not_there_is_a_value_error():
    with pytest.raises(ValueError, match="rot13"):
        Batch("rot13", Shape("one", (64,)))


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


def test_the_process_of_its_own_answers_for_a_path_that_it_cannot_run(capsys):
    assert aead.main(["rot13", "1"]) == 0
    assert json.loads(capsys.readouterr().out) == {}


def test_avx2_is_measured_against_a_libcrypto_without_avx512(monkeypatch):
    asked = []
    monkeypatch.setenv("OPENSSL_ia32cap", "~0")  # the caller's own holds for no row

    class Done:
        stdout = "{}"

    monkeypatch.setattr(
        aead.subprocess, "run", lambda words, env, **_: asked.append((words[-2], env)) or Done
    )
    for path in GATES:
        assert aead.measure_elsewhere(path, 1) == {}
    assert [(path, env.get("OPENSSL_ia32cap")) for path, env in asked] == [
        ("avx512", None),
        ("avx2", aead.NO_AVX512),
    ]
