"""`main`: one line on stderr and the right code for whatever goes wrong, and light commands stay light."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

import appliance.cli
from appliance.cli import main
from appliance.errors import InUseError, PrivilegeError, StateError, UsageError, UserError
from tests.appliance.cli.running import ROOT, modules_after, program

HEAVY = {
    "quart",
    "quart_trio",
    "hypercorn",
    "sqlalchemy",
    "alembic",
    "pydantic",
    "trio",
    "cryptography",
    "cffi",
}


def _stand_in(monkeypatch: pytest.MonkeyPatch, failure: BaseException | int) -> None:
    def run(_: argparse.Namespace) -> int:
        if isinstance(failure, int):
            return failure
        raise failure

    class OneCommand:
        def parse_args(self, _: object) -> argparse.Namespace:
            return argparse.Namespace(run=run)

    monkeypatch.setattr(appliance.cli, "build_parser", OneCommand)


@pytest.mark.parametrize(
    ("failure", "code", "line"),
    [
        (0, 0, ""),
        (UserError("no"), 1, "sallyport: no\n"),
        (UsageError("no"), 2, "sallyport: no\n"),
        (PrivilegeError("no"), 3, "sallyport: no\n"),
        (InUseError("no"), 4, "sallyport: no\n"),
        (StateError("no"), 5, "sallyport: no\n"),
        (UserError("two\nlines\x1b[2J"), 1, "sallyport: two\\nlines\\x1b[2J\n"),
        (FileNotFoundError(2, "No such file", "/x"), 1, "sallyport: /x: No such file\n"),
        (OSError("odd"), 1, "sallyport: odd\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            ValueError("a\nb"),
            1,
            "sallyport: unexpected ValueError: a\\nb (SALLYPORT_TRACEBACK=1 shows where)\n",
        ),
    ],
)
def test_how_commands_end(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    failure: BaseException | int,
    code: int,
    line: str,
) -> None:
    monkeypatch.setattr(appliance.cli, "_drop_output", lambda: None)
    _stand_in(monkeypatch, failure)
    assert main([]) == code
    assert capfd.readouterr() == ("", line)


def test_the_trace_of_a_bug_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_TRACEBACK", "1")
    _stand_in(monkeypatch, ValueError("where"))
    with pytest.raises(ValueError, match="where"):
        main([])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["nope"], 2),
        (["token"], 2),
        (["token", "revoke"], 2),
        (["sessions", "nope"], 2),
        (["version", "--nope"], 2),
        (["version", "extra\nword"], 2),
        (["vers"], 2),
        (["up", "--listen", "5"], 2),
        (["up", "--listen-port", "65536"], 2),
        (["up", "--config", "/nonexistent/x.toml"], 2),
        (["token", "list", "--state-dir", "/nonexistent/state"], 5),
        (["sessions", "list", "--state-dir", ""], 2),
        (["config", "check"], 2),
        (["config", "check", "/nonexistent/x.toml"], 2),
        (["config", "show", "--config", "/nonexistent/x.toml"], 2),
    ],
)
def test_refusals_are_one_line(capsys: pytest.CaptureFixture[str], words: list[str], code: int) -> None:
    assert main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sallyport: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        *[[], ["up"], ["genkey"], ["version"], ["token"], ["token", "create"], ["token", "list"]],
        *[["token", "revoke"], ["sessions"], ["sessions", "list"], ["sessions", "end"]],
        *[["sessions", "show"], ["status"], ["peers"], ["drain"], ["config"], ["config", "check"]],
        *[["config", "show"], ["config", "defaults"], ["backup"], ["restore"]],
    ],
)
def test_help_everywhere_with_an_example(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main([*words, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "usage: " + " ".join(["sallyport", *words]) in out
    assert "example" in out


def test_the_program_itself() -> None:
    done = program("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sallyport {appliance.__version__}\n", "")
    done = program("nope")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sallyport: ")


@pytest.mark.parametrize("command", ["version", "genkey"])
def test_light_commands_load_nothing_heavy(command: str) -> None:
    loaded = modules_after(command)
    assert not loaded & HEAVY
    ours = {name for name in loaded if name.startswith("appliance.")}
    words = ("appliance.cli", "appliance.config", "appliance.core")  # what is said, and what it may be
    assert {name for name in ours if not name.startswith(words)} <= {"appliance.errors", "appliance.log"}


@pytest.mark.parametrize(("words", "code"), [(["version"], 1), (["up", "--help"], 0)])
def test_a_reader_that_has_had_enough_makes_no_noise(words: list[str], code: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "appliance", *words],
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (code, b"")


def test_a_full_disk_is_told_once() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "appliance", "version"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, b"sallyport: No space left on device\n")


def test_every_command_is_described_in_the_documentation() -> None:
    page = (Path(ROOT) / "docs" / "cli.md").read_text()
    for words in (
        "up",
        "token create",
        "token list",
        "token revoke",
        "sessions list",
        "sessions show",
        "sessions end",
        "genkey",
        "status",
        "peers",
        "drain",
        "config check",
        "config show",
        "config defaults",
        "backup FILE",
        "restore FILE",
    ):
        assert f"sallyport {words}" in page
