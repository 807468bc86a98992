"""The two clocks: right unit, right base, never backwards."""

from __future__ import annotations

import time

from appliance.clock import boottime_ns, wall_ns, wall_seconds


def test_boottime_is_nanoseconds_since_boot() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    first, second = boottime_ns(), boottime_ns()
    after = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before - 1e-6 <= first / 1e9 <= second / 1e9 <= after + 1e-6


def test_wall_clocks_agree() -> None:
    assert abs(wall_ns() / 1e9 - wall_seconds()) < 60
    assert abs(time.time() - wall_seconds()) < 60
