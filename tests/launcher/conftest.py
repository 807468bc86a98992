"""The launcher in scratch copies of the checkout: stand-ins on PATH for apt-get, sudo and id, and small
modules in place of the program, the extension and the packages, so that nothing here needs a network.

The real thing, with real packages, is what CI does first: `./sallyport test` in a fresh clone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL_DEBIAN = [
    *("sh", "dash", "cat", "chmod", "chown", "cp", "dirname", "env", "find", "flock", "id", "ln", "ls"),
    *("mkdir", "mktemp", "mv", "readlink", "rm", "sed", "setpriv", "sha256sum", "stat", "test", "true"),
    *("as", "ld"),
]
# What `test` would install where it is missing.
ALL_PROGRAMS = [
    *("nft", "ip", "wg", "wireguard-go", "clang", "iperf3", "tcpdump", "curl", "conntrack", "ping", "sysctl"),
    *("shellcheck", "valgrind", "mkfs.ext4"),
]
PROGRAM = "import os, sys\nprint('program', os.getpid(), *(repr(word) for word in sys.argv[1:]))\n"
# In place of pip: knows no package; leaves a command in bin/ as pip does where the path may have spaces.
PIP = r"""import pathlib, sys
def install(lock):
    if "no-such-package" in lock.read_text():
        sys.exit("ERROR: No matching distribution found for no-such-package")
    script = pathlib.Path(sys.prefix, "bin/tool")
    script.write_text(f"#!/bin/sh\n''''exec '{sys.executable}' \"$0\" # '''\nprint('tool')\n")
    script.chmod(0o755)
if __name__ == "__main__":
    install(pathlib.Path(sys.argv[-1]))
"""
# In place of `python -m venv`, which would copy a thousand files of pip.
VENV = """import pathlib, sys, venv
venv.create(sys.argv[1], symlinks=True)
(folder,) = pathlib.Path(sys.argv[1]).glob("lib/python3*/site-packages")
(folder / "pip.py").write_text(PIP)
"""
BUILD = """import pathlib
here = pathlib.Path(__file__).parent
with open(here / "builds.log", "a") as log:
    log.write("built\\n")
gate = here / "gate"
if gate.exists():
    gate.read_text()
(here / "_native.abi3.so").write_text("compiled")
"""


@dataclass
class Checkout:
    """A scratch checkout and the world around it: a PATH of our own and an environment without surprises."""

    root: Path
    tools: Path
    environment: dict[str, str] = field(default_factory=dict)

    def tool(self, name: str, text: str) -> None:
        """Put a stand-in on PATH, before everything else."""
        path = self.tools / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def start(self, *words: str, cwd: Path | None = None, group: bool = False) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.root / "sallyport"), *words],
            env={"PATH": f"{self.tools}", "HOME": "/", "TMPDIR": f"{self.tools}/tmp", **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            start_new_session=group,
        )

    def run(self, *words: str, code: int = 0, cwd: Path | None = None) -> tuple[str, list[str]]:
        """What one start printed: stdout, and the lines of stderr."""
        started = self.start(*words, cwd=cwd)
        out, err = started.communicate(timeout=100)
        assert started.returncode == code, (started.returncode, out, err)
        return out, err.splitlines()

    def builds(self) -> int:
        log = self.root / "crypto_ext/builds.log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def owners(self) -> set[int]:
        return {path.lstat().st_uid for path in [self.root, *self.root.rglob("*")]}

    def give_to(self, user: int) -> None:
        for path in [self.root, *self.root.rglob("*")]:
            os.chown(path, user, user, follow_symlinks=False)

    def tracked(self) -> dict[str, bytes]:
        return {
            str(path): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and ".venv" not in path.parts and path.suffix not in {".so", ".log", ".pyc"}
        }


def furnish(root: Path) -> None:
    """The launcher as it is; everything it starts replaced by something small."""
    for name in ("appliance", "bench", "crypto_ext", "requirements"):
        (root / name).mkdir(parents=True)
    shutil.copy(ROOT / "sallyport", root)
    shutil.copytree(ROOT / "launcher", root / "launcher")
    venv = root / "launcher/venv.sh"
    words = venv.read_text()
    assert " /usr/bin/python3;" in words
    assert ' -m venv "$venv"' in words
    words = words.replace(" /usr/bin/python3;", ";")  # only what PATH says
    words = words.replace(' -m venv "$venv"', ' "$root/launcher/venv.py" "$venv"')
    venv.write_text(words)
    launcher = root / "sallyport"
    launcher.write_text(launcher.read_text().replace("PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin", ":"))
    for lock in ("runtime", "dev"):
        (root / f"requirements/{lock}.lock").write_text("# nothing\n")
    for module in ("appliance/__main__.py", "appliance/wg.py", "bench/__main__.py", "pytest.py"):
        (root / module).write_text(PROGRAM.replace("program", module))
    (root / "launcher/venv.py").write_text(f"PIP = {PIP!r}\n{VENV}")
    (root / "appliance/helper.py").write_text("")
    (root / "crypto_ext/build.py").write_text(BUILD)
    (root / "crypto_ext/api.h").write_text("int f(void);\n")


def furnish_tools(tools: Path) -> None:
    """A PATH with what a small Debian has, less apt-get, sudo, and all that the launcher may install."""
    (tools / "tmp").mkdir(parents=True)
    (tools / "tmp").chmod(0o777)
    for name in SMALL_DEBIAN:
        (tools / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")
    for compiler in Path("/usr/bin").glob("*gcc"):  # a Python names the one it was built with
        (tools / compiler.name).symlink_to(compiler)
    # A Python that anybody may run: the one below the .venv of this checkout may be in somebody's home.
    python = shutil.which("python3", path="/usr/bin") or os.path.realpath("/proc/self/exe")
    (tools / "python3").symlink_to(python)


@pytest.fixture(scope="session")
def ready_made() -> Iterator[Path]:
    """A folder that every user can reach, with one checkout that has been started once."""
    world = Path(tempfile.mkdtemp(prefix="sallyport launcher "))
    world.chmod(0o755)
    try:
        furnish(world / "first checkout")
        furnish_tools(world / "tools")
        Checkout(world / "first checkout", world / "tools").run("version")
        yield world
    finally:
        shutil.rmtree(world)


@pytest.fixture
def bare(ready_made: Path) -> Iterator[Checkout]:
    """A fresh checkout, as after git clone; its path has spaces."""
    world = Path(tempfile.mkdtemp(dir=ready_made))
    world.chmod(0o755)
    furnish(world / "a checkout")
    shutil.copytree(ready_made / "tools", world / "tools", symlinks=True)
    yield Checkout(world / "a checkout", world / "tools")
    shutil.rmtree(world)


@pytest.fixture
def checkout(bare: Checkout, ready_made: Path) -> Checkout:
    """A checkout where everything is there (by moving a ready one, which the launcher repairs)."""
    shutil.rmtree(bare.root)
    shutil.copytree(ready_made / "first checkout", bare.root, symlinks=True)
    bare.run("version")
    return bare
