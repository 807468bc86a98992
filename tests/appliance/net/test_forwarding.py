"""Settings saved before they are changed and put back afterwards, over a tree that looks like /proc."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from appliance.errors import PrivilegeError, StateError, UserError
from appliance.net.forwarding import SAVE_FILE, Forwarding, sysctl_name
from appliance.net.holders import Holders

EGRESS = "net/ipv4/conf/eth0/forwarding"
TUNNEL = "net/ipv4/conf/sally0/forwarding"
WANTED = {TUNNEL: "1", EGRESS: "1"}


class Host:
    """A pretended /proc and a state directory."""

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc"
        self.state_dir = root / "state"
        self.state_dir.mkdir()
        (self.proc / "sys/kernel/random").mkdir(parents=True)
        (self.proc / "thread-self/ns").mkdir(parents=True)
        self.boot("first boot")
        for name in ("default", "eth0"):
            self.set(f"net/ipv4/conf/{name}/forwarding", "0")

    def boot(self, identity: str, namespace: str = "net:[1]") -> None:
        (self.proc / "sys/kernel/random/boot_id").write_text(identity + "\n")
        link = self.proc / "thread-self/ns/net"
        link.unlink(missing_ok=True)
        link.symlink_to(namespace)

    def set(self, path: str, value: str) -> None:
        file = self.proc / "sys" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value + "\n")

    def get(self, path: str) -> str | None:
        file = self.proc / "sys" / path
        return file.read_text().strip() if file.exists() else None

    def remove(self, path: str) -> None:
        (self.proc / "sys" / path).unlink()

    def forwarding(self) -> Forwarding:
        return Forwarding(self.state_dir, self.holders(), self.proc)

    def holders(self) -> Holders:
        return Holders(lambda _: True, self.proc / "notes")

    @property
    def file(self) -> Path:
        return self.state_dir / SAVE_FILE


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.set(TUNNEL, "0")
    return made


def test_apply_and_undo(host: Host):
    forwarding = host.forwarding()
    forwarding.apply(WANTED, "table")
    assert (host.get(TUNNEL), host.get(EGRESS)) == ("1", "1")
    assert forwarding.saved() is not None
    forwarding.undo()
    assert (host.get(TUNNEL), host.get(EGRESS)) == ("0", "0")
    assert list(host.state_dir.iterdir()) == []
    forwarding.undo()


def test_the_old_value_is_on_disk_before_the_first_write(host: Host, monkeypatch: pytest.MonkeyPatch):
    written: list[str] = []

    def write(self: Forwarding, path: str, value: str) -> None:
        assert json.loads(host.file.read_bytes())["original"] == {TUNNEL: "0", EGRESS: "0"}
        written.append(path)

    monkeypatch.setattr(Forwarding, "_write", write)
    host.forwarding().apply(WANTED, "table")
    assert written == [TUNNEL, EGRESS]


@pytest.mark.parametrize("left", [None, 0o666])
def test_only_its_owner_reads_the_note(host: Host, left: int | None):
    part = host.file.with_suffix(".new")
    if left is not None:  # by a crash of an older program, say
        part.touch()
        part.chmod(left)
    old = os.umask(0)
    try:
        host.forwarding().apply(WANTED, "table")
    finally:
        os.umask(old)
    assert host.file.stat().st_mode & 0o777 == 0o600


def test_after_a_crash_the_original_values_stay(host: Host):
    host.forwarding().apply(WANTED, "table")
    host.remove(TUNNEL)  # the crash
    host.set(TUNNEL, "0")  # the next start's tunnel
    again = host.forwarding()
    again.apply(WANTED, "table")
    again.undo()
    assert (host.get(TUNNEL), host.get(EGRESS)) == ("0", "0")


def test_a_crash_before_the_first_write(host: Host, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(Forwarding, "_write", lambda *arguments: None)
        host.forwarding().apply(WANTED, "table")
    host.set(EGRESS, "1")  # the operator's own doing, in between
    host.forwarding().undo()
    assert host.get(TUNNEL) == "0"


def test_what_was_on_stays_on(host: Host):
    host.set(EGRESS, "1")
    forwarding = host.forwarding()
    forwarding.apply(WANTED, "table")
    forwarding.undo()
    assert host.get(EGRESS) == "1"


def test_what_somebody_else_changed_since_is_left_alone(host: Host):
    forwarding = host.forwarding()
    host.set(EGRESS, "1")
    forwarding.apply(WANTED, "table")
    host.set(EGRESS, "0")
    forwarding.undo()
    assert host.get(EGRESS) == "0"


@pytest.mark.parametrize("change", [("second boot", "net:[1]"), ("first boot", "net:[2]")])
def test_values_of_another_boot_or_namespace_mean_nothing(host: Host, change: tuple[str, str]):
    host.forwarding().apply(WANTED, "table")
    host.boot(*change)
    host.set(EGRESS, "1")  # the operator's configuration now
    again = host.forwarding()
    assert again.saved() is None
    again.apply(WANTED, "table")
    again.undo()
    assert host.get(EGRESS) == "1"


def test_an_interface_that_is_gone(host: Host):
    forwarding = host.forwarding()
    forwarding.apply(WANTED, "table")
    host.remove(TUNNEL)
    forwarding.undo()
    assert (host.get(TUNNEL), host.get(EGRESS)) == (None, "0")


def test_another_egress_after_a_crash_puts_the_first_back(host: Host):
    host.forwarding().apply(WANTED, "table")
    other = "net/ipv4/conf/eth1/forwarding"
    host.set(other, "0")
    again = host.forwarding()
    again.apply({TUNNEL: "1", other: "1"}, "table")
    assert (host.get(EGRESS), host.get(other)) == ("0", "1")
    again.undo()
    assert (host.get(EGRESS), host.get(other)) == ("0", "0")


@pytest.mark.parametrize("first_to_stop", ["a", "b"])
def test_what_two_exits_share_comes_back_with_the_last(host: Host, first_to_stop: str):
    second = host.state_dir.with_name("second")
    second.mkdir()
    exits = {"a": host.forwarding(), "b": Forwarding(second, host.holders(), host.proc)}
    for name, forwarding in exits.items():
        forwarding.apply({EGRESS: "1"}, name, [EGRESS])
    exits.pop(first_to_stop).undo([EGRESS])
    assert host.get(EGRESS) == "1"
    exits.popitem()[1].undo([EGRESS])
    assert host.get(EGRESS) == "0"


def test_the_table_is_remembered(host: Host):
    host.forwarding().apply(WANTED, "sallyport_sally0")
    saved = host.forwarding().saved()
    assert saved is not None
    assert saved.table == "sallyport_sally0"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1}', b"\xff"])
def test_a_damaged_file_is_a_state_error(host: Host, content: bytes):
    host.file.write_bytes(content)
    with pytest.raises(StateError, match=r"network\.json"):
        host.forwarding().saved()


def test_a_newer_file_is_a_state_error(host: Host):
    host.file.write_text('{"version": 2}')
    with pytest.raises(StateError, match="newer"):
        host.forwarding().saved()


def test_check_names_the_setting_that_cannot_be_switched_on(host: Host, monkeypatch: pytest.MonkeyPatch):
    forwarding = host.forwarding()
    forwarding.check(["eth0"])  # writable
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PrivilegeError, match=r"net\.ipv4\.conf\.default\.forwarding"):
        forwarding.check(["eth0"])
    host.set("net/ipv4/conf/default/forwarding", "1")
    with pytest.raises(PrivilegeError, match=r"net\.ipv4\.conf\.eth0\.forwarding") as caught:
        forwarding.check(["eth0"])
    assert "\n" not in str(caught.value)
    host.set(EGRESS, "1")
    forwarding.check(["eth0"])
    forwarding.check([])


def test_a_state_directory_that_cannot_be_written(host: Host):
    host.state_dir.rmdir()
    with pytest.raises(UserError, match=r"network\.json"):
        host.forwarding().apply(WANTED, "table")
    assert host.get(EGRESS) == "0", "not saved, so not changed"


def test_sysctl_names_as_people_write_them():
    assert sysctl_name("net/ipv4/conf/eth0.7/forwarding") == "net.ipv4.conf.eth0/7.forwarding"
