"""Firewalls that drop what we forward: recognised, and the command that is printed really helps."""

from __future__ import annotations

import logging
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


def test_no_nft_no_word(monkeypatch: pytest.MonkeyPatch):
    def refuse() -> object:
        raise UserError("nft failed")

    monkeypatch.setattr(nftables, "list_ruleset", refuse)
    assert find_obstacles("sally0", Table("inet", "sallyport_sally0", ())) == []


@pytest.mark.netns
def test_the_printed_command_opens_the_way(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with lab(tmp_path) as place:
        place.exit.run("nft", "add table inet wall")
        place.exit.run(
            "nft", "add chain inet wall transit { type filter hook forward priority 0; policy drop; }"
        )
        with caplog.at_level(logging.WARNING):
            place.start_exit()
        (record,) = caplog.records
        command = record.__dict__["sallyport_fields"]["allow_it_with"]
        with listen(place.outside, 80) as server:
            server.settimeout(0)
            with pytest.raises(TimeoutError):
                connect(place.clients[0], OUTSIDE_ADDRESS, 80, timeout=0.3)
            place.exit.run("sh", "-c", command)
            server.settimeout(10)
            with connect(place.clients[0], OUTSIDE_ADDRESS, 80) as there:
                here, _ = server.accept()
                with here:
                    here.sendall(b"open")
                    assert there.recv(4, socket.MSG_WAITALL) == b"open"
        place.stop()
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            place.start_exit()
        assert caplog.records == []
