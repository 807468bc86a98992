"""`sallyport-wg` as a command: words, exit codes, and what it must never import."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import __version__
from appliance.wg import main


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "appliance.wg", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "words", [[], ["-f"], ["a", "b"], ["--colour"], ["-f", "-f"], ["name/slash"], ["sixteen-chars-xx"]]
)
def test_wrong_words_are_one_line_and_code_2(words: list[str]) -> None:
    done = command(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sallyport-wg: ")
    assert done.stderr.count("\n") == 1


def test_help_and_version() -> None:
    assert "usage: sallyport-wg" in command("--help").stdout
    assert command("--version").stdout == f"sallyport-wg {__version__}\n"


@pytest.mark.parametrize("name", ["a" * 16, "", ".", "a b", "a/b"])
def test_names_that_no_interface_has(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name]) == 2
    assert capsys.readouterr().err.startswith("sallyport-wg: IFNAME must be the name of an interface")


DAEMON = """
import os, sys, time
from appliance import wg
def serve(name, ready):
    with open(sys.argv[1], "w") as file:
        file.write(str(os.getpid()))
    ready()
    time.sleep(60)
wg._serve = serve
sys.exit(wg.main(["wg0"]))
"""


def test_the_daemon_keeps_nothing_that_was_open_before_it(tmp_path: Path) -> None:
    ends = [os.pipe() for _ in range(9)]  # some below, some above the daemon's own
    writers = [write for _, write in ends]
    try:
        words = [sys.executable, "-P", "-c", DAEMON, str(tmp_path / "pid")]
        subprocess.run(words, pass_fds=writers, check=True, timeout=30)
        for write in writers:
            os.close(write)
        for read, _ in ends:
            assert select.select([read], [], [], 10)[0], "somebody still holds the other end"
            assert os.read(read, 1) == b""
    finally:
        for read, _ in ends:
            os.close(read)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_the_drop_in_stays_light() -> None:
    heavy = "{'quart', 'sqlalchemy', 'pydantic', 'hypercorn', 'alembic'}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import appliance.wg_serve, sys; print({heavy} & set(sys.modules))"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "set()\n"


def test_before_the_fork_nothing_heavy_is_loaded() -> None:
    heavy = "{'trio', 'crypto_ext', 'cryptography', 'threading', 'logging'}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import appliance.wg, sys; print({heavy} & set(sys.modules))"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "set()\n"


def test_wrong_words_are_refused_in_process_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no", "such"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.netns
def test_without_privilege_code_3_and_nothing_left() -> None:
    done = subprocess.run(
        [
            "setpriv",
            "--reuid",
            "65534",
            "--clear-groups",
            sys.executable,
            "-P",
            "-m",
            "appliance.wg",
            "sptest-nope",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    assert done.returncode in (1, 3), done.stderr  # 1: this user cannot even read the interpreter
