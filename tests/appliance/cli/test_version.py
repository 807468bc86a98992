"""`version`, and what --verbose adds."""

from __future__ import annotations

import json

import pytest

from appliance import __version__
from appliance.cli import main
from appliance.net import tun


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALLYPORT_OFFLOAD", raising=False)
    monkeypatch.setattr("appliance.pump.aead_path", lambda: "portable")
    monkeypatch.setattr("appliance.pump.aead_broken", list)
    monkeypatch.setattr(tun, "probe_offloads", lambda: ["csum", "tso4", "uso4", "udp-gso"])


def test_a_path_with_wrong_answers_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.pump.aead_broken", lambda: ["avx512", "avx2"])
    assert main(["version", "--verbose"]) == 0
    assert "\naead: portable\naead broken: avx512 avx2\n" in capsys.readouterr().out


def test_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"sallyport {__version__}\n"


@pytest.mark.parametrize(
    ("knob", "words"),
    [
        ("", "csum tso4 uso4 udp-gso"),
        ("uso", "csum tso4 uso4 udp-gso"),
        ("tso", "csum tso4 udp-gso (SALLYPORT_OFFLOAD=tso)"),
        ("none", "none (SALLYPORT_OFFLOAD=none)"),
    ],
)
def test_verbose(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, knob: str, words: str
) -> None:
    monkeypatch.setenv("SALLYPORT_OFFLOAD", knob)
    assert main(["version", "--verbose"]) == 0
    assert capsys.readouterr().out == f"sallyport {__version__}\naead: portable\noffload: {words}\n"


def test_a_kernel_without_any(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tun, "probe_offloads", list)
    main(["version", "--verbose"])
    assert capsys.readouterr().out.endswith("offload: none\n")


def test_a_knob_that_is_none(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_OFFLOAD", "all")
    assert main(["version", "--verbose"]) == 2
    assert capsys.readouterr().out == ""


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["version", "--json"])
    assert json.loads(capsys.readouterr().out) == {"version": __version__}
    main(["version", "--verbose", "--json"])
    assert set(json.loads(capsys.readouterr().out)) == {"version", "aead", "offload"}
