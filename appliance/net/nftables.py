"""Apply and remove the exit's own nftables table, through the `nft` program.

Who calls it: `exit.py`. One transaction does it all: `add` (so that the next word cannot fail), `delete`,
and the table anew. The kernel switches from the old rules to the new at one instant, so a restart after a
crash leaves no moment without NAT or filtering, and connection tracking is not touched. Works with nft
1.0.6 (Debian 12) and later. Tables of others are neither read nor written.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Final

from appliance.core.exitplan import Table
from appliance.errors import PrivilegeError, UserError

# nft takes some ten milliseconds; one that hangs must not hold up the end of the program.
_TIMEOUT_SECONDS: Final = 3.0

# A service's PATH need not name the directory where Debian keeps it.
_SEARCH: Final = ("/usr/sbin", "/sbin", "/usr/local/sbin")


class NftablesError(UserError):
    """nft refused, with its first words on why."""


def render(table: Table) -> str:
    """The transaction that makes `table` be, and nothing else of that name."""
    name = f"{table.family} {table.name}"
    lines = [f"add table {name}", f"delete table {name}", f"table {name} {{"]
    for one in table.sets:
        lines += [f"\tset {one.name} {{", *(f"\t\t{word}" for word in one.words), "\t}"]
    for chain in table.chains:
        lines.append(f"\tchain {chain.name} {{")
        if chain.hook is not None:
            lines.append(f"\t\t{chain.hook}; policy accept;")
        lines += [f"\t\t{rule}" for rule in chain.rules]
        lines.append("\t}")
    lines.append("}")
    return "\n".join(lines) + "\n"


def find_nft() -> str:
    """The nft program. PrivilegeError when there is none."""
    found = shutil.which("nft") or shutil.which("nft", path=":".join(_SEARCH))
    if found is None:
        raise PrivilegeError("the program nft is missing: install the package nftables")
    return found


def check(table: Table) -> None:
    """Let the kernel check the whole transaction without doing it."""
    _run(["--check", "--file", "-"], render(table))


def apply(table: Table) -> None:
    """Make `table` be, in one transaction."""
    _run(["--file", "-"], render(table))


def remove(family: str, name: str) -> None:
    """Delete a table of ours; none is fine."""
    _run(["--file", "-"], f"add table {family} {name}\ndelete table {family} {name}\n")


def list_ruleset() -> object:
    """All tables of this namespace, as nft's JSON."""
    try:
        return json.loads(_run(["--json", "list", "ruleset"]))
    except ValueError:
        raise NftablesError("nft gave no JSON") from None


def count(table: Table) -> dict[str, int]:
    """The packets that the table's rules with a counter and a comment have counted, added up by comment."""
    text = _run(["--json", "--terse", "list", "table", table.family, table.name])
    counted: dict[str, int] = {}
    try:
        for entry in json.loads(text)["nftables"]:
            rule = entry.get("rule", {})
            packets = [part["counter"]["packets"] for part in rule.get("expr", ()) if "counter" in part]
            if packets and "comment" in rule:
                counted[rule["comment"]] = counted.get(rule["comment"], 0) + sum(packets)
    except (ValueError, KeyError, TypeError):
        raise NftablesError("nft gave no table that makes sense") from None
    return counted


def _run(arguments: list[str], text: str = "") -> str:
    try:
        done = subprocess.run(
            [find_nft(), *arguments],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NftablesError(f"nft did not end within {_TIMEOUT_SECONDS:.0f} s") from None
    if done.returncode == 0:
        return done.stdout
    why = next((line.strip() for line in done.stderr.splitlines() if line.strip()), "no reason given")
    if "Operation not permitted" in done.stderr:
        raise PrivilegeError(f"nftables needs root or CAP_NET_ADMIN (nft: {why})")
    raise NftablesError(f"nft failed: {why}")
