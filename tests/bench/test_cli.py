"""The bench's command line: usage errors are one line and 2, the verdict is the exit code."""

from __future__ import annotations

import json
import os

import pytest

from bench import aead, cli, tunnel
from bench.process import LabError
from bench.rows import Row


def fake_measure(monkeypatch, ours):
    asked = []

    def measure(topologies, ours_path, peer_path, runs, seconds, say):
        asked.append((tuple(topologies), str(peer_path), runs, seconds))
        return [Row("pair tcp 1 stream", "Gb/s", "higher", ours, (1.0, 1.0), (), 1.0, 3.8)]

    monkeypatch.setattr(tunnel, "measure", measure)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cli, "TOOLS", ())
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
        ["aead", "--topology", "pair"],
        ["aead", "--runs", "none"],
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
