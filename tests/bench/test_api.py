"""What `bench api` makes of latencies; and one short real run, in which creates are looked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import api
from bench.api import Asked, Samples
from bench.exit_scene import Scene
from bench.http_load import Outcome
from bench.process import LabError


def test_rows_hold_one_percentile_of_each_run() -> None:
    samples = Samples()
    for slow_ms in (10.0, 30.0, 60.0):
        times = [1000.0] * 98 + [slow_ms * 1000] * 2
        for name in ("create full speed", "status full speed", "bare full speed", "create idle"):
            samples.add_latencies(name, Outcome(5.0, times, []))
        samples.add("status idle", 2000.0)
        samples.add("bare idle", 20_000.0)
        samples.add("carried", 2.5)
    rows = {row.name: row for row in samples.rows()}
    judged = {name: (row.better, row.bound, row.aim) for name, row in rows.items() if row.bound is not None}
    assert judged == {
        "create full speed p99": ("lower", 50, 20),
        "status full speed p99": ("lower", 100, None),
        "status idle": ("higher", 1500, None),
    }
    assert rows["create full speed p99"].ours == (10.0, 30.0, 60.0)
    assert rows["create full speed p50"].ours == (1.0, 1.0, 1.0)
    assert rows["status full speed p99"].limit == (10.0, 30.0, 60.0)
    assert rows["status idle"].ours == (2000.0,) * 3
    assert rows["carried beside them at full speed"].ours == (2.5,) * 3
    assert rows["status idle"].limit == (20_000.0,) * 3
    assert all(row.holds for row in rows.values() if row.bound is not None)


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    with Scene() as scene:
        yield Asked(scene)


@pytest.mark.netns
def test_a_create_counts_only_when_it_is_real(asked: Asked) -> None:
    asked.create_and_check()
    outcome = asked.creates(5)
    assert len(outcome.latencies_us) == len(outcome.bodies) == 5
    made, other = asked.running.create(), asked.running.create()
    with pytest.raises(LabError, match="its key is not on the interface"):
        asked.check([{**made, "wg_config": other["wg_config"]}])
    with pytest.raises(LabError, match="is not in the database"):
        asked.check([{**made, "id": "tb_nosuch"}])
    asked.running.end(made["id"])
    with pytest.raises(LabError, match="is not in the database"):
        asked.check([made])


@pytest.mark.netns
def test_a_run_beside_a_full_tunnel(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.iperf, "LEAST_GBIT_PER_SECOND", 0)
    samples = Samples()
    assert api.at_full_speed(asked, 1, samples) > 0
    assert {name for name in samples.found if name.endswith("p99")} == {
        "create full speed p99",
        "status full speed p99",
        "bare full speed p99",
    }
    assert len(samples.found["carried"]) == 1
    assert asked.as_many(1) > 0
    assert asked.as_many(1, bare=True) > 0
