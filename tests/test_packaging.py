"""What is packaged, what it asks for; that the locks pin all of it by hash, for every supported Python."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

import appliance

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHONS = ("3.11.2", "3.12.1", "3.13.0")
PROJECT_VERSION = appliance.__version__


def locked(name: str, python: str) -> dict[str, Requirement]:
    """The pins of one lock that hold for that Python on Linux."""
    environment = {**default_environment(), "python_full_version": python, "sys_platform": "linux"}
    environment |= {"python_version": ".".join(python.split(".")[:2]), "os_name": "posix"}
    text = (ROOT / f"requirements/{name}.lock").read_text().replace("\\\n", " ")
    pins: dict[str, Requirement] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line.split(" --hash=")[0])
            if requirement.marker is None or requirement.marker.evaluate(environment):
                assert requirement.name not in pins, f"two versions of {requirement.name} for {python}"
                pins[requirement.name] = requirement
    return pins


def wanted(group: list[str], python: str) -> list[Requirement]:
    environment = {**default_environment(), "python_version": ".".join(python.split(".")[:2])}
    found = [Requirement(text) for text in group]
    return [one for one in found if one.marker is None or one.marker.evaluate(environment)]


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_every_pin_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / f"requirements/{name}.lock").read_text()
    assert "://" not in text
    assert "--index" not in text
    entries = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==\S+", entry), entry
        assert re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("runtime", [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["build"]]),
        ("dev", PROJECT["dependency-groups"]["dev"]),
    ],
)
def test_the_locks_give_what_the_project_asks_for(python: str, name: str, group: list[str]) -> None:
    pins = locked(name, python)
    for requirement in wanted(group, python):
        (pin,) = pins[requirement.name].specifier
        assert requirement.specifier.contains(pin.version), f"{requirement} but {pin}: refresh the locks"


def test_the_two_locks_agree() -> None:
    for python in PYTHONS:
        runtime, dev = locked("runtime", python), locked("dev", python)
        for name in runtime.keys() & dev.keys():
            assert runtime[name].specifier == dev[name].specifier


def test_this_python_runs_what_is_locked() -> None:
    """Else the tests tell about other packages than those that users get."""
    from importlib.metadata import version

    for pin in locked("runtime", sys.version.split()[0]).values():
        assert version(pin.name) in pin.specifier


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as a package manager builds it, in a copy, with the packages that are installed here."""
    tree = tmp_path_factory.mktemp("wheel") / "tree"
    ignore = shutil.ignore_patterns(".git", ".venv", "*.so", "build", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, tree, ignore=ignore)
    build = "import setuptools.build_meta as backend; print(backend.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = tree.glob("*.whl")
    return made


@pytest.mark.timeout(600)
def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    assert wheel.name.startswith(f"sallyport_appliance-{PROJECT_VERSION}-cp311-abi3-linux_")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        *("appliance", "api", "crypto_ext"),
    }
    assert "crypto_ext/_native.abi3.so" in names
    for source in [*ROOT.glob("appliance/**/*.py"), *ROOT.glob("api/**/*.py")]:
        assert str(source.relative_to(ROOT)) in names
    (entries,) = [name for name in names if name.endswith("entry_points.txt")]
    text = zipfile.ZipFile(wheel).read(entries).decode()
    assert "sallyport = appliance.cli:main\nsallyport-wg = appliance.wg:main" in text


@pytest.mark.timeout(600)
def test_the_wheel_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    probe = (
        "import sys\n"
        "sys.path = [sys.argv.pop(1), *(p for p in sys.path if p != sys.argv[1])]\n"
        "sys.argv[1:] = ['version', '--verbose']\n"
        "import appliance, crypto_ext\n"
        f"assert appliance.__file__.startswith({str(tmp_path)!r}), appliance.__file__\n"
        "import appliance.__main__\n"
    )
    command = [sys.executable, "-I", "-c", probe, str(tmp_path), str(ROOT)]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"sallyport {PROJECT_VERSION}\n")


def test_the_change_log_tells_of_this_version() -> None:
    assert f"\n## {PROJECT_VERSION} " in (ROOT / "CHANGELOG.md").read_text()
