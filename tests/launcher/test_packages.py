"""Debian packages: asked for when something is missing, and only then: launcher/packages.sh."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.launcher.conftest import Checkout

VERB = re.compile(r" (install|update)\b")


@pytest.fixture
def root(checkout: Checkout) -> Checkout:
    """A ready checkout, started by root, on a machine without nft."""
    checkout.tool("id", "echo 0")
    return checkout


def fake_apt(checkout: Checkout, *, install: str) -> Path:
    log = checkout.tools / "apt.log"
    checkout.tool("apt-get", f'echo "$*" >>"{log}"\ncase "$*" in *" install "*) {install} ;; esac')
    return log


def test_what_is_missing_is_installed_once(root: Checkout) -> None:
    nft = root.tools / "nft"
    log = fake_apt(root, install=f'echo "#!/bin/sh" >"{nft}"; chmod +x "{nft}"; echo noise; echo noise >&2')
    out, progress = root.run("up")
    assert out.startswith("appliance/__main__.py")
    assert progress == ["sallyport: installing Debian packages: nftables"]
    (line,) = log.read_text().splitlines()
    assert line.endswith(" install nftables")
    assert {"-y", "--no-install-recommends"} <= set(line.split())
    assert root.run("up")[1] == []
    assert len(log.read_text().splitlines()) == 1


@pytest.mark.parametrize("words", [("version",), ("up", "--help"), ("sessions", "list"), ()])
def test_only_the_sub_command_s_own(root: Checkout, words: tuple[str, ...]) -> None:
    log = fake_apt(root, install="exit 1")
    assert root.run(*words)[1] == []
    assert not log.exists()


def test_without_a_network_there_is_one_clear_line(root: Checkout) -> None:
    log = fake_apt(root, install="echo E: nothing to be had >&2; exit 100")
    out, lines = root.run("up", code=1)
    assert out == ""
    progress, error = lines
    assert progress == "sallyport: installing Debian packages: nftables"
    before, details = error.split("; details in ")
    assert before == "sallyport: could not install Debian packages nftables (is there a network?)"
    assert "nothing to be had" in Path(details).read_text()
    assert VERB.findall(log.read_text()) == ["install", "update", "install"]


def test_new_lists_are_fetched_when_the_old_do_not_serve(root: Checkout) -> None:
    nft, lists = root.tools / "nft", root.tools / "lists"
    log = fake_apt(root, install=f'[ -e "{lists}" ] && cp /bin/true "{nft}"')
    update = f'case "$*" in *" update") : >"{lists}" ;; esac'
    root.tool("apt-get", update + "\n" + (root.tools / "apt-get").read_text())
    root.run("up")
    assert VERB.findall(log.read_text()) == ["install", "update", "install"]


def test_no_apt_get_at_all(root: Checkout) -> None:
    _, (line,) = root.run("up", code=1)
    assert line.startswith("sallyport: needs what Debian calls nftables, and there is no apt-get here")


def test_a_user_without_sudo_is_told_the_names(checkout: Checkout) -> None:
    checkout.tool("id", "echo 1000")
    for name in ("ip", "wg", "wireguard-go", "iperf3", "curl", "ping"):
        checkout.tool(name, "")
    log = fake_apt(checkout, install="exit 0")
    _, (line,) = checkout.run("bench", "tunnel", code=3)
    assert line.endswith("as root: apt-get install nftables")
    assert not log.exists()


def test_a_user_s_packages_come_through_sudo(checkout: Checkout) -> None:
    checkout.tool("id", "echo 1000")
    for name in ("ip", "wg", "wireguard-go", "iperf3", "curl", "ping"):
        checkout.tool(name, "")
    log = fake_apt(checkout, install=f'cp /bin/true "{checkout.tools}/nft"')
    checkout.tool("sudo", f'echo sudo >>"{log}"; exec "$@"')
    out, _ = checkout.run("bench", "tunnel")
    assert out.startswith("bench/__main__.py ")
    assert out.endswith(" 'tunnel'\n")
    assert log.read_text().split()[0] == "sudo"


def test_no_python_asks_for_debian_s(bare: Checkout) -> None:
    bare.tool("id", "echo 0")
    python = (bare.tools / "python3").readlink()
    (bare.tools / "python3").unlink()
    log = fake_apt(bare, install=f'ln -s {python} "{bare.tools}/python3"')
    _, progress = bare.run("version")
    assert progress[0].startswith("sallyport: installing Debian packages: python3 python3-venv ")
    assert len(log.read_text().splitlines()) == 1


def test_an_old_python_does_not_do(bare: Checkout) -> None:
    bare.tool("id", "echo 0")
    bare.tool("python3", "echo /usr/bin/python3.9; exit 1")
    fake_apt(bare, install=":")
    _, progress = bare.run("version", code=1)
    assert progress[-1].startswith("sallyport: needs Python 3.11 or newer")


def test_packages_of_python_that_cannot_be_had(checkout: Checkout) -> None:
    lock = checkout.root / "requirements/runtime.lock"
    lock.write_text("no-such-package==1 --hash=sha256:" + "0" * 64 + "\n")
    out, lines = checkout.run("version", code=1)
    assert out == ""
    error, details = lines[1].split("; details in ")
    assert error == "sallyport: could not install the Python packages (is there a network?)"
    assert "no-such-package" in Path(details).read_text()
    lock.write_text("# fewer\n")
    assert len(checkout.run("version")[1]) == 1, "the .venv that was there is still good"
