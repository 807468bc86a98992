"""The bench's command line: usage errors are one line and 2, the verdict is the exit code."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from bench import aead, cli, page, tunnel
from bench.process import LabError
from bench.rows import Row


def fake_measure(monkeypatch, ours):
    asked = []

    def measure(topologies, ours_path, peer_path, runs, seconds, say):
        asked.append((tuple(topologies), str(peer_path), runs, seconds))
        return [Row("pair tcp 1 stream", "Gb/s", "higher", ours, (1.0, 1.0), (), 1.0, 3.8)]

    monkeypatch.setattr(tunnel, "measure", measure)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cli, "BENCHES", (aead.BENCH, replace(tunnel.BENCH, programs=())))
    return asked


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["tunnels"],
        ["tunnel", "--topology", "star"],
        ["tunnel", "--runs", "0"],
        ["tunnel", "--seconds", "x"],
        ["tunnel", "--peer", "/nonexistent/wireguard", "--ours", "/bin/true"],
        ["tunnel", "--frobnicate"],
        ["aead", "--topology", "star"],
        ["--json", "aead"],
        ["all", "--peer", "/nonexistent/wireguard", "--ours", "/bin/true"],
        ["aead", "--runs", "none"],
        ["all", "--page", "--runs", "6", "--peer", "/bin/true", "--ours", "/bin/true"],
        ["aead", "--runs", "6", "--json", "--check"],
        ["idle", "--runs", "1", "--check", "--peer", "/bin/true", "--ours", "/bin/true"],
    ],
)
def test_usage_errors_are_one_line_and_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("bench")


def test_a_verdict_needs_as_many_runs_as_the_page(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        cli.main(["aead", "--runs", "6", "--check"])
    assert capsys.readouterr().err.startswith(
        "bench aead: --check needs --runs 7 or more: a verdict is a median of that many"
    )
    monkeypatch.setattr(aead, "measure", lambda runs, say: [])
    assert cli.main(["aead", "--runs", "7", "--check"]) == 0
    assert cli.main(["aead", "--runs", "1"]) == 0


def test_without_topology_both_are_measured_with_the_default_numbers(monkeypatch, capsys):
    asked = fake_measure(monkeypatch, (2.0, 2.0))
    assert cli.main(["tunnel", "--ours", "/bin/true", "--peer", "/bin/true"]) == 0
    ((topologies, _, runs, seconds),) = asked
    assert topologies == ("pair", "exit")
    assert runs >= 7
    assert seconds == 2
    assert "pair tcp 1 stream" in capsys.readouterr().out


@pytest.mark.parametrize(("ours", "code"), [((2.0, 2.0), 0), ((0.5, 0.6), 1), ((0.5, 2.0), 3)])
def test_check_exits_with_the_verdict_and_json_is_one_object(ours, code, monkeypatch, capsys):
    fake_measure(monkeypatch, ours)
    words = ["tunnel", "--topology", "pair", "--ours", "/bin/true", "--peer", "/bin/true", "--json"]
    assert cli.main([*words, "--check"]) == code
    said = json.loads(capsys.readouterr().out)
    assert said["bench"] == "tunnel"
    assert said["machine"]["cores"] >= 1
    assert said["machine"]["runs"] == 7
    assert len(said["rows"]) == 1
    assert cli.main(words) == 0


def test_no_root_is_one_line_and_1(monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.main(["tunnel", "--ours", "/bin/true", "--peer", "/bin/true"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["bench: makes network namespaces: needs root"]


@pytest.mark.parametrize("error", [LabError("the wire broke"), KeyboardInterrupt()])
def test_a_failed_or_interrupted_measurement_is_one_line_and_1(error, monkeypatch, capsys):
    fake_measure(monkeypatch, (1.0,))

    def measure(*_):
        raise error

    monkeypatch.setattr(tunnel, "measure", measure)
    assert cli.main(["tunnel", "--ours", "/bin/true", "--peer", "/bin/true"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


@pytest.mark.parametrize(("ours", "code"), [((2.0, 2.0), 0), ((0.5, 0.6), 1), ((), 0)])
def test_the_cipher_s_bench_needs_no_root_and_answers_in_the_same_shape(ours, code, monkeypatch, capsys):
    row = Row("avx2 seal", "MB/s", "higher", ours, (1.0, 1.0) if ours else (), (), 1.6, 2.0)
    monkeypatch.setattr(aead, "measure", lambda runs, say: [row] if runs == 9 else [])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.main(["aead", "--runs", "9", "--json", "--check"]) == code
    said = json.loads(capsys.readouterr().out)
    assert said["bench"] == "aead"
    assert said["machine"]["peer"] == "libcrypto"
    assert said["rows"][0]["holds"] == {(): None}.get(ours, code == 0)


def test_every_bench_takes_peer_and_topology_and_says_when_they_mean_nothing(monkeypatch, capsys):
    for bench in cli.everything():
        words = [bench.name, "--peer", "/bin/true", "--topology", "exit"]
        if bench.compares:
            words += ["--ours", "/bin/true"]
        cli.parse(words)
        said = capsys.readouterr().err.splitlines()
        assert (f"bench: {bench.name} has no use for --peer: ignored" in said) is not bench.compares
        ignored = f"bench: {bench.name} has no use for --topology: ignored" in said
        assert ignored is (bench.name not in ("tunnel", "all"))
    asked = fake_measure(monkeypatch, (2.0, 2.0))
    monkeypatch.setattr(aead, "measure", lambda runs, say: [])
    assert cli.main(["all", "--topology", "exit", "--ours", "/bin/true", "--peer", "/bin/true"]) == 0
    assert asked[0][0] == ("exit",)


def test_an_unknown_bench_is_told_the_nearest_or_all(capsys):
    for word, hint in (("tunel", "did you mean tunnel?"), ("zzz", "; there are aead")):
        with pytest.raises(SystemExit):
            cli.main([word])
        assert hint in capsys.readouterr().err


def test_help_names_every_bench_and_each_has_its_own(capsys):
    names = [bench.name for bench in cli.everything()]
    assert names[-1] == "all"
    assert len(set(names)) == len(names)
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    for bench in cli.everything():
        assert any(line.split()[:1] == [bench.name] and bench.help in line for line in lines)
        with pytest.raises(SystemExit) as ended:
            cli.main([bench.name, "--help"])
        assert ended.value.code == 0
        assert "--runs" in capsys.readouterr().out


def test_missing_programs_are_named_before_anything_is_built(monkeypatch, capsys):
    fake_measure(monkeypatch, (1.0,))
    monkeypatch.setattr(cli, "BENCHES", (replace(tunnel.BENCH, programs=("ip", "no-such", "nor-this")),))
    assert cli.main(["tunnel", "--ours", "/bin/true", "--peer", "/bin/true"]) == 1
    assert capsys.readouterr().err == "bench: missing programs: no-such nor-this\n"


def test_the_machine_names_programs_by_their_version(tmp_path):
    program = tmp_path / "wg-like"
    program.write_text("#!/bin/sh\necho wg-like 1.2\necho more\n")
    program.chmod(0o755)
    assert cli.version(program) == "wg-like 1.2"
    program.write_text("#!/bin/sh\nexit 3\n")
    assert cli.version(program) == "wg-like"
    assert cli.version(tmp_path / "none") == "none"


def test_all_is_one_report_with_the_bench_in_each_row(monkeypatch, capsys):
    fake_measure(monkeypatch, (2.0, 2.0))
    row = Row("avx2 seal", "MB/s", "higher", (), (), (), 1.6, 2.0)
    monkeypatch.setattr(aead, "measure", lambda runs, say: [row])
    assert cli.main(["all", "--ours", "/bin/true", "--peer", "/bin/true", "--json", "--check"]) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert said["bench"] == "all"
    assert [row["bench"] for row in said["rows"]] == ["aead", "tunnel"]
    assert "1/2 aead" in err
    assert "2/2 tunnel" in err


def test_what_could_not_be_measured_in_all_fails_and_the_others_are_shown(monkeypatch, capsys):
    fake_measure(monkeypatch, (2.0, 2.0))

    def broken(runs, say):
        raise LabError("the wire broke")

    monkeypatch.setattr(aead, "measure", broken)
    words = ["all", "--ours", "/bin/true", "--peer", "/bin/true"]
    assert cli.main(words) == 1
    assert cli.main([*words, "--check"]) == 1
    out = capsys.readouterr().out
    assert "the wire broke" in out
    assert "tunnel: pair tcp 1 stream" in out


def test_a_program_that_one_bench_needs_costs_no_more_than_its_rows(monkeypatch, capsys):
    fake_measure(monkeypatch, (2.0, 2.0))
    alone = replace(aead.BENCH, programs=("wireguard-go-of-old",))
    monkeypatch.setattr(cli, "BENCHES", (*cli.BENCHES[1:], alone))
    assert cli.main(["all", "--ours", "/bin/true", "--peer", "/bin/true", "--json"]) == 1
    out, err = capsys.readouterr()
    assert [(row["bench"], row["holds"]) for row in json.loads(out)["rows"]] == [
        ("tunnel", True),
        ("aead", False),
    ]
    assert err.splitlines()[0] == "bench: aead cannot be measured: missing programs: wireguard-go-of-old"


def test_a_page_that_cannot_be_written_does_not_cost_the_figures(monkeypatch, capsys, tmp_path):
    fake_measure(monkeypatch, (2.0, 2.0))
    monkeypatch.setattr(aead, "measure", lambda runs, say: [])
    monkeypatch.setattr(page, "DOCS", tmp_path)
    assert cli.main(["all", "--ours", "/bin/true", "--peer", "/bin/true", "--json", "--page"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["bench"] == "all"
    assert "the page was not written" in err


def test_all_makes_the_page_anew_when_asked(monkeypatch, capsys, tmp_path):
    fake_measure(monkeypatch, (0.5, 0.5))
    monkeypatch.setattr(aead, "measure", lambda runs, say: [])
    monkeypatch.setattr(page, "DOCS", tmp_path)
    (tmp_path / "performance.md").write_text(f"# P\n{page.BEGIN}\n{page.END}\n{page.EXPLAINED}\n")
    words = ["all", "--ours", "/bin/true", "--peer", "/bin/true", "--check"]
    assert cli.main(words) == 1
    assert not (tmp_path / "performance.json").exists()
    assert cli.main([*words, "--page"]) == 1
    stored = json.loads((tmp_path / "performance.json").read_text())
    assert list(stored) == ["bench", "machine", "rows", "samples"]
    assert stored["samples"]["tunnel: pair tcp 1 stream"]["ours"] == [0.5, 0.5]
    assert "pair tcp 1 stream" in (tmp_path / "performance.md").read_text()
    assert "Gates that do not hold': tunnel: pair tcp 1 stream" in (err := capsys.readouterr().err)
    assert "docs/performance.md: no rows of aead" in err
