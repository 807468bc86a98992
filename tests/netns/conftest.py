"""Fixtures of the tests with real parts; see scene.py for the stage.

What is missing on the machine skips here; with CI set the root conftest turns that into a failure.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.netns.scene import Client, Exit, Scene

pytest.register_assert_rewrite("tests.netns.lives")

TOOLS = (
    "conntrack",
    "curl",
    "ip",
    "mkfs.ext4",
    "nft",
    "ping",
    "setpriv",
    "sysctl",
    "tcpdump",
    "unshare",
    "wg",
    "wg-quick",
    "wireguard-go",
)


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"missing programs: {' '.join(missing)}")


@pytest.fixture(scope="module")
def scene(tools: None) -> Iterator[Scene]:
    with Scene() as stage:
        yield stage


@pytest.fixture(scope="module")
def running(scene: Scene) -> Exit:
    """An exit with default options, shared by the tests of a file."""
    return scene.up()


@pytest.fixture
def client(scene: Scene) -> Client:
    """A client of the test's own: what it leaves behind meets nobody."""
    return scene.client()
