"""`config check`, `show` and `defaults`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import main
from appliance.config import KEYS, read_file, resolve

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "exit.toml"


def said(capsys: Captured, *words: str, code: int = 0) -> Any:
    assert main(["config", *words]) == code
    out, err = capsys.readouterr()
    assert not (out and err)
    return out or err


def test_a_good_file(file: Path, capsys: Captured) -> None:
    file.write_text('region = "fsn"\n')
    assert said(capsys, "check", str(file)) == f"{file} is good\n"
    assert json.loads(said(capsys, "check", str(file), "--json")) == {"file": str(file), "problems": []}


def test_a_line_for_each_problem(file: Path, capsys: Captured) -> None:
    file.write_text('regoin = "fsn"\nlisten_port = 70000\ninterface = "sally1"\nlog_level = "lo\\u001bud"\n')
    lines = said(capsys, "check", str(file), code=2).splitlines()
    assert [line.split(": ", 2)[:2] for line in lines] == [["sallyport", str(file)]] * 3
    assert "unknown key 'regoin'; did you mean region?" in lines[0]
    assert "listen_port: must be a port number" in lines[1]
    assert "log_level: must be one of" in lines[2]
    assert "lo\\x1bud" in lines[2]
    answer = json.loads(said(capsys, "check", str(file), "--json", code=2))
    assert len(answer["problems"]) == 3


@pytest.mark.parametrize("content", [None, "x = ", "a" * 100, "region = 'x'\nregion = 'y'\n"])
def test_what_is_no_configuration_at_all_is_one_problem(
    file: Path, capsys: Captured, content: str | None
) -> None:
    if content is not None:
        file.write_text(content)
    (line,) = said(capsys, "check", str(file), code=2).splitlines()
    assert line.startswith(f"sallyport: {file}:")


def test_show_tells_the_source_of_each_value(file: Path, capsys: Captured) -> None:
    file.write_text('region = "fsn"\nlisten_port = 1\ndns = ["9.9.9.9", "2620:fe::9"]\n')
    out = said(capsys, "show", "--config", str(file), "--region", "ash")
    rows = {line.split()[0]: re.split(r"  +", line)[1:] for line in out.splitlines()}
    assert rows["KEY"] == ["VALUE", "SOURCE"]
    assert rows["region"] == ["ash", "option"]
    assert rows["listen_port"] == ["1", "file"]
    assert rows["dns"] == ["9.9.9.9, 2620:fe::9", "file"]
    assert rows["api"] == ["127.0.0.1:8080", "default"]
    assert rows["public_ip"] == ["(the egress interface's)", "default"]
    assert set(rows) == {"KEY", *(key.name for key in KEYS)}
    shown = json.loads(said(capsys, "show", "--config", str(file), "--json"))
    assert shown["region"] == {"value": "fsn", "source": "file"}
    assert shown["dns"] == {"value": ["9.9.9.9", "2620:fe::9"], "source": "file"}
    assert shown["public_ip"] == {"value": None, "source": "default"}
    assert list(shown) == [key.name for key in KEYS]


def test_show_refuses_what_up_refuses(capsys: Captured) -> None:
    assert "--listen-port: must be" in said(capsys, "show", "--listen-port", "x", code=2)


def test_the_defaults_are_a_good_file_that_changes_nothing(file: Path, capsys: Captured) -> None:
    text = said(capsys, "defaults")
    file.write_text(text)
    said(capsys, "check", str(file))
    assert resolve({}, file) == resolve({}, None)
    assert set(re.findall(r"^#(\w+) = ", text, re.MULTILINE)) == {key.name for key in KEYS}


def test_each_default_can_be_uncommented(file: Path, capsys: Captured) -> None:
    text = said(capsys, "defaults")
    to_fill = {key.name for key in KEYS if key.default is None}
    file.write_text(
        "\n".join(
            line[1:]
            for line in text.splitlines()
            if (key := re.match(r"#(\w+) = ", line)) and key[1] not in to_fill
        )
    )
    assert set(read_file(file)) == {key.name for key in KEYS} - to_fill
    assert resolve({}, file) == resolve({}, None)
    assert json.loads(said(capsys, "defaults", "--json"))["listen_port"] == 51820
