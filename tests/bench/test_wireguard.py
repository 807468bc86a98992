"""Configuration texts for `wg setconf`."""

from __future__ import annotations

import shutil

import pytest

from bench.wireguard import Keys, config, new_keys, peer


def test_config_holds_what_was_given_and_nothing_else():
    text = config(Keys("PRIV"), peer("PUB", "10.0.0.0/8"), listen_port=5)
    interface = ["[Interface]", "PrivateKey = PRIV", "ListenPort = 5"]
    assert text.splitlines() == [*interface, "[Peer]", "PublicKey = PUB", "AllowedIPs = 10.0.0.0/8"]
    assert "ListenPort" not in config(Keys("PRIV"))


def test_peer_options():
    text = peer("PUB", "::/0", "[2001:db8::1]:51820", "PSK", 25)
    assert "Endpoint = [2001:db8::1]:51820\n" in text
    assert "PresharedKey = PSK\n" in text
    assert text.endswith("PersistentKeepalive = 25\n")


def test_keys_come_from_the_tool():
    if shutil.which("wg") is None:
        pytest.skip("no wg tool")
    one, two = new_keys(), new_keys()
    assert one.private != two.private
    assert len(one.public) == 44
    assert one.public != one.private
