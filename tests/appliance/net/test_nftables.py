"""Rendering the table, and applying it with the real nft in a namespace."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from appliance.core.exitplan import Chain, ExitPlan, Set, Table
from appliance.errors import PrivilegeError
from appliance.net import nftables
from tests.appliance.net.lab import Namespace, udp

PLAN = ExitPlan("sally0", IPv4Network("10.101.0.0/24"), "eth0")


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Namespace("nft") as made:
        yield made


def test_render():
    table = Table(
        "inet",
        "sallyport_x",
        (
            Chain("mine", ("counter drop",)),
            Chain("input", ("jump mine",), "type filter hook input priority filter"),
        ),
        (Set("seen", ("type ipv4_addr", "flags dynamic")),),
    )
    assert nftables.render(table) == (
        "add table inet sallyport_x\n"
        "delete table inet sallyport_x\n"
        "table inet sallyport_x {\n"
        "\tset seen {\n"
        "\t\ttype ipv4_addr\n"
        "\t\tflags dynamic\n"
        "\t}\n"
        "\tchain mine {\n"
        "\t\tcounter drop\n"
        "\t}\n"
        "\tchain input {\n"
        "\t\ttype filter hook input priority filter; policy accept;\n"
        "\t\tjump mine\n"
        "\t}\n"
        "}\n"
    )


def test_a_missing_nft_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nftables, "_SEARCH", (str(tmp_path),))
    with pytest.raises(PrivilegeError, match="nftables"):
        nftables.find_nft()


def test_an_nft_off_the_path_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    program = tmp_path / "nft"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(nftables, "_SEARCH", (str(tmp_path),))
    assert nftables.find_nft() == str(program)


@pytest.mark.parametrize(
    ("script", "refusal", "words"),
    [
        ("echo 'Error: nonsense' >&2; exit 1", nftables.NftablesError, "nft failed: Error: nonsense"),
        ("echo 'Operation not permitted (you must be root)' >&2; exit 1", PrivilegeError, "CAP_NET_ADMIN"),
        ("exit 1", nftables.NftablesError, "no reason given"),
        ("exec sleep 60", nftables.NftablesError, "did not end"),
    ],
)
def test_what_nft_says_becomes_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, refusal: type[Exception], words: str
):
    program = tmp_path / "nft"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(nftables, "_TIMEOUT_SECONDS", 0.5 if "sleep" in script else 30)
    with pytest.raises(refusal, match=words.replace("(", r"\(")) as caught:
        nftables.apply(PLAN.table)
    assert "\n" not in str(caught.value)


@pytest.mark.netns
def test_apply_twice_and_remove(host: Namespace):
    host.run("nft", "add table inet somebody")
    before = host.run("nft", "list", "ruleset")
    host.inside(lambda: nftables.check(PLAN.table))
    assert host.run("nft", "list", "ruleset") == before, "checking changes nothing"
    host.inside(lambda: nftables.apply(PLAN.table))
    once = host.run("nft", "list", "ruleset")
    host.inside(lambda: nftables.apply(PLAN.table))
    assert host.run("nft", "list", "ruleset") == once, "replaced, not doubled"
    host.inside(lambda: nftables.remove(PLAN.table.family, PLAN.table.name))
    host.inside(lambda: nftables.remove(PLAN.table.family, PLAN.table.name))
    assert host.run("nft", "list", "ruleset") == before


@pytest.mark.netns
def test_what_was_counted_is_added_up_by_comment(host: Namespace):
    rules = (
        'iifname "lo" udp dport 9 counter accept comment "discard"',
        'iifname "lo" udp dport 7 counter accept comment "echo"',
        'iifname "lo" udp dport 1000 counter comment "discard"',
        'iifname "lo" counter',
    )
    table = Table("inet", "sallyport_x", (Chain("input", rules, "type filter hook input priority filter"),))
    host.inside(lambda: nftables.apply(table))
    assert host.inside(lambda: nftables.count(table)) == {"discard": 0, "echo": 0}
    for port in (9, 9, 7, 1000):
        with udp(host) as one:
            one.sendto(b"x", ("127.0.0.1", port))
    assert host.inside(lambda: nftables.count(table)) == {"discard": 3, "echo": 1}
    host.inside(lambda: nftables.remove("inet", "sallyport_x"))
    with pytest.raises(nftables.NftablesError, match="nft failed"):
        host.inside(lambda: nftables.count(table))


@pytest.mark.netns
def test_a_refused_transaction_leaves_the_old_table(host: Namespace):
    host.inside(lambda: nftables.apply(PLAN.table))
    before = host.run("nft", "list", "ruleset")
    broken = Table("inet", PLAN.table.name, (*PLAN.table.chains, Chain("more", ("jump nowhere",))))
    for attempt in (nftables.check, nftables.apply):
        with pytest.raises(nftables.NftablesError, match="nft failed"):
            host.inside(lambda attempt=attempt: attempt(broken))
    assert host.run("nft", "list", "ruleset") == before
