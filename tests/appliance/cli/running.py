"""Ways to run the command line: in this process, and as the program that a shell starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent.parent


def program(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m appliance` as the launcher does."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "appliance", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def modules_after(*words: str) -> set[str]:
    """The top-level modules (ours in full) that one command has loaded when it is done."""
    code = (
        "import sys; from appliance.cli import main; code = main(sys.argv[1:]); "
        "print(*sorted(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return {name if name.startswith("appliance") else name.split(".")[0] for name in done.stderr.split()}
