"""Options over file over defaults, and one clear line for every value that cannot be."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import KEYS, HostPort, UpConfig, read_file, resolve
from appliance.errors import UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "exit.toml"


def _refusal(path: Path) -> str:
    with pytest.raises(UsageError) as refusal:
        read_file(path)
    assert refusal.value.exit_code == 2
    return str(refusal.value)


def test_defaults() -> None:
    assert resolve({}, None) == UpConfig(
        interface="sally0",
        listen_port=51820,
        api=HostPort("127.0.0.1", 8080),
        public_ip=None,
        region="local",
        egress=None,
        pool=None,
        state_dir=Path("/var/lib/sallyport"),
        dns=(),
        allow_networks=(),
        conntrack_per_client=4096,
        nat_address=None,
        ipv6="auto",
        log_level="info",
    )


def test_each_default_is_a_value_that_could_be_given() -> None:
    for key in KEYS:
        if key.default is None or key.default == ():
            continue
        given_value = key.default if isinstance(key.default, int) else str(key.default)
        assert key.read(given_value) == key.default
        assert key.default_words == str(key.default)


def test_every_key_in_a_file(file: Path) -> None:
    file.write_text(
        """
        interface = "wg-exit"
        listen_port = 0
        api = "[::1]:0"
        public_ip = "2001:db8::1"
        region = "fsn"
        egress = "eth0"
        pool = "10.101.0.0/24"
        state_dir = "/srv/exit"
        dns = ["9.9.9.9", "2620:fe::9"]
        allow_networks = ["10.0.5.0/24"]
        conntrack_per_client = 100
        nat_address = "203.0.113.5"
        tls_certificate = "/srv/cert.pem"
        tls_key = "/srv/key.pem"
        trusted_proxies = ["10.0.5.2"]
        ipv6 = "reject"
        log_level = "debug"
        """
    )
    assert resolve({}, file) == UpConfig(
        interface="wg-exit",
        listen_port=0,
        api=HostPort("::1", 0),
        public_ip=ip_address("2001:db8::1"),
        region="fsn",
        egress="eth0",
        pool=IPv4Network("10.101.0.0/24"),
        state_dir=Path("/srv/exit"),
        dns=("9.9.9.9", "2620:fe::9"),
        allow_networks=(IPv4Network("10.0.5.0/24"),),
        conntrack_per_client=100,
        nat_address=IPv4Address("203.0.113.5"),
        ipv6="reject",
        log_level="debug",
        tls_certificate=Path("/srv/cert.pem"),
        tls_key=Path("/srv/key.pem"),
        trusted_proxies=(IPv4Network("10.0.5.2/32"),),
    )
    assert set(read_file(file)) == {key.name for key in KEYS}


def test_options_win_over_the_file_and_the_file_over_defaults(file: Path) -> None:
    file.write_text('region = "fsn"\nlisten_port = 1000\n')
    config = resolve({"region": "ash"}, file)
    assert (config.region, config.listen_port, config.interface) == ("ash", 1000, "sally0")


def test_a_relative_state_directory_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve({"state_dir": "state"}, None).state_dir == tmp_path / "state"


BAD: dict[str, list[object]] = {
    "interface": ["", "a" * 16, "a b", "a/b", "a:b", ".", "..", "all", "default", "x%d", "ü", "a\n", 5],
    "listen_port": [-1, 65536, "51820", True, 1.0, 10**30],
    "api": [
        *["", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:8080", "[::1]", "[::1:80"],
        *["[127.0.0.1]:80", "999.0.0.1:80", "1.2.3:80", "a b:80", "-x:80", "h:8o", "h:-1", "h:٣", 8080],
    ],
    "public_ip": ["", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "fe80::1%eth0", "1.2.3.4/32", "host", 1],
    "region": ["", "ASH", "a b", "-a", "a_b", "a" * 33, "a\n", "ä", 1, ["a"]],
    "egress": ["", "a" * 16, "a b", "a/b", ".", "all", "a\tb", 1],
    "pool": [
        *["", "10.0.0.0", "10.0.0.1/24", "10.0.0.0/7", "10.0.0.0/31", "10.0.0.0/32", "fd00::/64", "x/24"],
        *[
            "10.0.0.0/255.0.0.0",
            "224.0.0.0/24",
            "127.0.0.0/8",
            "240.0.0.0/8",
            "0.0.0.0/8",
            "10.0.0.0/24 ",
            10,
        ],
    ],
    "state_dir": ["", "a\0b", 1],
    "dns": ["9.9.9.9", ["host"], [1], ["9.9.9.9", ""]],
    "allow_networks": ["", "10.0.5.0", "10.0.5.1/24", "8.8.8.0/24", ["169.254.0.0/16"], [10], 10],
    "conntrack_per_client": [0, -1, 1_000_001, "many", True, 1.5],
    "nat_address": ["", "0.0.0.1", "127.0.0.1", "224.0.0.1", "240.0.0.1", "169.254.1.1", "fd00::1", 7],
    "ipv6": ["", "on", "REJECT", 1, ["off"]],
    "log_level": ["", "INFO", "loud", 1],
    "tls_certificate": ["", "a\0b", 1, ["x"]],
    "tls_key": ["", "a\0b", 1, ["x"]],
    "trusted_proxies": ["", "proxy", "10.0.0.1/8", "0.0.0.0/0", ["10.0.0.0/8", 1], 7],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_a_value_that_cannot_be(name: str, value: object) -> None:
    with pytest.raises(UsageError) as refusal:
        resolve({name: value}, None)
    line = str(refusal.value)
    assert line.startswith(f"--{name.replace('_', '-')}: must be ")
    assert line.isprintable()


def test_every_key_has_bad_values() -> None:
    assert set(BAD) == {key.name for key in KEYS}


GOOD = {
    "interface": ["a", "a" * 15, "wg0", "exit_1", "a.b"],
    "api": ["0.0.0.0:80", "[::]:0", "localhost:8080", "exit-1.example.com:65535", "[fe80::1%lo]:80"],
    "public_ip": ["10.0.0.5", "203.0.113.9", "2001:db8::5", "127.0.0.1"],
    "egress": ["eth0", "br-0a1b2c", "wlan0.100", "ü%"],
    "pool": ["10.0.0.0/8", "10.101.0.0/30", "100.64.0.0/10"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in GOOD.items() for value in values]
)
def test_a_value_that_can_be(name: str, value: str) -> None:
    assert str(getattr(resolve({name: value}, None), name)) == value


@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        ("listen-port", "listen_port"),
        ("Interface", "interface"),
        ("statedir", "state_dir"),
        ("poool", "pool"),
    ],
)
def test_an_unknown_key_names_the_nearest(file: Path, written: str, nearest: str) -> None:
    file.write_text(f"{written} = 1\n")
    assert _refusal(file) == f"{file}: unknown key '{written}'; did you mean {nearest}?"


def test_an_unknown_key_like_no_other_lists_them(file: Path) -> None:
    file.write_text('"zz\\nz" = 1\n')
    assert _refusal(file) == f"{file}: unknown key 'zz\\nz'; known keys: " + ", ".join(
        key.name for key in KEYS
    )


def test_a_section_is_an_unknown_key(file: Path) -> None:
    file.write_text("[interfaces]\nname = 1\n")
    assert "unknown key 'interfaces'; did you mean interface?" in _refusal(file)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('region = "a"\nregion = "b"\n', 2),
        ("a = 1\n\n= 2\n", 3),
        ('region = "a\n', 1),
        ("region\n", 1),
        ("a = [1,\n2,\n", 2),
        ("", None),
    ],
)
def test_a_malformed_file_is_told_by_line(file: Path, text: str, line: int | None) -> None:
    file.write_text(text)
    if line is None:
        assert read_file(file) == {}
    else:
        assert _refusal(file).startswith(f"{file}:{line}: ")


def test_a_file_that_is_no_text(file: Path) -> None:
    file.write_bytes(b'region = "a"\n\xff\xfe\n')
    assert _refusal(file) == f"{file}:2: not UTF-8 text"


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 50_000, "listen_port = " + "9" * 5000, "pool = 0x" + "f" * 9000]
)
def test_a_file_meant_to_break_the_reader(file: Path, text: str) -> None:
    file.write_text(text)
    assert len(_refusal(file)) < 300


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert _refusal(tmp_path / "none.toml").endswith("none.toml: cannot be read: No such file or directory")
    assert _refusal(tmp_path).endswith("cannot be read: Is a directory")


def test_a_wrong_type_names_file_and_key(file: Path) -> None:
    file.write_text('listen_port = "51820"\n')
    expected = f"{file}: listen_port: must be a port number from 0 to 65535 (0: any free port), not '51820'"
    assert _refusal(file) == expected


@given(st.binary(max_size=200))
def test_any_bytes_give_values_or_a_usage_error(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(raw)
    try:
        assert set(read_file(path)) <= {key.name for key in KEYS}
    except UsageError:
        pass
