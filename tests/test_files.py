"""What every file must be like: small, explained at its top, tested by a file of its own name, portable."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINES_AT_MOST = 400
COLUMNS_AT_MOST = 120
PACKAGES = ("appliance", "api", "crypto_ext", "bench")
NOT_OURS = {".git", ".venv", ".hypothesis", "__pycache__", "build", "dist"}

# Written in two parts, so that this file does not name them either.
SOMEBODY_S_PLACES = [
    *("pypi" + ".org", "python" + "hosted", "deb." + "debian", "crates" + ".io", "registry." + "npm"),
    *("proxy.golang" + ".org", "maven" + ".org", "maven" + ".apache"),
    *("/wo" + "rk/", "/root/" + ".", "/ho" + "me/"),
]


def files(*suffixes: str, under: str = ".") -> Iterator[Path]:
    for path in sorted((ROOT / under).rglob("*")):
        parts = path.relative_to(ROOT).parts
        made = NOT_OURS.intersection(parts) or any(part.endswith((".egg-info", "_cache")) for part in parts)
        if path.is_file() and not made and (not suffixes or path.suffix in suffixes):
            yield path


def none_of(paths: list[Path]) -> None:
    if paths:
        pytest.fail("\n".join(str(path.relative_to(ROOT)) for path in paths), pytrace=False)


def modules(*suffixes: str) -> list[Path]:
    """The sources of the program; the migrations are scripts that Alembic runs, tested by running them."""
    found = [path for package in PACKAGES for path in files(*suffixes, under=package)]
    return [path for path in found if "migrations" not in path.parts and not path.name.startswith("_native")]


def defines_something(path: Path) -> bool:
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for node in ast.parse(path.read_text()).body
    )


def test_no_file_is_long() -> None:
    code = [*files(".py", ".c", ".h", ".sh"), ROOT / "sallyport"]
    assert len(code) > 50, "the walk did not get anywhere"
    assert not {str(path): n for path in code if (n := len(path.read_text().splitlines())) > LINES_AT_MOST}


def test_no_line_of_c_is_wide() -> None:
    """Those of Python are ruff's business."""
    code = [*files(".c", ".h", under="crypto_ext"), *files(".c", ".h", under="tests/crypto_ext/c")]
    wide = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in code
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > COLUMNS_AT_MOST
    ]
    assert len(code) > 50, "the walk did not get anywhere"
    assert not wide, "\n".join(wide)


def test_every_source_says_at_its_top_what_it_is_for() -> None:
    silent = [path for path in modules(".py") if not ast.get_docstring(ast.parse(path.read_text()))]
    silent += [path for path in modules(".c", ".h") if not path.read_text().startswith(("/*", "//"))]
    none_of(silent)


def test_every_module_has_its_test_file() -> None:
    plain = [path for path in modules(".py") if not path.name.startswith("__")]
    untested = [
        path
        for path in plain
        if not (ROOT / "tests" / path.relative_to(ROOT).parent / f"test_{path.name}").is_file()
    ]
    assert len(plain) > 40, "the walk did not get anywhere"
    none_of(untested)


def test_every_package_face_with_code_is_tested() -> None:
    untested = []
    for path in modules(".py"):
        if path.name == "__init__.py" and defines_something(path):
            package = path.parent.relative_to(ROOT)
            tests = [test.read_text() for test in files(".py", under=f"tests/{package}")]
            name = ".".join(package.parts)
            if not any(f"from {name} import" in test or f"import {name}\n" in test for test in tests):
                untested.append(path)
    none_of(untested)


def test_every_c_file_has_its_test_file() -> None:
    """Or is named in the docstring of the test that covers it together with its neighbours."""
    tests = [ast.parse(path.read_text()) for path in files(".py", under="tests/crypto_ext")]
    named = set(re.findall(r"\w+\.c\b", " ".join(ast.get_docstring(test) or "" for test in tests)))
    untested = [
        path
        for path in modules(".c")
        if not (ROOT / "tests/crypto_ext" / f"test_{path.stem}.py").is_file()
        and path.name not in named
    ]
    none_of(untested)


def test_every_folder_of_tests_is_a_package() -> None:
    """Else two test files of the same name would be one module."""
    folders = {path.parent for path in files(".py", under="tests")}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


def test_no_file_names_a_registry_or_somebody_s_machine() -> None:
    named = []
    for path in files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        named += [f"{path.relative_to(ROOT)}: {place}" for place in SOMEBODY_S_PLACES if place in text]
    assert not named, "\n".join(named)


COMMANDS = ("./sallyport up", "./sallyport test")


@pytest.mark.parametrize("words", [*COMMANDS, *(f"{folder}/" for folder in (*PACKAGES, "tests", "systemd"))])
def test_the_readme_shows_the_way(words: str) -> None:
    assert words in (ROOT / "README.md").read_text()


def test_the_readme_and_the_pages_say_what_every_file_is_for() -> None:
    pages = " ".join(path.read_text() for path in [ROOT / "README.md", *files(".md", under="docs")])
    plain = [path for path in modules(".py", ".c") if not path.name.startswith("__")]
    none_of([path for path in plain if path.name not in pages])
