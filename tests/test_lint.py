"""The linters as tests, so that one command and one summary tell whether all is well."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ["sallyport", ".ci/run"]


def quiet(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff() -> None:
    quiet(sys.executable, "-m", "ruff", "check", ".")


@pytest.mark.timeout(600)
def test_mypy_strict() -> None:
    quiet(sys.executable, "-m", "mypy")


def test_shellcheck() -> None:
    quiet("shellcheck", "-x", *SCRIPTS, *(str(path) for path in (ROOT / "launcher").glob("*.sh")))


def test_shell_scripts_parse_in_a_plain_shell() -> None:
    """The launcher's `sh` is dash on Debian and may be another small shell elsewhere."""
    for path in [ROOT / "sallyport", *(ROOT / "launcher").glob("*.sh")]:
        quiet("dash", "-n", str(path))
