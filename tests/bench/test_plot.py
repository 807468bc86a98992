"""The picture: which rows it is drawn from, and that its lines are where the figures say."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plot import Chart, Point, charts, points, svg, tick_step

SVG = "{http://www.w3.org/2000/svg}"


def row(bench, name, unit, ours, peer):
    return {"bench": bench, "name": name, "unit": unit, "ours": ours, "peer": peer}


ROWS = [
    row("pps", "udp 64 B", "packets/s", 1e6, 5e5),
    row("pps", "udp 1300 B", "packets/s", 1e6, 1e5),
    row("pps", "udp 9 B", "packets/s", None, None),
    row("tunnel", "exit download tcp 1 stream", "Gb/s", 16.0, 5.0),
    row("tunnel", "exit download tcp 1 stream, no cipher", "Gb/s", 30.0, None),
    row("tunnel", "exit download tcp 8 streams", "Gb/s", 15.0, 4.0),
    row("tunnel", "pair udp 1300 B", "packets/s", 1e6, 1e5),
]


def test_sizes_come_from_pps_as_bits_and_streams_from_the_exit_s_download():
    drawn = charts(ROWS, ("a", "b"))
    assert drawn["sizes"].points == [Point("64", 0.512, 0.256), Point("1300", 10.4, 1.04)]
    assert drawn["streams"].points == [Point("1", 16.0, 5.0), Point("8", 15.0, 4.0)]
    assert points(ROWS, "latency", r"udp (\d+) B") == []


def test_points_are_at_the_height_of_their_figures_and_names_are_text():
    chart = Chart("T & t", "x", "y", ("ours <1>", "peer"), [Point("64", 10.0, 5.0), Point("65", 2.0, 0.0)])
    root = ET.fromstring(svg(chart))
    lines = [
        [[float(part) for part in pair.split(",")] for pair in line.get("points").split()]
        for line in root.iter(f"{SVG}polyline")
    ]
    (ours_1, ours_2), (peer_1, peer_2) = lines
    zero = peer_2[1]
    assert (zero - peer_1[1]) * 2 == pytest.approx(zero - ours_1[1], abs=0.2)
    assert (zero - ours_2[1]) * 5 == pytest.approx(zero - ours_1[1], abs=0.5)
    assert ours_1[0] == peer_1[0] < ours_2[0] == peer_2[0]
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"T & t", "ours <1>", "peer", "64", "65", "10", "2"} <= set(words)


def test_words_at_the_ends_of_lines_do_not_touch():
    for ours, peer in ((5.0, 5.0), (5.0, 5.1), (5.1, 5.0)):
        text = svg(Chart("t", "x", "y", ("me", "you"), [Point("1", ours, peer)]))
        me, you = (float(re.search(rf'y="([\d.]+)"[^>]*>{name}<', text)[1]) for name in ("me", "you"))
        assert abs(me - you) >= 15.9


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ValueError, match="nothing to draw"):
        svg(Chart("t", "x", "y", ("a", "b"), []))


@given(st.floats(1e-6, 1e9))
def test_a_few_round_steps_reach_the_highest_figure(highest):
    step = tick_step(highest)
    assert 1 <= highest / step <= 6.1
    assert f"{step:e}"[0] in "125"
