"""Who may start what, and to whom belongs what was made."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest

from tests.launcher.conftest import ALL_PROGRAMS, Checkout

SOMEBODY = 12345  # a user id that owns nothing on this machine
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners: needs root")


@pytest.mark.parametrize("command", ["up", "test"])
def test_without_sudo_there_is_one_line(checkout: Checkout, command: str) -> None:
    checkout.tool("id", "echo 1000")
    out, lines = checkout.run(command, code=3)
    assert out == ""
    (line,) = lines
    assert line.startswith(f"sallyport: {command} needs root (")
    assert line.endswith("run it as root (this machine has no sudo)")


def test_a_user_s_up_goes_through_sudo(checkout: Checkout) -> None:
    """With its words as they are, and with the part of the environment that sudo would drop."""
    checkout.tool("id", '[ "$1" = -u ] && echo "${FAKE_ID:-1000}"')
    checkout.tool("nft", "")
    checkout.tool("sudo", 'FAKE_ID=0 exec "$@"')
    checkout.environment |= {"CI": "true", "SALLYPORT_OFFLOAD": "a 'quoted' $word", "UNRELATED": "x"}
    (checkout.root / "appliance/__main__.py").write_text(
        "import os, sys\n"
        "print(sys.argv[1:], os.environ['CI'], os.environ['SALLYPORT_OFFLOAD'])\n"
        "print('SALLYPORT_THROUGH_SUDO' in os.environ)\n"
    )
    out, lines = checkout.run("up", "--region", "a 'b' c", "--config", "")
    assert out == "['up', '--region', \"a 'b' c\", '--config', ''] true a 'quoted' $word\nFalse\n"
    (line,) = lines
    assert line.startswith("sallyport: up needs root (")
    assert line.endswith("running it again through sudo")


def test_root_needs_no_sudo(checkout: Checkout) -> None:
    checkout.tool("id", "echo 0")
    checkout.tool("nft", "")
    checkout.tool("sudo", "echo sudo was called >&2; exit 9")
    assert checkout.run("up")[1] == []


def test_a_sudo_that_does_not_make_root_is_no_loop(checkout: Checkout) -> None:
    checkout.tool("id", "echo 1000")
    checkout.tool("sudo", 'exec "$@"')
    _, lines = checkout.run("up", code=3)
    assert len(lines) == 2
    assert lines[1].endswith("sudo did not make this user root")


def test_sudo_s_refusal_is_the_answer(checkout: Checkout) -> None:
    checkout.tool("id", "echo 1000")
    checkout.tool("sudo", "echo 'sudo: a password is required' >&2; exit 1")
    checkout.run("test", code=1)


def test_help_needs_no_root(checkout: Checkout) -> None:
    checkout.tool("id", "echo 1000")
    assert checkout.run("up", "--help")[0].endswith(" 'up' '--help'\n")


@needs_root
def test_what_root_makes_belongs_to_the_owner(bare: Checkout) -> None:
    bare.give_to(SOMEBODY)
    before = bare.tracked()
    bare.tool("nft", "")
    bare.run("up")
    assert bare.owners() == {SOMEBODY}
    assert bare.tracked() == before
    bare.run("version")
    for name in ("sallyport", "sallyport-wg"):
        subprocess.run([bare.root / ".venv/bin" / name], check=True, capture_output=True)
    assert bare.owners() == {SOMEBODY}
    assert bare.run("version")[1] == []


@needs_root
def test_a_failed_install_of_root_leaves_nothing_of_root_s(bare: Checkout) -> None:
    bare.give_to(SOMEBODY)
    build = bare.root / "crypto_ext/build.py"
    build.write_text("open('crypto_ext/half.o', 'w').close()\nraise SystemExit(1)\n")
    os.chown(build, SOMEBODY, SOMEBODY)
    _, lines = bare.run("version", code=1, cwd=bare.root)
    assert "could not compile crypto_ext; details in " in lines[-1]
    assert (bare.root / "crypto_ext/half.o").exists()
    assert bare.owners() == {SOMEBODY}


@needs_root
def test_what_tests_leave_behind_belongs_to_the_owner(checkout: Checkout) -> None:
    checkout.give_to(SOMEBODY)
    for name in ALL_PROGRAMS:
        checkout.tool(name, "")
    stand_in = checkout.root / "pytest.py"
    stand_in.write_text("import pathlib\npathlib.Path('left').mkdir()\nraise SystemExit(4)\n")
    os.chown(stand_in, SOMEBODY, SOMEBODY)
    checkout.run("test", code=4)
    assert (checkout.root / "left").stat().st_uid == SOMEBODY
    assert checkout.owners() == {SOMEBODY}


@needs_root
def test_an_ordinary_user_in_a_checkout_of_their_own(bare: Checkout) -> None:
    bare.give_to(SOMEBODY)
    bare.tool("sallyport-as", f'exec setpriv --reuid {SOMEBODY} --regid {SOMEBODY} --clear-groups "$@"')
    started = [bare.tools / "sallyport-as", bare.root / "sallyport", "version"]
    environment = {"PATH": str(bare.tools), "HOME": "/"}
    for lines in (3, 0):
        done = subprocess.run(started, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert len(done.stderr.splitlines()) == lines
    assert bare.owners() == {SOMEBODY}


@needs_root
def test_a_user_in_root_s_checkout(bare: Checkout, checkout: Checkout) -> None:
    """Uses what is there; where nothing is there, one line, for nothing may be written."""
    setpriv = ["setpriv", "--reuid", str(SOMEBODY), "--regid", str(SOMEBODY), "--clear-groups"]
    shared = checkout.root
    environment = {"PATH": str(checkout.tools), "HOME": "/"}
    done = subprocess.run(
        [*setpriv, shared / "sallyport", "version"], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    (shared / ".venv/stamps/native").unlink()
    done = subprocess.run(
        [*setpriv, shared / "sallyport", "version"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "run this once as its owner" in done.stderr
    assert not stat.S_IMODE(shared.stat().st_mode) & 0o022
