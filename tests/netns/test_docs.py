"""The shell examples of the pages, run as they stand (docs/api.md has its own test in tests/api).

Each page gets a mount namespace of its own, so that the names it uses (network namespaces, the default
state directory) are free whatever the machine has, and leave nothing behind.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from bench.lab import Host, Lab
from bench.process import Process, wait_for
from tests.netns.scene import ROOT

pytestmark = pytest.mark.netns

BIN = ROOT / ".venv" / "bin"
# What a page's commands may write to, as empty as on a new machine.
FRESH = "for d in /run/netns /run/wireguard /var/lib/sallyport; do mkdir -p $d; mount -t tmpfs tmpfs $d; done"


def blocks(page: str) -> list[str]:
    """The page's shell examples, in order."""
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.DOTALL | re.MULTILINE)


def shell(script: str, host: Host | None = None) -> str:
    """Run with `sallyport` on PATH, stopping at the first command that fails; what it printed."""
    inside = ("unshare", "--mount", "--propagation", "private", "sh", "-euc", f"{FRESH}\n{script}")
    words = host.command(inside) if host is not None else list(inside)
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    # A session of its own: whatever a failing example leaves running goes with it.
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True
    ) as process:
        try:
            printed, said = process.communicate(timeout=100)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 0, printed + said
    return printed


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def test_sallyport_wg(lab: Lab) -> None:
    (example,) = blocks("sallyport-wg.md")
    ended = "for n in $(seq 400); do [ -e /run/wireguard/wg-doc0.sock ] || exit 0; sleep 0.05; done; exit 1"
    printed = shell(example + ended, lab.host("h"))
    assert "listening port: 51899" in printed
    assert "allowed ips: 192.0.2.0/24" in printed


def test_exit() -> None:
    (example,) = [block for block in blocks("exit.md") if "netns add" in block]
    printed = shell(example)
    assert "table inet sallyport_sally0" in printed
    assert printed.count("net.ipv4.conf.egress0.forwarding = 1") == 1
    assert printed.count("net.ipv4.conf.all.forwarding = 0") == 1
    assert printed.count("net.ipv4.conf.egress0.forwarding = 0") == 1
    assert '"wg_config":' in printed
    assert not Path("/tmp/sallyport-demo").exists()


def test_accounting() -> None:
    (example,) = blocks("accounting.md")
    printed = shell(example)
    assert "cut off" in printed
    ended, usage, refusal = (json.loads(line) for line in printed.splitlines() if line.startswith("{"))
    assert ended["terminated_reason"] == "quota_exceeded"
    billed = ended["bytes_in"] + ended["bytes_out"]
    assert 1_000_000 - 1420 < billed <= 1_000_000
    assert usage["bytes_used"] == refusal["bytes_used"] == billed
    page = (ROOT / "docs" / "accounting.md").read_text()
    (shown,) = re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    same = {"error", "tier", "bytes_limit", "session_limit", "resets_at", "hint"}
    assert list(refusal) == list(json.loads(shown))
    assert {name: refusal[name] for name in same} == {name: json.loads(shown)[name] for name in same}


def test_cli(lab: Lab) -> None:
    host = lab.host("h")
    host.address("lo", "203.0.113.7/32")
    _plain, up, token, *rest = blocks("cli.md")
    interface = lab.name("x")
    state = lab.directory() / "state"
    process = start(host, up.splitlines()[-1], interface, state)
    words = {"tk_z1o596v4ir3w": "", "tb_a3kf91c0pw2x": ""}
    made = ask(host, state, token.splitlines()[1])
    words["tk_z1o596v4ir3w"] = json.loads(made)["id"]
    secret = json.loads(made)["token"]
    api = process.stdout.split("api=")[1].strip()
    created = host.output(
        "curl", "-sS", f"{api}/v1/sessions", "-d", '{"region":"fsn"}', "-H", f"Authorization: Bearer {secret}"
    )
    words["tb_a3kf91c0pw2x"] = json.loads(created)["id"]
    printed = ""
    lines = [line for block in (token, *rest) for line in block.splitlines() if line]
    # A revoked token's sessions end with it, so that comes last.
    for line in sorted(lines, key=lambda line: "revoke" in line):
        for example, real in words.items():
            line = line.replace(example, real)
        if line.startswith("sallyport"):
            printed += ask(host, state, line)
    for word in words.values():
        assert word in printed
    assert re.search(r"^sallyport \d+\.\d+\.\d+$", printed, re.MULTILINE)
    assert process.stop() == 0


def start(host: Host, line: str, interface: str, state: Path) -> Process:
    """`sallyport up` as the page has it, on a free interface and a state directory of the test's own."""
    words = line.replace("'", "").split()
    process = host.start(str(BIN / words[0]), *words[1:], "--interface", interface, "--state-dir", str(state))
    wait_for(lambda: "\n" in process.stdout, "the ready line", seconds=40)
    return process


def ask(host: Host, state: Path, line: str) -> str:
    name, *words = line.split()
    where = ("--state-dir", str(state)) if words[0] in ("key", "token", "sessions") else ()
    return host.output(str(BIN / name), *words, *where)
