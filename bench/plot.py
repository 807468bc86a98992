"""Two lines in a picture: throughput of ours and of the peer, as SVG made of nothing but text.

Drawn from the rows of a report (see page.py): by size of a datagram from `bench pps`, and by number of TCP
streams from `bench tunnel`. The x axis has one place per measured point, at even distances; the y axis
begins at 0, for a ratio is only to be seen when it does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 416
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 56, 80
OURS_COLOUR, PEER_COLOUR = "#0b5fc4", "#b4540a"
TICKS_AT_MOST = 6


@dataclass(frozen=True)
class Point:
    """One place on the x axis with the figures above it."""

    label: str
    ours: float
    peer: float


@dataclass(frozen=True)
class Chart:
    title: str
    x_title: str
    y_title: str
    names: tuple[str, str]  # of ours and of the peer
    points: Sequence[Point]


def points(rows: Sequence[dict[str, Any]], bench: str, pattern: str) -> list[Point]:
    """The rows of a bench whose name is `pattern`, a regular expression with one group: the label.

    Datagrams per second become Gb/s of text, by the size that the label names.
    """
    found = []
    for row in rows:
        match = re.fullmatch(pattern, row["name"])
        if row.get("bench") != bench or not match or row["ours"] is None or row["peer"] is None:
            continue
        scale = int(match[1]) * 8 / 1e9 if row["unit"] == "packets/s" else 1.0
        found.append(Point(match[1], row["ours"] * scale, row["peer"] * scale))
    return found


def charts(rows: Sequence[dict[str, Any]], names: tuple[str, str]) -> dict[str, Chart]:
    """What is drawn of a report, by the name of the picture."""
    return {
        "sizes": Chart(
            "UDP through a tunnel, by size of a datagram", "bytes of text in a datagram", "Gb/s delivered",
            names, points(rows, "pps", r"udp (\d+) B"),
        ),
        "streams": Chart(
            "TCP download through an exit, by number of streams", "streams", "Gb/s received",
            names, points(rows, "tunnel", r"exit download tcp (\d+) streams?"),
        ),
    }  # fmt: skip


def tick_step(highest: float) -> float:
    """1, 2 or 5 times a power of ten, so that few steps reach the highest figure."""
    rough = highest / TICKS_AT_MOST
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))


def svg(chart: Chart) -> str:
    """The picture. ValueError without points."""
    if not chart.points:
        raise ValueError(f"nothing to draw: {chart.title}")
    highest = max(max(point.ours, point.peer) for point in chart.points) or 1.0
    step = tick_step(highest)
    ticks = math.ceil(highest / step - 1e-9)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(index: int) -> float:
        return LEFT + width * (index + 0.5) / len(chart.points)

    def y(value: float) -> float:
        return TOP + height * (1 - value / (ticks * step))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"'
        f' viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        f"<title>{escape(chart.title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 26, chart.title, "start", size=16),
        _text(LEFT + width / 2, HEIGHT - 16, chart.x_title),
        f'<g transform="translate(18 {TOP + height / 2:.1f}) rotate(-90)">{_text(0, 0, chart.y_title)}</g>',
    ]
    for tick in range(ticks + 1):
        at = y(tick * step)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{LEFT + width}" stroke="#d8dee4"/>')
        parts.append(_text(LEFT - 8, at + 4, f"{tick * step:g}", "end"))
    for index, point in enumerate(chart.points):
        parts.append(_text(x(index), TOP + height + 34, point.label))
    ends = _apart(y(chart.points[-1].ours), y(chart.points[-1].peer))
    ours, peer = [point.ours for point in chart.points], [point.peer for point in chart.points]
    sides = ((OURS_COLOUR, ours, peer), (PEER_COLOUR, peer, ours))
    figures: list[str] = []  # last, so that no line crosses them
    for (colour, values, others), name, end in zip(sides, chart.names, ends, strict=True):
        line = " ".join(f"{x(index):.1f},{y(value):.1f}" for index, value in enumerate(values))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        for index, value in enumerate(values):
            other = others[index]
            above = value > other or (value == other and values is ours)
            parts.append(f'<circle cx="{x(index):.1f}" cy="{y(value):.1f}" r="4" fill="{colour}"/>')
            figure = f"{value:.2f}" if value < 10 else f"{value:.1f}"
            at = y(value) - 9 if above else y(value) + 18
            figures.append(_text(x(index), at, figure, colour=colour, size=11))
        parts.append(_text(x(len(values) - 1) + 12, end + 4, name, "start", colour=colour))
    return "\n".join([*parts, *figures, "</svg>", ""])


def _apart(one: float, other: float, least: float = 16.0) -> tuple[float, float]:
    """Two heights for words, moved from each other where they would touch."""
    lack = max(least - abs(one - other), 0.0) / 2
    return (one - lack, other + lack) if one <= other else (one + lack, other - lack)


def _text(
    x: float, y: float, words: str, anchor: str = "middle", *, colour: str = "#1f2328", size: int = 13
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}"'
        f' paint-order="stroke" stroke="#ffffff" stroke-width="3">'
        f"{escape(words)}</text>"
    )
