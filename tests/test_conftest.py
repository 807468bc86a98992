"""What tests/conftest.py promises, tried on a small suite of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SUITE = """
import pytest

def test_passes(): pass
def test_skips(): pytest.skip("no such thing here")
@pytest.mark.skipif(True, reason="not on this machine")
def test_is_skipped(): pass
@pytest.mark.xfail(reason="known", strict=True)
def test_fails_as_expected(): assert False
@pytest.mark.soak
def test_long(): pass
"""


def outcome(folder: Path, *words: str, ci: bool, module: str = SUITE) -> str:
    """The closing line of pytest over that suite."""
    shutil.copy(HERE / "conftest.py", folder)
    shutil.copy(HERE.parent / "pyproject.toml", folder)
    (folder / "test_suite.py").write_text(module)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    if ci:
        environment["CI"] = "1"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "test_suite.py", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.stdout.splitlines()[-1].rsplit(" in ", 1)[0]


def test_a_skip_is_a_skip_at_home(tmp_path: Path) -> None:
    assert outcome(tmp_path, ci=False) == "1 passed, 2 skipped, 1 deselected, 1 xfailed"


def test_a_skip_fails_in_ci(tmp_path: Path) -> None:
    assert outcome(tmp_path, ci=True) == "1 failed, 1 passed, 1 deselected, 1 xfailed, 1 error"


@pytest.mark.parametrize("ci", [False, True])
def test_what_the_cpu_lacks_is_no_failure(tmp_path: Path, ci: bool) -> None:
    module = "import pytest\n@pytest.mark.skip(reason='this CPU lacks avx9')\ndef test_wide(): pass\n"
    assert outcome(tmp_path, ci=ci, module=module) == "1 skipped"


@pytest.mark.parametrize("ci", [False, True])
def test_a_module_that_skips_itself(tmp_path: Path, ci: bool) -> None:
    closing = outcome(tmp_path, ci=ci, module="import pytest\npytest.importorskip('no_such_module')\n")
    assert closing == ("1 error" if ci else "1 skipped")


def test_soak_runs_when_asked_for(tmp_path: Path) -> None:
    assert outcome(tmp_path, "--soak", ci=True) == "1 failed, 2 passed, 1 xfailed, 1 error"


def test_netns_needs_root(tmp_path: Path) -> None:
    module = "import os, pytest\nos.geteuid = lambda: 1000\n@pytest.mark.netns\ndef test_net(): pass\n"
    assert outcome(tmp_path, ci=False, module=module) == "1 skipped"
    assert outcome(tmp_path, ci=True, module=module) == "1 error"
