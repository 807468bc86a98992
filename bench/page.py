"""The page of the last full run: made by `bench all --page`, or by `python -m bench.page RUN.json`.

RUN.json is what `bench all --json` printed, or what `--page` stored: that has the samples of each row, too,
under a key of their own (`samples`). It becomes docs/performance.json, the pictures beside it
(plot.py), and the part of docs/performance.md between the two marks; what people wrote around that stays.
So the page shows what the JSON says and nothing else; a test makes it again and compares. Gates that do
not hold are named at the end, for each must be explained in the last section of the page.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from bench import plot
from bench.rows import beside

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- bench.page: begin -->", "<!-- bench.page: end -->"
EXPLAINED = "## Gates that do not hold"
HEAD = "| | ours | peer | limit | unit | ratio | spread | gate | aim | holds |\n" + "|---" * 10 + "|"

Report = dict[str, Any]


def programs(report: Report) -> tuple[str, str]:
    """Short names of ours and of the peer."""
    return report["machine"]["ours"].split()[0], report["machine"]["peer"].split()[0]


def pictures(report: Report) -> dict[str, str]:
    """SVG by file name."""
    return {f"performance-{name}.svg": plot.svg(chart) for name, chart in _drawn(report)}


def block(report: Report) -> str:
    """The generated part of the page."""
    machine, rows = report["machine"], report["rows"]
    parts = [
        f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python"
        f" {machine['python']}: {machine['ours']} against {machine['peer']}"
        + "".join(f", {words}" for words in _details(machine))
        + ".",
        verdicts(rows),
        *(f"![{chart.title}](performance-{name}.svg)" for name, chart in _drawn(report)),
    ]
    for bench, of_it in groupby(rows, key=lambda row: row["bench"]):
        parts.append(f"### {bench}\n\n{HEAD}\n" + "\n".join(line(row) for row in of_it))
    return "\n\n".join(parts)


def verdicts(rows: Sequence[Report]) -> str:
    """What became of all gates, in one sentence that leaves none out."""
    gates = [row for row in rows if row["holds"] is not None or not (row["gate"] is row["bound"] is None)]
    holding = sum(row["holds"] is True for row in gates)
    failing = [_name(row) for row in gates if row["holds"] is False]
    noisy = [row for row in gates if too_noisy(row)]
    missing = [_name(row) for row in noisy if not _median_reaches(row)]
    absent = len(gates) - holding - len(failing) - len(noisy)
    parts = [f"{holding} hold", f"{len(failing) or 'none'} fail{'s' * (len(failing) < 2)}{_listed(failing)}"]
    if noisy:
        which = (
            f"in {len(missing)} of them the median misses{_listed(missing)}"
            if missing
            else ("in all of them the median is within the gate")
        )
        parts.append(f"{len(noisy)} could not be judged ({which})")
    if absent:
        parts.append(f"{absent} this CPU cannot run")
    return f"Of {len(gates)} gates {', '.join(parts)}."


def _listed(names: Sequence[str]) -> str:
    return f": {'; '.join(names)}" if names else ""


def _median_reaches(row: Report) -> bool:
    """Whether the gate holds by the figures alone, however much they spread."""
    absolute = row["bound"] is not None
    value, mark = (row["ours"], row["bound"]) if absolute else (row["ratio"], row["gate"])
    return bool(value >= mark if row["better"] == "higher" else value <= mark)


def _details(machine: Report) -> list[str]:
    """What a record may have besides."""
    libcrypto, runs = machine.get("libcrypto"), machine.get("runs")
    return ([f"libcrypto is {libcrypto}"] if libcrypto else []) + ([f"{runs} runs"] if runs else [])


def _drawn(report: Report) -> list[tuple[str, plot.Chart]]:
    found = plot.charts(report["rows"], programs(report)).items()
    return [(name, chart) for name, chart in found if chart.points]


def _name(row: Report) -> str:
    return f"{row['bench']}: {row['name']}"


def too_noisy(row: Report) -> bool:
    """There is a gate and there are figures, and yet no verdict."""
    judged = row["bound"] is not None or (row["gate"] is not None and row["ratio"] is not None)
    return judged and row["ours"] is not None and row["holds"] is None


def line(row: Report) -> str:
    """A row of the table."""
    absolute = row["bound"] is not None
    holds = {True: "yes", False: "**no**", None: "too noisy" if too_noisy(row) else ""}[row["holds"]]
    cells = [
        row["name"], _figure(row["ours"], row["bound"]), _figure(row["peer"]), _figure(row["limit"]),
        row["unit"], "" if row["ratio"] is None else f"{beside(row['ratio'], row['gate'], 2)} x",
        "" if row["spread"] is None else f"{100 * row['spread']:.0f} %",
        _mark(row["bound"] if absolute else row["gate"], absolute), _mark(row["aim"], absolute), holds,
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _figure(value: float | None, mark: float | None = None) -> str:
    if value is None:
        return ""
    return beside(value, mark, 0) if abs(value) >= 1000 else beside(value, mark, 4, "g")


def _mark(value: float | None, absolute: bool) -> str:
    if value is None:
        return ""
    return f"{value:,.9g}" if absolute else f"{value:g} x"


def rewritten(page: str, report: Report) -> str:
    """The page with its generated part made anew."""
    before, mark, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n\n{block(report)}\n\n{END}{after}"


def unexplained(page: str, report: Report) -> list[str]:
    """Gates without a good verdict that the last section of the page does not name, as `bench: row`."""
    words = page.partition(EXPLAINED)[2]
    owed = [_name(row) for row in report["rows"] if row["holds"] is False or too_noisy(row)]
    return [name for name in owed if f"`{name}`" not in words]


def stale(page: str, report: Report) -> list[str]:
    """Rows named in the last section that now hold, or that the report does not have."""
    owed = {_name(row) for row in report["rows"] if row["holds"] is False or too_noisy(row)}
    benches = {row["bench"] for row in report["rows"]}
    named = re.findall(r"`([^`]+)`", page.partition(EXPLAINED)[2])
    return [
        name for name in named if name.partition(": ")[0] in benches and ": " in name and name not in owed
    ]


def remarks(page: str, report: Report) -> list[str]:
    """What people must still write or take away, a line each."""
    return [f"not explained under {EXPLAINED!r}: {name}" for name in unexplained(page, report)] + [
        f"explained under {EXPLAINED!r}, and no longer so: {name}" for name in stale(page, report)
    ]


def missing_benches(report: Report, benches: Sequence[str]) -> list[str]:
    """Those of which the report has no row."""
    there = {row["bench"] for row in report["rows"]}
    return [name for name in benches if name not in there]


def text_of(report: Report) -> str:
    """JSON for a file: a key a line, and a list of figures on one line."""
    spread_out = json.dumps(report, indent=2, allow_nan=False)
    return re.sub(r"\[\n[^][{}\"]*\]", lambda found: " ".join(found[0].split()), spread_out) + "\n"


def write(report: Report, docs: Path) -> list[str]:
    """All files of the page; gives what people must still do to it."""
    page = docs / "performance.md"
    text = rewritten(page.read_text(), report)
    drawn = pictures(report)
    for name, picture in drawn.items():
        (docs / name).write_text(picture)
    (docs / "performance.json").write_text(text_of(report))
    page.write_text(text)
    return remarks(text, report)


def main(argv: Sequence[str]) -> int:
    if len(argv) != 1:
        print("usage: python -m bench.page RUN.json   (what bench all --json printed)", file=sys.stderr)
        return 2
    try:
        report = json.loads(Path(argv[0]).read_text())
        if report["bench"] != "all":
            raise ValueError(f"a report of {report['bench']}, not of all")
        missing = write(report, DOCS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"bench.page: {argv[0]}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for remark in missing:
        print(remark, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
