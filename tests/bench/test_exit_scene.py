"""The stage for exits: one that comes up answers, one that does not is an error with its last words."""

from __future__ import annotations

import pytest

from bench import books
from bench.exit_scene import Exit, Scene
from bench.process import LabError

pytestmark = pytest.mark.netns


def test_an_exit_answers_and_one_that_cannot_start_says_why():
    with Scene() as scene:
        running = scene.up()
        token = scene.token()
        made = running.create(token)
        assert running.session(made["id"], token)["bytes_in"] == running.usage(token)["bytes_used"] == 0
        assert [counter.life for counter in books.counters(scene.counter_file)] == [(made["id"], 1)]
        assert books.ledger(scene.database).live() == {made["id"]}
        assert running.end(made["id"], token)["terminated_reason"] == "client_closed"
        with pytest.raises(LabError, match="404"):
            running.session("se_unknown", token)
        with pytest.raises(LabError, match="up ended with"):
            Exit(scene, "--no-such-option")
        assert running.stop() == 0
