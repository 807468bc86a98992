"""What `up` can be told: a table of keys, read from options, then a TOML file, then defaults.

One flat TOML file; each key of `KEYS` is also an option of `up` where that makes sense. A value is judged
in one place, whoever gave it, and every refusal is one `UsageError` line that says where the value stood.
An unknown key is an error that names the nearest known one: a misspelt key that is silently ignored
would run an exit that is not the one its operator described.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

from appliance.config_api import check_pair, read_pem_file, read_trusted_proxies
from appliance.config_network import (
    read_allow_networks,
    read_conntrack_per_client,
    read_ipv6,
    read_nat_address,
)
from appliance.core.exitplan import (
    CONNTRACK_PER_CLIENT,
    IPV6_MODES,
    Ipv6Mode,
    Network,
)
from appliance.core.ifnames import ANY_FORM, PLAIN_FORM, is_plain, is_possible
from appliance.errors import UsageError
from appliance.log import LEVELS, one_line

DEFAULT_STATE_DIR: Final = "/var/lib/sallyport"

# The same form as `region` has in the session API (api/models.py).
REGION_FORM: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")

_HOST_NAME_FORM: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


class HostPort(NamedTuple):
    """An address to listen on; the host without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class UpConfig:
    """Everything `appliance.main.up` needs to know; None means "find one"."""

    interface: str
    listen_port: int
    api: HostPort
    public_ip: IPv4Address | IPv6Address | None
    region: str
    egress: str | None
    pool: IPv4Network | None
    state_dir: Path
    dns: tuple[str, ...]
    allow_networks: tuple[Network, ...]
    conntrack_per_client: int
    nat_address: IPv4Address | None
    ipv6: Ipv6Mode | IPv6Network
    log_level: str
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True)
class Key:
    """One key: `read` turns the value of a file into ours or raises ValueError with what it must be."""

    name: str
    form: str
    doc: str
    default: object
    default_words: str
    read: Callable[[object], object]
    option: bool = True


def _read_interface(value: object) -> str:
    text = _string(value)
    if not is_plain(text):
        raise ValueError(PLAIN_FORM)
    return text


def _read_egress(value: object) -> str:
    # An interface that exists already has whatever name the kernel let through.
    text = _string(value)
    if not is_possible(text):
        raise ValueError(ANY_FORM)
    return text


def _read_port(value: object) -> int:
    # A TOML true is an int to Python, not to a person.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 65535:
        raise ValueError("a port number from 0 to 65535 (0: any free port)")
    return value


def _read_host_port(value: object) -> HostPort:
    text = _string(value)
    host, colon, port = text.rpartition(":")
    if colon and re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= 65535:
        if host.startswith("[") and host.endswith("]"):
            if isinstance(_address(host[1:-1]), IPv6Address):
                return HostPort(host[1:-1], int(port))
        elif re.fullmatch(r"[0-9.]+", host):
            if isinstance(_address(host), IPv4Address):
                return HostPort(host, int(port))
        elif _HOST_NAME_FORM.fullmatch(host):
            return HostPort(host, int(port))
    raise ValueError("HOST:PORT with a port from 0 to 65535, IPv6 hosts in brackets")


def _read_public_ip(value: object) -> IPv4Address | IPv6Address:
    address = _address(_string(value))
    zoned = isinstance(address, IPv6Address) and address.scope_id is not None
    if address is None or zoned or address.is_unspecified or address.is_multicast:
        raise ValueError("an IPv4 or IPv6 address that clients can send to")
    return address


def _read_region(value: object) -> str:
    text = _string(value)
    if not REGION_FORM.fullmatch(text):
        raise ValueError("a code of 1 to 32 lower-case letters, digits and dashes")
    return text


def _read_pool(value: object) -> IPv4Network:
    text = _string(value)
    problem = "an IPv4 prefix from /8 to /30 without host bits, such as 10.101.0.0/24"
    if not re.fullmatch(r"[0-9.]+/[0-9]{1,2}", text):
        raise ValueError(problem)
    try:
        network = IPv4Network(text)
    except ValueError:
        raise ValueError(problem) from None
    if not 8 <= network.prefixlen <= 30:
        raise ValueError(problem)
    first = network.network_address
    if first.is_multicast or first.is_loopback or first.is_reserved or first in IPv4Network("0.0.0.0/8"):
        raise ValueError("an IPv4 prefix whose addresses hosts can have")
    return network


def _read_state_dir(value: object) -> Path:
    text = _string(value)
    if not text or "\0" in text:
        raise ValueError("the path of a directory")
    return Path(os.path.abspath(text))


def _read_dns(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        addresses = [_address(item) if isinstance(item, str) else None for item in value]
        if None not in addresses:
            return tuple(str(address) for address in addresses)
    raise ValueError("a list of IP addresses")


def _read_log_level(value: object) -> str:
    text = _string(value)
    if text not in LEVELS:
        raise ValueError("one of " + ", ".join(LEVELS))
    return text


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    return value


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


KEYS: Final = (
    Key(
        "state_dir",
        "path",
        "where keys, sessions and tokens are kept",
        Path(DEFAULT_STATE_DIR),
        DEFAULT_STATE_DIR,
        _read_state_dir,
    ),
    Key("interface", "name", "the tunnel interface to create", "sally0", "sally0", _read_interface),
    Key("listen_port", "port", "the UDP port of the tunnel; 0: any free port", 51820, "51820", _read_port),
    Key(
        "api",
        "host:port",
        "where the session API listens; port 0: any free port",
        HostPort("127.0.0.1", 8080),
        "127.0.0.1:8080",
        _read_host_port,
    ),
    Key(
        "tls_certificate",
        "file",
        "the certificate chain of the API (PEM); with tls_key it speaks HTTPS",
        None,
        "none: plain HTTP",
        read_pem_file,
    ),
    Key("tls_key", "file", "the private key of tls_certificate (PEM)", None, "none", read_pem_file),
    Key(
        "trusted_proxies",
        "prefixes",
        "the proxies whose X-Forwarded-For is believed",
        (),
        "none",
        read_trusted_proxies,
    ),
    Key(
        "public_ip",
        "address",
        "the address clients are told, taken as given",
        None,
        "the egress interface's",
        _read_public_ip,
    ),
    Key("region", "code", "the region code this exit goes by", "local", "local", _read_region),
    Key(
        "egress",
        "iface",
        "the interface that traffic leaves by",
        None,
        "the default route's",
        _read_egress,
    ),
    Key(
        "pool",
        "prefix",
        "the IPv4 prefix, /8 to /30, that client addresses come from",
        None,
        "a free one",
        _read_pool,
    ),
    Key(
        "dns",
        "list of addresses",
        "name servers written into client configurations",
        (),
        "none",
        _read_dns,
        option=False,
    ),
    Key(
        "allow_networks",
        "prefixes",
        "private networks behind the exit that clients may reach",
        (),
        "none",
        read_allow_networks,
    ),
    Key(
        "conntrack_per_client",
        "number",
        "the most open flows of one client, 1 to 1000000",
        CONNTRACK_PER_CLIENT,
        str(CONNTRACK_PER_CLIENT),
        read_conntrack_per_client,
    ),
    Key(
        "nat_address",
        "address",
        "the IPv4 address that clients' traffic leaves the egress with",
        None,
        "the way out's own",
        read_nat_address,
    ),
    Key(
        "ipv6",
        "mode",
        f"what becomes of clients' IPv6: {', '.join(IPV6_MODES)}, or the prefix routed here for them",
        "auto",
        "auto",
        read_ipv6,
    ),
    Key(
        "log_level",
        "word",
        "the least level that is logged: " + ", ".join(LEVELS),
        "info",
        "info",
        _read_log_level,
        option=False,
    ),
)

_BY_NAME: Final = {key.name: key for key in KEYS}


def resolve(options: Mapping[str, object], file: Path | None) -> UpConfig:
    """Options over the file over defaults; `options` has only what was given, by key name."""
    values: dict[str, Any] = {key.name: key.default for key in KEYS}
    if file is not None:
        values.update(read_file(file))
    for name, value in options.items():
        values[name] = _judge(_BY_NAME[name], value, f"--{name.replace('_', '-')}")
    problem = check_pair(values["tls_certificate"], values["tls_key"])
    if problem is not None:
        raise UsageError(problem)
    return UpConfig(**values)


def read_file(path: Path) -> dict[str, object]:
    """The keys that a TOML file sets, judged."""
    values, problems = judge_file(path)
    if problems:
        raise UsageError(problems[0])
    return values


def judge_file(path: Path) -> tuple[dict[str, object], list[str]]:
    """The keys that a TOML file sets, judged, and a line for each that cannot be.

    Raises `UsageError` when the file cannot be read as TOML at all.
    """
    values: dict[str, object] = {}
    problems = []
    for name, value in _parse(path).items():
        try:
            values[name] = _judge(_known(name, path), value, f"{path}: {name}")
        except UsageError as problem:
            problems.append(str(problem))
    return values, problems


def _known(name: str, path: Path) -> Key:
    key = _BY_NAME.get(name)
    if key is None:
        near = difflib.get_close_matches(name.lower(), _BY_NAME, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "known keys: " + ", ".join(_BY_NAME)
        raise UsageError(f"{path}: unknown key {_shown(name)}; {hint}")
    return key


def _judge(key: Key, value: object, where: str) -> object:
    try:
        return key.read(value)
    except ValueError as problem:
        raise UsageError(f"{where}: must be {problem}, not {_shown(value)}") from None


def _parse(path: Path) -> dict[str, object]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}:{_line(raw, error.start)}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        said = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error), re.DOTALL)
        what = said[1] if said else str(error)
        line = int(said[2]) if said and said[2] else _line(raw.rstrip(), len(raw))
        raise UsageError(f"{path}:{line}: {what}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, arrays in arrays in arrays
        raise UsageError(f"{path}:1: too large or too deep to read") from None


def _line(raw: bytes, position: int) -> int:
    return raw.count(b"\n", 0, position) + 1


def _shown(value: object) -> str:
    try:
        text = one_line(value if isinstance(value, str) else repr(value))
    except ValueError:  # Python refuses to write out numbers of thousands of digits
        text = "a huge number"
    text = text if len(text) <= 60 else text[:57] + "..."
    return f"'{text}'" if isinstance(value, str) else text
