"""What `bench handshake` measures: a responder that really answers; and a short real run of a crowd."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import handshake
from bench.handshake import Mathematics, Program, Responder
from bench.lab import Lab
from bench.process import LabError
from crypto_ext import Symmetric

OURS = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "sallyport-wg"


def test_the_responder_answers_each_message_once() -> None:
    responder = Responder(3)
    for _ in range(3):
        responder.answer()
    responder.rewind()
    for _ in range(3):
        responder.answer()
    with pytest.raises(StopIteration):
        responder.answer()


def test_it_runs_on_what_a_device_gives_its_keys() -> None:
    assert Responder(0)._identity.state_maker is Symmetric


def test_a_refused_message_is_no_measurement() -> None:
    responder = Responder(2)
    responder.answer()
    responder._waiting = iter(responder._messages)  # the same once more: a replay
    with pytest.raises(LabError, match="refused"):
        responder.answer()


def test_a_sample_is_the_median_slice_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "SLICES", 3)
    responder, mathematics = Responder(0), Mathematics()
    values = iter([10.0, 100.0, 20.0, 300.0, 90.0, 200.0])
    monkeypatch.setattr(handshake, "per_second", lambda answer: next(values))
    assert handshake.sample(responder, mathematics) == (20.0, 200.0)


def test_the_mathematics_run() -> None:
    assert handshake.per_second(Mathematics().answer) > 0


def test_gate_and_aim() -> None:
    row = handshake._row("x", [(80.0, 100.0), (81.0, 100.0)], 0.75, 0.9)
    assert row.holds is True
    assert handshake._row("x", [(70.0, 100.0)], 0.75, 0.9).holds is False


@pytest.mark.netns
def test_a_crowd_is_answered_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "CROWD", 20)
    with Lab() as lab:
        program = Program(lab, OURS)
        assert program.sample(2) > 0
        # And again: the stamps go on where they stood.
        assert program.sample(1) > 0
        shown = program._interface.wg("show", "latest-handshakes").splitlines()
        assert len(shown) == 20
