"""What holds for every test: hypothesis profiles, the markers, who runs beside whom, and no skipping in CI.

* `netns` tests need root (they make network namespaces). Without root they are skipped with the reason
  on a developer's machine.
* `soak` tests (long waits, many kills) are left out unless `--soak` is given.
* With `CI` in the environment a skip is a failure: what CI does not run, nobody runs. Tests that were
  left out as `soak` do not count, since they are deselected, not skipped. Nor does what no installing
  can mend: instructions that this CPU lacks.
* `./sallyport test` runs two workers. All `netns` tests go to one of them, in a row: they start real exits
  and have deadlines in real time. The others are kept together by file, whose fixtures they share.
* Hypothesis: profile `fast` unless `HYPOTHESIS_PROFILE=deep`. In CI it draws the same examples each time, so
  that an unlucky draw never stops work that did not cause it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator

import pytest
from hypothesis import settings

CI = bool(os.environ.get("CI"))
CPU_LACKS = "this CPU lacks"  # how the reason of a skip begins that is right in CI too

settings.register_profile("fast", max_examples=50, deadline=None, derandomize=CI)
settings.register_profile("deep", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="also run the tests marked soak")


@pytest.hookimpl(tryfirst=True)  # before the workers read the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        group = "netns" if item.get_closest_marker("netns") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    if not config.getoption("--soak"):
        soak = [item for item in items if item.get_closest_marker("soak")]
        if soak:
            config.hook.pytest_deselected(items=soak)
            items[:] = [item for item in items if not item.get_closest_marker("soak")]
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("netns"):
                item.add_marker(pytest.mark.skip(reason="makes network namespaces: needs root"))


def fail_skips(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure, keeping its reason; an expected failure (xfail) is not a skip."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if reason.startswith(f"Skipped: {CPU_LACKS} "):
            return
        report.outcome = "failed"
        report.longrepr = f"skipped although CI is set: {reason}"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Generator[None, None, None]:
    """A test that sets up logging (a command run in this process) must not silence the next ones."""
    everything, ours = logging.getLogger(), logging.getLogger("sallyport")
    before = everything.level, ours.level, list(everything.handlers)
    yield
    everything.setLevel(before[0])
    ours.setLevel(before[1])
    everything.handlers[:] = before[2]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if CI:
        fail_skips(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if CI:
        fail_skips(report)
    return report
