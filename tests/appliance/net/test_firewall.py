"""Firewalls that drop what we forward: recognised, and the command that is printed really helps."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from appliance.core.exitplan import Table
from appliance.errors import UserError
from appliance.net import nftables
from appliance.net.firewall import find_obstacles, obstacles
from tests.appliance.net.lab import OUTSIDE_ADDRESS, connect, lab, listen


def base(table: str, name: str, policy: str, family: str = "ip", hook: str = "forward") -> dict[str, Any]:
    chain = {"family": family, "table": table, "name": name, "type": "filter", "hook": hook, "policy": policy}
    return {"chain": chain}


def plain(table: str, name: str, family: str = "ip") -> dict[str, Any]:
    return {"chain": {"family": family, "table": table, "name": name}}


def rule(table: str, interface: str, family: str = "ip") -> dict[str, Any]:
    match = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": interface}}
    return {"rule": {"family": family, "table": table, "chain": "x", "expr": [match, {"accept": None}]}}


def commands(*entries: dict[str, Any]) -> list[str]:
    ruleset = {"nftables": [{"metainfo": {"version": "1.0.6"}}, *entries]}
    return [one.command for one in obstacles(ruleset, "sally0", "sallyport_sally0")]


def test_each_firewall_by_its_marks():
    forward = base("filter", "FORWARD", "drop")
    assert commands(forward) == [
        "iptables -I FORWARD -i sally0 -j ACCEPT && iptables -I FORWARD -o sally0 -j ACCEPT"
    ]
    assert commands(plain("filter", "DOCKER-USER"), forward) == [
        "iptables -I DOCKER-USER -i sally0 -j ACCEPT && iptables -I DOCKER-USER -o sally0 -j ACCEPT"
    ]
    assert commands(forward, plain("filter", "ufw-user-forward")) == [
        "ufw route allow in on sally0 && ufw route allow out on sally0"
    ]
    assert commands(base("firewalld", "filter_FORWARD", "accept", "inet")) == [
        "firewall-cmd --zone=trusted --add-interface=sally0"
    ]
    assert commands(base("mine", "transit", "drop", "inet")) == [
        "nft 'insert rule inet mine transit iifname sally0 accept; "
        "insert rule inet mine transit oifname sally0 accept'"
    ]


def test_what_is_no_obstacle():
    assert commands(base("filter", "FORWARD", "accept")) == []
    assert commands(base("filter", "INPUT", "drop", hook="input")) == []
    assert commands(base("filter", "FORWARD", "drop", family="ip6")) == []
    assert commands(base("sallyport_sally0", "forward", "drop", family="inet")) == []
    assert commands(base("filter", "FORWARD", "drop"), rule("filter", "sally0")) == [], "it knows the tunnel"
    assert commands(base("filter", "FORWARD", "drop"), rule("filter", "sally01")) != []
    assert obstacles([], "sally0", "") == []


def test_ipv6_matters_once_it_is_forwarded():
    forward = base("filter", "FORWARD", "drop", family="ip6")
    ruleset = {"nftables": [forward]}
    assert obstacles(ruleset, "sally0", "") == []
    (one,) = obstacles(ruleset, "sally0", "", ipv6=True)
    assert one.command == (
        "ip6tables -I FORWARD -i sally0 -j ACCEPT && ip6tables -I FORWARD -o sally0 -j ACCEPT"
    )
    ruleset = {"nftables": [forward, plain("filter", "ufw6-user-forward", family="ip6")]}
    (one,) = obstacles(ruleset, "sally0", "", ipv6=True)
    assert one.command.startswith("ufw route allow in on sally0")


def test_no_nft_no_word(monkeypatch: pytest.MonkeyPatch):
    def refuse() -> object:
        raise UserError("nft failed")

    monkeypatch.setattr(nftables, "list_ruleset", refuse)
    assert find_obstacles("sally0", Table("inet", "sallyport_sally0", ())) == []


# What each of them leaves in the kernel, cut down to what decides.
DOCKER = """
table ip filter {
    chain DOCKER-USER { }
    chain DOCKER-FORWARD { oifname "docker0" accept; iifname "docker0" accept; }
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
        jump DOCKER-USER
        jump DOCKER-FORWARD
    }
}
"""
UFW = """
table ip filter {
    chain ufw-user-forward { }
    chain ufw-before-forward { ct state { established, related } accept; jump ufw-user-forward; }
    chain ufw-reject-forward { }
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
        jump ufw-before-forward
        jump ufw-reject-forward
    }
}
"""
FIREWALLD = """
table inet firewalld {
    chain filter_FORWARD_ZONES { iifname "egress0" ct state new return; }
    chain filter_FORWARD {
        type filter hook forward priority 10; policy accept;
        ct state { established, related } accept
        jump filter_FORWARD_ZONES
        reject with icmpx admin-prohibited
    }
}
"""
OWN = """
table inet wall {
    chain transit { type filter hook forward priority filter; policy drop; }
}
"""

# The programs of the printed commands, done by what they do to the rules above.
IPTABLES = """#!/bin/sh -e
[ "$#" = 6 ] && [ "$1" = -I ] && [ "$5 $6" = "-j ACCEPT" ]
case $3 in -i) way=iifname ;; -o) way=oifname ;; *) exit 9 ;; esac
nft insert rule ip filter "$2" $way "$4" accept
"""
UFW_PROGRAM = """#!/bin/sh -e
[ "$#" = 5 ] && [ "$1 $2 $4" = "route allow on" ]
case $3 in in) way=iifname ;; out) way=oifname ;; *) exit 9 ;; esac
nft add rule ip filter ufw-user-forward $way "$5" accept
"""
FIREWALL_CMD = """#!/bin/sh -e
[ "$#" = 2 ] && [ "$1" = --zone=trusted ]
nft insert rule inet firewalld filter_FORWARD_ZONES iifname "${2#--add-interface=}" accept
nft insert rule inet firewalld filter_FORWARD_ZONES oifname "${2#--add-interface=}" accept
"""


@pytest.mark.netns
@pytest.mark.parametrize(
    ("rules", "word"),
    [(DOCKER, "Docker"), (UFW, "ufw"), (FIREWALLD, "firewalld"), (OWN, "nftables table wall")],
    ids=["docker", "ufw", "firewalld", "own"],
)
def test_the_printed_command_opens_the_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rules: str, word: str
):
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, script in (("iptables", IPTABLES), ("ufw", UFW_PROGRAM), ("firewall-cmd", FIREWALL_CMD)):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    (tmp_path / "rules").write_text(rules)
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    with lab(state_dir) as place:
        place.exit.run("nft", "-f", str(tmp_path / "rules"))
        with caplog.at_level(logging.WARNING):
            place.start_exit()
        (record,) = caplog.records
        assert word in record.getMessage()
        command = record.__dict__["sallyport_fields"]["allow_it_with"]
        with listen(place.outside, 80) as server:
            with pytest.raises(OSError, match=r"timed out|No route to host"):
                connect(place.clients[0], OUTSIDE_ADDRESS, 80, timeout=0.3)
            place.exit.run("env", f"PATH={programs}:{os.environ['PATH']}", "sh", "-c", command)
            with connect(place.clients[0], OUTSIDE_ADDRESS, 80) as there:
                here, _ = server.accept()
                with here:
                    here.sendall(b"open")
                    assert there.recv(4, socket.MSG_WAITALL) == b"open"
        opened = place.ruleset()
        place.stop()
        assert "sallyport" not in place.ruleset()
        assert place.ruleset() in opened, "the host's own table, with the exception, was not touched"
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            place.start_exit()
        assert caplog.records == []
