"""Storage that fails: a full disk, a read-only one, a database of another version; each with its stated end.

The state directory is a small tmpfs, so that it can be filled and made read-only for real; or, where it turns
read-only under a running exit, an ext4 in a file that was told of an error.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from appliance.core.accounting import Counts
from appliance.store.schema import REVISIONS
from appliance.store.store import DATABASE
from appliance.store.upgrade import migrate
from bench.process import run, wait_for
from tests.netns.scene import PROGRAM, WEB, Scene

pytestmark = [pytest.mark.netns, pytest.mark.timeout(300)]

UNAVAILABLE = (503, {"error": "storage unavailable"})


@pytest.fixture
def scene():
    with Scene() as stage:
        stage.state.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", stage.state], check=True)
        stage.lab.on_close(lambda: subprocess.run(["umount", "--lazy", stage.state], check=True))
        yield stage


def fill(directory: Path) -> Path:
    """Take all the room that is left."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as handle:
        for size in (65_536, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    handle.write(b"\xff" * size)
    assert os.statvfs(directory).f_bavail == 0
    return filler


def refused(scene) -> str:
    """Expect exit code 5 and one line."""
    words = ("up", "--state-dir", str(scene.state), "--interface", scene.interface)
    done = scene.exit.run(*PROGRAM, *words, check=False, cwd=Path("/"))
    assert (done.returncode, done.stdout) == (5, ""), done.stderr
    assert done.stderr.startswith("sallyport: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def files(directory: Path) -> dict[str, bytes]:
    """What is in it, but for the lock that whoever looks into it takes."""
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.name != "lock"}


def billed(running, session):
    shown = running.session(session)
    return shown["bytes_in"] + shown["bytes_out"]


def test_a_full_disk_hurts_nobody_who_is_in(scene):
    running = scene.up()
    client = scene.client()
    made = running.create()
    client.up(made["wg_config"])
    assert client.download(100_000) == 100_000
    filler = fill(scene.state)
    client.keep_little_in_flight()
    stream = client.host.start(
        "curl", "-sS", "--limit-rate", "1M", "-o", "/dev/null", f"{WEB}/bytes/1000000000"
    )
    # Nobody new, and nobody is let go unsettled.
    for question in (
        ("POST", "/v1/sessions", {"region": "local"}),
        ("DELETE", f"/v1/sessions/{made['id']}"),
        ("POST", "/v1/sessions", {"region": "local"}),
    ):
        assert running.api(*question) == UNAVAILABLE
    # Who is in goes on, over more than one tick that cannot be written, and is counted.
    before = billed(running, made["id"])
    wait_for(lambda: "counters were not settled" in running.process.stderr, "a tick fails", seconds=25)
    assert stream.poll() is None
    assert client.download(1_000_000) == 1_000_000
    assert billed(running, made["id"]) > before + 1_000_000
    assert "terminated_at" not in running.session(made["id"])
    # With room again everything is as before, and what was counted meanwhile is charged.
    filler.unlink()
    second = running.create()
    stream.kill()
    counted = running.quiet_bytes(made["id"])
    shown = running.end(made["id"])
    assert (shown["bytes_in"], shown["bytes_out"]) == counted
    assert running.api("GET", "/v1/usage")[1]["bytes_used"] == sum(counted)
    assert "terminated_at" in running.end(second["id"])
    assert running.stop() == 0


def test_a_kill_while_the_disk_is_full_loses_no_byte(scene):
    """What could not be written is in the counter file, and charged by the next start that can write."""
    running = scene.up()
    client = scene.client()
    made = running.create()
    client.up(made["wg_config"])
    filler = fill(scene.state)
    assert client.download(500_000) == 500_000
    counted = running.quiet_bytes(made["id"])
    running.process.kill()
    filler.unlink()
    running = scene.up()
    assert Counts(*running.quiet_bytes(made["id"])).covers(Counts(*counted))
    assert "terminated_at" not in running.session(made["id"])


def test_a_read_only_state_directory_refuses_the_start(scene):
    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", scene.state], check=True)

    remount("ro")
    assert str(scene.state) in refused(scene)
    remount("rw")
    running = scene.up()
    made = running.create()
    assert running.stop() == 0
    before = files(scene.state)
    remount("ro")
    assert str(scene.state) in refused(scene)
    assert files(scene.state) == before
    remount("rw")
    assert "terminated_at" not in scene.up().session(made["id"])


@pytest.fixture
def ext4() -> Iterator[tuple[Scene, Path]]:
    """A stage whose state directory lies in an ext4, and the file that this is in."""
    with Scene() as stage:
        image = stage.lab.directory() / "image"
        with image.open("wb") as handle:
            handle.truncate(16 << 20)
        run(["mkfs.ext4", "-q", "-O", "^has_journal", str(image)])
        stage.state.mkdir(mode=0o700)
        mount(image, stage.state)
        stage.lab.on_close(lambda: run(["umount", "--lazy", str(stage.state)]))
        yield stage, image


def find_bad_block(place: Path) -> None:
    """Let the file system find itself damaged, which makes it read-only."""
    device = Path(run(["findmnt", "-no", "SOURCE", str(place)]).stdout.strip()).name
    (Path("/sys/fs/ext4") / device / "trigger_fs_error").write_text("x")


def mount(image: Path, place: Path) -> None:
    run(["mount", "-t", "ext4", "-o", "loop,errors=remount-ro", str(image), str(place)])
    place.chmod(0o700)


def test_a_state_directory_that_turns_read_only_is_as_a_full_disk(ext4: tuple[Scene, Path]) -> None:
    scene, image = ext4
    running = scene.up()
    client = scene.client()
    made = running.create()
    client.up(made["wg_config"])
    find_bad_block(scene.state)
    with pytest.raises(OSError, match="Read-only"):
        (scene.state / "probe").touch()
    for question in (("POST", "/v1/sessions", {"region": "local"}), ("DELETE", f"/v1/sessions/{made['id']}")):
        assert running.api(*question) == UNAVAILABLE
    assert client.download(1_000_000) == 1_000_000
    counted = running.quiet_bytes(made["id"])
    assert sum(counted) > 1_000_000
    running.stop()
    # The next start writes down what this one could not. (The other programs' namespaces hold the old mount.)
    repaired = image.with_name("repaired")
    shutil.copy(image, repaired)
    run(["e2fsck", "-fy", str(repaired)], check=False)
    run(["umount", str(scene.state)])
    mount(repaired, scene.state)
    running = scene.up()
    assert Counts(*running.quiet_bytes(made["id"])).covers(Counts(*counted))
    assert running.usage()["bytes_used"] >= sum(counted)
    assert "terminated_at" not in running.session(made["id"])


def test_a_newer_database_is_left_untouched(scene):
    running = scene.up()
    running.create()
    assert running.stop() == 0
    database = sqlite3.connect(scene.state / DATABASE)
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    database.close()
    before = files(scene.state)
    assert "newer sallyport" in refused(scene)
    words = ("token", "list", "--state-dir", str(scene.state))
    done = scene.command(*words, check=False)
    assert (done.returncode, done.stdout) == (5, "")
    assert files(scene.state) == before


def test_an_older_database_is_migrated_after_a_copy_was_made(scene):
    database = scene.state / DATABASE
    engine = create_engine(f"sqlite:///{database}")
    migrate(engine, REVISIONS[0])
    engine.dispose()
    # A token of that time, whose secret is "old".
    rows = sqlite3.connect(database)
    rows.execute("INSERT INTO accounts VALUES ('ac_old', 'paid', 1, NULL, 0, NULL, 0)")
    digest = "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4"
    rows.execute(f"INSERT INTO tokens VALUES ('tk_old', 'ac_old', x'{digest}', 1, NULL)")
    rows.commit()
    rows.close()
    running = scene.up()
    copy = scene.state / f"{DATABASE}.schema-{REVISIONS[0]}"
    assert copy.stat().st_mode & 0o7777 == 0o600
    assert running.create(token="old")["tier"] == "paid"
    listed = json.loads(scene.command("token", "list", "--json", "--state-dir", str(scene.state)).stdout)
    assert "tk_old" in {token["id"] for token in listed}
    old = sqlite3.connect(copy)
    assert old.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISIONS[0],)]
    assert old.execute("SELECT id FROM tokens").fetchall() == [("tk_old",)]
    old.close()
