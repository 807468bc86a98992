"""`restore FILE` as its user meets it; what it does to the files is in tests/appliance/store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.store.store import Store

Captured = pytest.CaptureFixture[str]


def test_back_and_forth(state_dir: Path, tmp_path: Path, capsys: Captured) -> None:
    where = ["--state-dir", str(state_dir)]
    file = str(tmp_path / "x.backup")
    main(["token", "create", *where])
    main(["backup", file, *where])
    main(["token", "create", *where])
    capsys.readouterr()
    assert main(["restore", file, *where]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "with 0 live sessions; what was there before is in " in out
    kept = Path(out.split()[-1])
    assert kept.parent == state_dir
    main(["token", "list", "--json", *where])
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert main(["restore", file, "--json", *where]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["live_sessions"], Path(told["kept"]).parent) == (0, state_dir)


def test_refusals_are_one_line(state_dir: Path, tmp_path: Path, capsys: Captured) -> None:
    where = ["--state-dir", str(state_dir)]
    (tmp_path / "bad").write_bytes(b"x" * 4096)
    for name, words in (("bad", "is no backup of sallyport"), ("missing", "No such file")):
        assert main(["restore", str(tmp_path / name), *where]) == 1
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert words in err
    assert not state_dir.exists()
    main(["token", "create", *where])
    main(["backup", str(tmp_path / "good"), *where])
    capsys.readouterr()
    store = Store.open(state_dir)
    assert main(["restore", str(tmp_path / "good"), *where]) == 4
    assert "in use by a running sallyport" in capsys.readouterr().err
    store.close()
