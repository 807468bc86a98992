"""Building the extension: what cffi is told, which files, and that our warnings are none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from crypto_ext.build import FLAGS, MACROS, ROOT, builder, declarations, sources


def test_it_compiles_every_c_file_and_only_those() -> None:
    assert [Path(name).name for name in sources()] == sorted(
        path.name for path in (ROOT / "crypto_ext").glob("*.c") if not path.name.startswith("_")
    )
    assert all(not Path(name).is_absolute() for name in sources())


def test_declarations_are_plain() -> None:
    assert "sp_pump_new" in declarations()
    assert not [line for line in declarations().splitlines() if line.startswith("#")]
    builder("x_test")  # cffi reads them


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("more", [[], ["-DSALLYPORT_FAULTS"]])
def test_our_files_give_no_warning(compiler: str, more: list[str], tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        assert compiler != "gcc", "the build needs gcc"
        return
    macros = [f"-D{name}={value}" for name, value in MACROS]
    flags = [flag.replace("-O3", "-O1") for flag in FLAGS]
    command = [compiler, *flags, *macros, *more, "-Werror", "-c", f"-I{ROOT / 'crypto_ext'}"]
    run = subprocess.run(
        [*command, *(str(ROOT / name) for name in sources())],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


def test_the_shipped_build_has_no_fault_switch() -> None:
    import crypto_ext._native

    symbols = Path(crypto_ext._native.__file__).read_bytes()
    assert b"sp_sys_sendmsg" in symbols
    assert b"sp_fault_set" not in symbols
