"""Which settings make the host forward clients' IPv6, and what must be set before them.

Who calls it: `ipv6.py`, when clients' IPv6 is to go on; `forwarding.py` saves, writes and puts back what is
named here.

Since kernel 6.17 an interface has `force_forwarding`: the tunnel and those by which answers come get it, and
that is all.
Before, IPv6 is forwarded only with `all/forwarding`, which is a trap: it switches every interface (and
`default`) to forwarding, and one that forwards no longer heeds router advertisements, so the kernel throws
away the host's own default route. `accept_ra = 2` heeds them all the same, and must be there *before*. So:
first `accept_ra = 2` on every interface that heeds advertisements now, then `all/forwarding`; the values of
all interfaces are named too, so that they are saved and put back. And since the whole host would now forward
between interfaces that did not before, our table drops that (`closes`): it stays as it was.

A host that forwards IPv6 already is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FORCE: Final = "force_forwarding"
ALL: Final = "net/ipv6/conf/all/forwarding"


@dataclass(frozen=True)
class Forwarding6:
    """Settings in the order of writing, and whether all else must be kept from being forwarded."""

    settings: dict[str, str]
    closes: bool = False


def ipv6_forwarding(proc: Path, tunnel: str, ways: Iterable[str], wrote: Mapping[str, str]) -> Forwarding6:
    """What this kernel needs. By `ways` answers come in; `wrote` are settings of a run of ours that crashed
    and still stand."""
    if _read(proc, ALL) == "1" and ALL not in wrote:
        return Forwarding6({})
    if (proc / "sys" / _conf("default", FORCE)).exists():
        return Forwarding6({_conf(name, FORCE): "1" for name in (tunnel, *ways)})
    directory = proc / "sys/net/ipv6/conf"
    names = sorted({path.name for path in directory.iterdir()} - {"all", tunnel})
    heeding = [_conf(name, "accept_ra") for name in names if _heeds(proc, name, wrote)]
    forwarding = [ALL, *(_conf(name, "forwarding") for name in names)]
    return Forwarding6({**dict.fromkeys(heeding, "2"), **dict.fromkeys(forwarding, "1")}, closes=True)


def _heeds(proc: Path, name: str, wrote: Mapping[str, str]) -> bool:
    """Whether the interface heeds router advertisements, or did before we came."""
    path = _conf(name, "accept_ra")
    if path in wrote:
        return True
    return (
        name != "lo"
        and _read(proc, path) == "1"
        and (_read(proc, _conf(name, "forwarding")) == "0" or _conf(name, "forwarding") in wrote)
    )


def _conf(name: str, key: str) -> str:
    return f"net/ipv6/conf/{name}/{key}"


def _read(proc: Path, path: str) -> str | None:
    try:
        return (proc / "sys" / path).read_text().strip()
    except OSError:
        return None
