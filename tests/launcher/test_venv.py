"""What goes into .venv, and when it is made again: launcher/venv.sh."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from bench.process import wait_for
from tests.launcher.conftest import Checkout


def test_a_change_redoes_only_its_own_stage(checkout: Checkout) -> None:
    (checkout.root / "crypto_ext/api.h").write_text("int g(void);\n")
    assert checkout.run("version")[1] == ["sallyport: compiling the extension module"]
    (checkout.root / "requirements/runtime.lock").write_text("# nothing else\n")
    assert checkout.run("version")[1] == [
        "sallyport: installing the Python packages of requirements/runtime.lock"
    ]
    (checkout.root / "requirements/dev.lock").write_text("# only for test\n")
    assert checkout.run("version")[1] == []


def test_a_lost_extension_is_compiled_again(checkout: Checkout) -> None:
    (checkout.root / "crypto_ext/_native.abi3.so").unlink()
    assert checkout.run("version")[1] == ["sallyport: compiling the extension module"]


def test_a_killed_build_is_done_again(checkout: Checkout) -> None:
    gate = checkout.root / "crypto_ext/gate"
    os.mkfifo(gate)
    builds = checkout.builds()
    (checkout.root / "crypto_ext/api.h").write_text("int h(void);\n")
    started = checkout.start("version", group=True)
    while checkout.builds() == builds:
        time.sleep(0.01)
    os.killpg(started.pid, signal.SIGKILL)
    started.communicate()
    gate.unlink()
    assert checkout.run("version")[1] == ["sallyport: compiling the extension module"]


def test_a_killed_install_starts_from_nothing(checkout: Checkout) -> None:
    (checkout.root / ".venv/stamps/busy").touch()
    (checkout.root / ".venv/half-made").touch()
    assert "making" in checkout.run("version")[1][0]
    assert not (checkout.root / ".venv/half-made").exists()
    assert checkout.run("version")[1] == []


def test_a_moved_checkout_is_repaired_without_an_install(checkout: Checkout) -> None:
    script = checkout.root / ".venv/bin/tool"
    old = str(checkout.root)
    assert old in script.read_text()
    checkout.root = checkout.root.rename(checkout.root.with_name("elsewhere"))
    _, progress = checkout.run("version")
    assert progress == [f"sallyport: the checkout moved here from {old}: repairing .venv"]
    moved = checkout.root / ".venv/bin/tool"
    assert old not in moved.read_text()
    assert str(checkout.root) in moved.read_text()
    assert subprocess.run(moved, capture_output=True).stdout == b"tool\n"


def test_two_starts_at_once_share_one_install(bare: Checkout) -> None:
    both = [bare.start("version") for _ in range(2)]
    ends = [started.communicate(timeout=100) for started in both]
    assert [started.returncode for started in both] == [0, 0], ends
    assert bare.builds() == 1
    assert "sallyport: another start is installing; waiting for it\n" in [err for _, err in ends]


def test_a_launcher_that_is_told_to_end_ends_at_once_and_takes_its_child_along(checkout: Checkout) -> None:
    """As a supervisor does it: one signal, to the launcher alone, while the compiler is at work."""
    os.mkfifo(checkout.root / "crypto_ext/gate")
    builds = checkout.builds()
    (checkout.root / "crypto_ext/api.h").write_text("int h(void);\n")
    started = checkout.start("version")
    while checkout.builds() == builds:
        time.sleep(0.01)
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    started.send_signal(signal.SIGTERM)
    assert started.wait(30) == 143
    started.communicate()
    assert children
    # Whoever outlives its parent is buried by init, a moment later.
    wait_for(lambda: not [child for child in children if Path(f"/proc/{child}").exists()], "they are gone")
    assert not list((checkout.tools / "tmp").glob("sallyport-*")), "and no log that names nothing"
