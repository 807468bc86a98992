"""The launcher itself: what it prints, what it becomes, how words and codes pass through it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.launcher.conftest import ALL_PROGRAMS, Checkout


def times(checkout: Checkout) -> dict[Path, int]:
    found = [path for path in checkout.root.rglob("*") if "__pycache__" not in path.parts]
    return {path: path.lstat().st_mtime_ns for path in found if path.name not in {"appliance", "crypto_ext"}}


def test_the_first_start_makes_everything_and_the_second_nothing(bare: Checkout) -> None:
    before = bare.tracked()
    out, progress = bare.run("version")
    assert "program" not in " ".join(progress)
    assert out.endswith("'version'\n")
    assert [line.split()[1] for line in progress] == ["making", "installing", "compiling"]
    assert all(line.startswith("sallyport: ") for line in progress)
    assert bare.tracked() == before
    made = times(bare)
    out, progress = bare.run("version")
    assert progress == []
    assert times(bare) == made


def test_a_quiet_start_asks_neither_apt_nor_pip(checkout: Checkout) -> None:
    for name in ("apt-get", "dpkg-query", "python3", "gcc", "flock", "find"):
        checkout.tool(name, f"echo {name} was called >&2; exit 9")
    assert checkout.run("version")[1] == []


def test_the_process_started_is_the_program(checkout: Checkout) -> None:
    checkout.tool("id", "echo 0")
    checkout.tool("nft", "")
    started = checkout.start("up", "--region", "a b", "", "*")
    out, err = started.communicate()
    assert (out, err) == (f"appliance/__main__.py {started.pid} 'up' '--region' 'a b' '' '*'\n", "")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ([], ["'--help'"]),
        (["help"], ["'--help'"]),
        (["--help"], ["'--help'"]),
        (["token", "list", "--json"], ["'token'", "'list'", "'--json'"]),
        (["nonsense"], ["'nonsense'"]),
    ],
)
def test_words_reach_the_program(checkout: Checkout, words: list[str], answer: list[str]) -> None:
    out, err = checkout.run(*words)
    assert out.splitlines()[0].split()[2:] == answer
    assert err == []


def test_help_names_what_only_a_checkout_has(checkout: Checkout) -> None:
    out, _ = checkout.run("help")
    assert "./sallyport test" in out
    assert "./sallyport bench" in out


def test_the_exit_code_is_the_program_s(checkout: Checkout) -> None:
    (checkout.root / "appliance/__main__.py").write_text("raise SystemExit(5)")
    checkout.run("sessions", code=5)


def test_test_runs_pytest_from_the_top_of_the_checkout(checkout: Checkout) -> None:
    checkout.tool("id", "echo 0")
    checkout.environment["CI"] = "true"
    module = checkout.root / "pytest.py"
    module.write_text("import os\nprint(os.getcwd(), os.environ['CI'])\n" + module.read_text())
    for name in ALL_PROGRAMS:
        checkout.tool(name, "")
    out, err = checkout.run("test", "tests/test_x.py", "-k", "a or b", cwd=Path("/"))
    where, words = out.splitlines()
    assert where == f"{checkout.root} true"
    assert words.endswith("'tests/test_x.py' '-k' 'a or b'")
    assert err == [f"sallyport: installing the Python packages of requirements/{'dev'}.lock"]


@pytest.mark.parametrize(("name", "module"), [("sallyport", "__main__"), ("sallyport-wg", "wg")])
def test_the_commands_start_by_themselves(checkout: Checkout, name: str, module: str) -> None:
    link = checkout.tools / "a-link"
    link.symlink_to(checkout.root / ".venv/bin" / name)
    for command in (checkout.root / ".venv/bin" / name, link):
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": "/nowhere"}
        done = subprocess.run(
            [command, "-f", "wg 0"], cwd="/", env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split(maxsplit=2)[::2] == [f"appliance/{module}.py", "'-f' 'wg 0'\n"]


def test_the_folder_one_stands_in_is_not_imported(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "appliance.py").write_text("raise SystemExit('foreign')")
    checkout.environment["PYTHONPATH"] = str(tmp_path)
    out, _ = checkout.run("version", cwd=tmp_path)
    assert out.startswith("appliance/__main__.py ")
