"""`up`: options over the file over defaults, and the exit is called with the result."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from pathlib import Path
from types import ModuleType

import pytest

from appliance.cli import main
from appliance.config import KEYS, HostPort, UpConfig, resolve
from tests.appliance.cli.running import ROOT

EVERY_OPTION = [
    *["--interface", "wg9", "--listen-port", "0", "--api", "[::1]:0", "--public-ip", "203.0.113.7"],
    *["--region", "007", "--egress", "eth0", "--pool", "10.9.0.0/24", "--state-dir", "/srv/x"],
    *["--allow-networks", "10.0.5.0/24,192.168.9.9/32", "--conntrack-per-client", "100"],
    *["--nat-address", "203.0.113.8", "--ipv6", "reject"],
]

EVERY_OPTION += [
    "--tls-certificate",
    "/c.pem",
    "--tls-key",
    "/k.pem",
    "--trusted-proxies",
    "10.0.5.2,fd00::/8",
]


class _Exit:
    """A stand-in for `appliance.main`, whose imports are heavy and whose `up` needs root."""

    def __init__(self) -> None:
        self.configs: list[UpConfig] = []
        self.act: Callable[[], int] = lambda: 0

    def up(self, config: UpConfig) -> int:
        self.configs.append(config)
        return self.act()


@pytest.fixture
def exit_(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Exit]:
    stand_in, module = _Exit(), ModuleType("appliance.main")
    module.up = stand_in.up  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "appliance.main", module)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield stand_in
    for number, handler in before.items():
        signal.signal(number, handler)


def test_defaults(exit_: _Exit) -> None:
    assert main(["up"]) == 0
    assert exit_.configs == [resolve({}, None)]


def test_every_option(exit_: _Exit) -> None:
    assert main(["up", *EVERY_OPTION]) == 0
    assert exit_.configs == [
        UpConfig(
            interface="wg9",
            listen_port=0,
            api=HostPort("::1", 0),
            public_ip=ip_address("203.0.113.7"),
            region="007",  # a number to a shell, a code to us
            egress="eth0",
            pool=IPv4Network("10.9.0.0/24"),
            state_dir=Path("/srv/x"),
            dns=(),
            allow_networks=(IPv4Network("10.0.5.0/24"), IPv4Network("192.168.9.9/32")),
            conntrack_per_client=100,
            nat_address=IPv4Address("203.0.113.8"),
            ipv6="reject",
            log_level="info",
            tls_certificate=Path("/c.pem"),
            tls_key=Path("/k.pem"),
            trusted_proxies=(ip_network("10.0.5.2"), ip_network("fd00::/8")),
        )
    ]
    options = {word[2:].replace("-", "_") for word in EVERY_OPTION if word.startswith("--")}
    assert options == {key.name for key in KEYS if key.option}


def test_options_win_over_the_file(exit_: _Exit, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('region = "fsn"\nlog_level = "debug"\nlisten_port = 7\n')
    assert main(["up", "--listen-port", "8", "--config", str(tmp_path / "x.toml")]) == 0
    config = exit_.configs[0]
    assert (config.region, config.log_level, config.listen_port) == ("fsn", "debug", 8)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--listen-port", "x"],
            "--listen-port: must be a port number from 0 to 65535 (0: any free port), not 'x'",
        ),
        (
            ["--listen-port", "-1"],
            "--listen-port: must be a port number from 0 to 65535 (0: any free port), not '-1'",
        ),
        (["--listen-port", "9" * 20], "--listen-port: must be a port number from 0 to 65535"),
        (["--pool", "10.0.0.1/24"], "--pool: must be an IPv4 prefix from /8 to /30 without host bits"),
        (["--interface", "a/b"], "--interface: must be an interface name"),
        (["--public-ip", "me"], "--public-ip: must be an IPv4 or IPv6 address"),
        (
            ["--region", "A\nB"],
            "--region: must be a code of 1 to 32 lower-case letters, digits and dashes, not 'A\\nB'",
        ),
    ],
)
def test_bad_options(exit_: _Exit, capsys: pytest.CaptureFixture[str], words: list[str], line: str) -> None:
    assert main(["up", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"sallyport: {line}")
    assert len(err.splitlines()) == 1
    assert exit_.configs == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_exit_listens_ends_it_as_done(exit_: _Exit, number: signal.Signals) -> None:
    def signalled() -> int:
        os.kill(os.getpid(), number)
        return 7

    exit_.act = signalled
    child = os.fork()
    if child == 0:
        os._exit(main(["up"]) or 8)  # only the signal itself ends it with 0
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_documentation_has_every_key_as_it_is() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    for key in KEYS:
        only = "" if key.option else " (file only)"
        assert f"| `{key.name}` | {key.form} | {key.default_words} | {key.doc}{only} |" in page


def test_the_file_of_the_documentation_is_a_good_one(exit_: _Exit, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    (tmp_path / "x.toml").write_text(page.split("```toml\n")[1].split("```")[0])
    assert main(["up", "--config", str(tmp_path / "x.toml")]) == 0
