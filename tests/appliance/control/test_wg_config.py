"""The text a client gets, line by line, and what WireGuard's own tool makes of it."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest

from appliance.control import wg_config
from tests.appliance.control.fakes import SERVER_KEY, facts

ADDRESS = IPv4Address("10.101.0.7")
SERVER = base64.b64encode(SERVER_KEY).decode()


def test_with_our_key():
    private = bytes(range(32, 64))
    assert wg_config.render(facts(), ADDRESS, private) == (
        "[Interface]\n"
        f"PrivateKey = {base64.b64encode(private).decode()}\n"
        "Address = 10.101.0.7/24\n"
        "[Peer]\n"
        f"PublicKey = {SERVER}\n"
        "AllowedIPs = 0.0.0.0/0\n"
        "Endpoint = 198.51.100.7:51820\n"
        "PersistentKeepalive = 25\n"
    )


def test_with_the_clients_key_and_everything_else():
    many = facts(
        client_mtu=1340,
        dns=("9.9.9.9", "1.1.1.1"),
        pool=IPv4Network("10.101.0.0/22"),
        endpoint="[2001:db8::1]:7",
    )
    assert wg_config.render(many, ADDRESS, None) == (
        "[Interface]\n"
        "Address = 10.101.0.7/22\n"
        "MTU = 1340\n"
        "DNS = 9.9.9.9, 1.1.1.1\n"
        "[Peer]\n"
        f"PublicKey = {SERVER}\n"
        "AllowedIPs = 0.0.0.0/0\n"
        "Endpoint = [2001:db8::1]:7\n"
        "PersistentKeepalive = 25\n"
    )


def test_with_ipv6():
    """The IPv4 address first, each with a prefix; and everything goes into the tunnel."""
    text = wg_config.render(facts(prefix_v6=IPv6Network("fd00:1:2::/64")), ADDRESS, None)
    assert "Address = 10.101.0.7/24, fd00:1:2::a65:7/128\n" in text
    assert "AllowedIPs = 0.0.0.0/0, ::/0\n" in text


@pytest.mark.skipif(
    shutil.which("wg-quick") is None and not os.environ.get("CI"), reason="needs wireguard-tools"
)
def test_wg_quick_takes_it(tmp_path):
    """`wg-quick strip` leaves what `wg setconf` reads."""
    path = tmp_path / "tb0.conf"
    path.write_text(wg_config.render(facts(client_mtu=1340, dns=("9.9.9.9",)), ADDRESS, bytes(32)))
    path.chmod(0o600)
    strip = subprocess.run(["wg-quick", "strip", str(path)], capture_output=True, text=True, check=True)
    assert [line.split(" = ")[0] for line in strip.stdout.split("\n") if line] == [
        "[Interface]", "PrivateKey", "[Peer]", "PublicKey", "AllowedIPs", "Endpoint", "PersistentKeepalive",
    ]  # fmt: skip
