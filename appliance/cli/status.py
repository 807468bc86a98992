"""`sallyport status`: the running exit on one screen."""

from __future__ import annotations

import argparse
from typing import Any, Final

from appliance.cli.asking import add_options, age, ask_running, show_json, show_table
from appliance.cli.key import key_rows
from appliance.cli.parser import Commands, Parser

_DESCRIPTION: Final = """\
Show how the running exit is: health, rates (two readings, a second apart), sessions, dropped packets by
reason, and the latest warnings of its log. When none runs it says so and exits with 1.
"""


def add(commands: Commands[Parser]) -> None:
    parser = commands.add_parser(
        "status",
        help="how the running exit is",
        description=_DESCRIPTION,
        epilog="examples:\n  sallyport status\n  sallyport status --json",
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    answer = ask_running(options, "status")
    if options.json:
        show_json(answer)
    else:
        show_table(_rows(answer))
    return 0


def _rows(answer: dict[str, Any]) -> list[tuple[str, str]]:
    health, sessions, rates = answer["health"], answer["sessions"], answer["rates"]
    how = "well" if health["well"] else "NOT WELL"
    static = f", {sessions['static_peers']} static peers" if sessions["static_peers"] else ""
    drains = ", DRAINING: no new ones" if answer["draining"] else ""
    refused = answer["refused"]
    rows = [
        ("sallyport", f"{answer['version']} on {answer['interface']}, up {age(answer['uptime_seconds'])}"),
        ("health", f"{how}: pump {health['pump']}, database {health['database']}"),
        ("sessions", f"{sessions['live']} live, {sessions['addresses_free']} addresses free{static}{drains}"),
        ("to clients", _speed(rates, "to_clients")),
        ("from clients", _speed(rates, "from_clients")),
        ("drops", _counts(answer["drops"])),
        ("refused", "no answer" if refused is None else _counts(refused)),
        ("ipv6", answer["ipv6"]),
        ("endpoint", answer["endpoint"]),
        *key_rows(answer),
        ("api", answer["api"]),
    ]
    lines = [f"{warning['count']} x {warning['line']}" for warning in answer["warnings"]] or ["none"]
    return [*rows, ("warnings", lines[0]), *(("", line) for line in lines[1:])]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items()) or "none"


def _speed(rates: dict[str, Any], way: str) -> str:
    bits, unit = 8 * float(rates[f"{way}_bytes_per_second"]), "bit/s"
    for larger in ("kbit/s", "Mbit/s", "Gbit/s"):
        if bits >= 1000:
            bits, unit = bits / 1000, larger
    return f"{bits:.1f} {unit}, {rates[f'{way}_packets_per_second']} packets/s"
