"""The page of the last full run: made from the JSON, and nobody's words are lost."""

from __future__ import annotations

import json

import pytest

from bench import cli, page
from bench.rows import Row, report, samples

MACHINE = {
    "date": "2026-01-02", "cpu": "A cpu", "cores": 2, "kernel": "6.1", "python": "3.11",
    "ours": "sallyport-wg 0.1.0", "peer": "wireguard-go v0.0.1", "libcrypto": "OpenSSL 3.0", "runs": 7,
}  # fmt: skip
ROWS = [
    Row("udp 64 B", "packets/s", "higher", (1e6,), (1e5,), (2e6,), 3.0, 4.5, bench="pps"),
    Row("exit download tcp 1 stream", "Gb/s", "higher", (5.0,), (4.0,), (), 2.8, 3.5, bench="tunnel"),
    Row("pair, sending", "CPU s/GB", "lower", (1.0, 2.0), (3.0, 5.0), (), 0.33, 0.25, bench="cpu"),
    Row("create p99", "ms", "lower", (12.0,), bound=50, aim=20, bench="api"),
    Row("avx512 seal", "MB/s", "higher", (), gate=3.5, bench="aead"),
]
BEFORE = f"# Performance\n\nwords\n\n{page.BEGIN}\nold\n{page.END}\n\nmore words\n\n{page.EXPLAINED}\n"


@pytest.fixture
def full():
    return report("all", MACHINE, ROWS)


def test_the_generated_part_is_made_anew_and_the_rest_stays(full):
    text = page.rewritten(BEFORE, full)
    assert text.startswith("# Performance\n\nwords\n")
    assert text.endswith(f"{page.END}\n\nmore words\n\n{page.EXPLAINED}\n")
    assert "\nold\n" not in text
    assert page.rewritten(text, full) == text
    with pytest.raises(ValueError, match="has no"):
        page.rewritten("# Performance\n", full)


def test_each_row_is_a_line_with_its_gate_and_its_verdict(full):
    text = page.block(full)
    assert "2026-01-02, A cpu, 2 cores" in text
    assert "against wireguard-go v0.0.1, libcrypto is OpenSSL 3.0, 7 runs.\n" in text
    assert (
        "\nOf 5 gates 2 hold, 1 fails: tunnel: exit download tcp 1 stream, 1 could not be judged (in 1 of"
        " them the median misses: cpu: pair, sending), 1 this CPU cannot run.\n" in text
    )
    assert text.count("| too noisy |") == 1
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    of = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines}
    assert of["udp 64 B"] == [
        "1,000,000", "100,000", "2,000,000", "packets/s", "10.00 x", "0 %", "3 x", "4.5 x", "yes",
    ]  # fmt: skip
    assert of["exit download tcp 1 stream"][-1] == "**no**"
    assert of["create p99"] == ["12", "", "", "ms", "", "0 %", "50", "20", "yes"]
    assert of["avx512 seal"] == ["", "", "", "MB/s", "", "", "3.5 x", "", ""]


def verdicts(*rows):
    return page.verdicts(report("all", MACHINE, rows)["rows"])


def test_every_gate_is_in_the_sentence_whatever_became_of_it():
    held = Row("held", "Gb/s", "higher", (5.0,), (4.0,), gate=1.0, bench="b")
    gone = Row("not measured: no wire", "", "higher", (), failed=True, bench="b")
    wide = Row("wide", "ms", "lower", (1.0, 3.0, 9.0), bound=5, bench="b")
    informs = Row("informs", "ms", "lower", (1.0,), (1.0,), bench="b")
    assert verdicts(held, informs) == "Of 1 gates 1 hold, none fails."
    assert verdicts(gone, gone) == (
        "Of 2 gates 0 hold, 2 fail: b: not measured: no wire; b: not measured: no wire."
    )
    assert verdicts(held, wide) == (
        "Of 2 gates 1 hold, none fails, 1 could not be judged (in all of them the median is within the gate)."
    )


def test_a_figure_that_misses_never_looks_like_its_gate():
    near = [
        Row("a", "Gb/s", "higher", (1.599996,), (1.0,), gate=1.6, bench="b"),
        Row("c", "bytes", "lower", (1_000_000.25,), bound=1_000_000, bench="b"),
    ]
    ratio, bound = (page.line(row.as_json()).split(" | ") for row in near)
    assert (ratio[5], ratio[7], ratio[9]) == ("1.599996 x", "1.6 x", "**no** |")
    assert (bound[1], bound[7], bound[9]) == ("1,000,000.2", "1,000,000", "**no** |")


def test_a_record_keeps_the_samples_beside_the_rows_and_makes_the_same_page(full, tmp_path):
    record = {**full, "samples": samples(ROWS)}
    assert page.block(record) == page.block(full)
    text = page.text_of(record)
    assert json.loads(text) == record
    assert '      "ours": [ 1.0, 2.0 ],\n      "peer": [ 3.0, 5.0 ],\n      "limit": []\n' in text


def test_a_gate_that_does_not_hold_must_be_spoken_of(full):
    owed = ["tunnel: exit download tcp 1 stream", "cpu: pair, sending"]  # one fails, one is too noisy
    assert page.unexplained(BEFORE, full) == owed
    explained = BEFORE + "".join(f"`{name}`: because\n" for name in owed)
    assert page.unexplained(explained, full) == []
    assert page.stale(explained, full) == []
    assert page.remarks(explained, full) == []


def test_an_explanation_of_what_holds_is_stale(full):
    text = BEFORE + "`pps: udp 64 B` was slow, `api: gone` too; `wg: show` and `pps` are no rows\n"
    assert page.stale(text, full) == ["pps: udp 64 B", "api: gone"]
    assert "explained under '## Gates that do not hold', and no longer so: api: gone" in page.remarks(
        text, full
    )


def test_benches_without_a_row_are_named(full):
    assert page.missing_benches(full, ["pps", "quota", "api"]) == ["quota"]


def test_files_are_written_side_by_side(full, tmp_path):
    (tmp_path / "performance.md").write_text(BEFORE)
    assert page.write(full, tmp_path) == page.remarks(BEFORE, full)
    assert json.loads((tmp_path / "performance.json").read_text()) == full
    text = (tmp_path / "performance.md").read_text()
    for name in ("performance-sizes.svg", "performance-streams.svg"):
        assert f"]({name})" in text
        assert (tmp_path / name).read_text().startswith("<svg")


@pytest.mark.parametrize("text", ["", "{}", '{"bench": "tunnel"}'])
def test_what_is_no_report_of_all_is_one_line_and_1(text, tmp_path, capsys):
    run = tmp_path / "run.json"
    run.write_text(text)
    assert page.main([str(run)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert page.main([str(tmp_path / "none")]) == 1
    assert page.main([]) == 2


def test_the_stored_page_and_pictures_are_what_the_stored_report_says():
    stored = json.loads((page.DOCS / "performance.json").read_text())
    text = (page.DOCS / "performance.md").read_text()
    assert page.rewritten(text, stored) == text, "run: python -m bench.page docs/performance.json"
    for name, picture in page.pictures(stored).items():
        assert (page.DOCS / name).read_text() == picture
    assert page.remarks(text, stored) == []
    names = [(row["bench"], row["name"]) for row in stored["rows"]]
    assert len(set(names)) == len(names)  # samples are kept by them
    assert page.missing_benches(stored, [bench.name for bench in cli.BENCHES]) == []
